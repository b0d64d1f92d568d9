"""The MQTT client and the embedded broker, where they cannot have what they ask for, and what they say of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from ingest.broker import EmbeddedBroker
from ingest.mqtt import Address, Connection, negotiate
from twin.errors import BusyError, UnavailableError

from .conftest import free_port


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "127.0.0.1"])
def test_a_broker_that_cannot_be_reached_is_one_clear_line(host):
    with pytest.raises(UnavailableError, match="expected a broker"):
        negotiate(Address(host, free_port()), 5.0)


def test_a_port_taken_since_it_was_looked_at_is_said_at_once():
    port = free_port()
    first, second = EmbeddedBroker(port=port), EmbeddedBroker(port=port)
    with first, pytest.raises(BusyError, match="address already in use"):
        second.start()


@pytest.mark.parametrize(("quiet", "level"), [(True, "debug"), (False, "info")])
def test_one_client_of_hundreds_comes_quietly(mosquitto, quiet, level):
    with capture_logs() as logs:
        connection = Connection(mosquitto.address, f"client-{quiet}", clean=True, quiet=quiet).start()
        connection.wait(10)
        connection.close()
    assert [entry["log_level"] for entry in logs if entry["event"] == "broker_connected"] == [level]
