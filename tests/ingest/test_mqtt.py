"""The MQTT client and the embedded broker, where they cannot have what they ask for, and what they say of it."""

from __future__ import annotations

import getpass
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.broker.certificates import TlsFolder
from ingest.broker.embedded import EmbeddedBroker
from ingest.mqtt import connection as mqtt
from ingest.mqtt.connection import Address, Connection, Delivery, Will, negotiate
from twin.errors import BusyError, InputError, UnavailableError

from .conftest import _listens, _mosquitto, free_port, wait_until


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


@dataclass
class TlsBroker:
    """A Mosquitto that asks for a client's certificate, and the files to reach it with."""

    address: Address
    folder: Path


@pytest.fixture(scope="module")
def tls_broker(tmp_path_factory) -> Iterator[TlsBroker]:
    if not _mosquitto():
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    folder, now = tmp_path_factory.mktemp("tls"), datetime.now(UTC)
    tls = TlsFolder(folder)
    tls.prepare(["127.0.0.1", "localhost"], now)
    for path, content in zip((folder / "ingest.pem", folder / "ingest.key"), tls.issue("ingest", now), strict=True):
        path.write_bytes(content)
    port = free_port()
    (folder / "mosquitto.conf").write_text(
        f"user {getpass.getuser()}\nlistener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n"
        f"cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\nrequire_certificate true\n"
    )
    process = subprocess.Popen([_mosquitto(), "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    wait_until(lambda: _listens(port))
    files = {"ca": folder / "ca.pem", "certificate": folder / "ingest.pem", "key": folder / "ingest.key"}
    yield TlsBroker(Address.parse(f"mqtts://127.0.0.1:{port}", **files), folder)
    process.terminate()
    process.wait(10)


def test_a_client_shows_its_certificate_over_tls(tls_broker):
    heard: list[Delivery] = []
    connection = Connection(
        tls_broker.address, "tls", subscribe=["x"], on_message=heard.append, clean=True, manual_ack=False
    ).start()
    connection.wait(10)
    connection.publish("x", b"over TLS", wait_s=5)
    wait_until(lambda: [one.payload for one in heard] == [b"over TLS"])
    connection.close()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves its socket to the collector
@pytest.mark.parametrize(
    ("changed", "said"),
    [({"ca": None}, "certificate verify failed"), ({"host": "127.0.0.2"}, "expected a broker")],
)
def test_a_broker_that_cannot_be_believed_is_not_spoken_to(tls_broker, changed, said):
    with pytest.raises(UnavailableError, match=said):
        negotiate(replace(tls_broker.address, **changed), 5.0)


def test_a_client_without_its_certificate_stays_out_and_says_so(tls_broker):
    naked = replace(tls_broker.address, certificate=None, key=None)
    with capture_logs() as logs:
        connection = Connection(naked, "naked", clean=True).start()
        wait_until(lambda: any(entry["event"] == "broker_unavailable" for entry in logs))
        assert not connection.connected
        connection.close()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ca": "missing.pem"}, "No such file"),
        ({"certificate": "missing.pem"}, "No such file"),
        ({"ca": "mosquitto.conf"}, r"expected certificates \(PEM\)"),
        ({"key": "server.key"}, "key values mismatch"),
    ],
)
def test_files_that_do_not_fit_are_named(tls_broker, changed, said):
    files = {name: tls_broker.folder / path for name, path in changed.items()}
    with pytest.raises(InputError, match=said) as error:
        replace(tls_broker.address, **files).context()
    assert "\n" not in str(error.value)


def test_files_that_do_not_fit_are_told_to_who_starts_a_client(tls_broker):
    with pytest.raises(InputError, match="No such file"):
        Connection(replace(tls_broker.address, ca=tls_broker.folder / "missing.pem"), "misled").start()


def test_large_messages_come_whole_over_tls(tls_broker):
    heard: list[bytes] = []
    connection = Connection(
        tls_broker.address,
        "large",
        subscribe=["a"],
        on_message=lambda delivery: heard.append(delivery.payload),
        clean=True,
        manual_ack=False,
    ).start()
    connection.wait(10)
    sent = [bytes([number]) * (number * 997) for number in range(1, 200)]  # in records of 16 KiB: cut anywhere
    for payload in sent:
        connection.publish("a", payload)
    wait_until(lambda: len(heard) == len(sent))
    assert heard == sent
    connection.close()


@pytest.mark.parametrize(
    ("url", "files"),
    [
        ("mqtt://user:secret@host", {}),
        ("mqtt://host", {"ca": Path("ca.pem")}),
        ("mqtts://host", {"key": Path("client.key")}),
        ("http://host", {}),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused_without_their_secret(url, files):
    with pytest.raises(InputError) as error:
        Address.parse(url, **files)
    assert "secret" not in str(error.value)


def test_an_address_shows_no_password():
    assert "hunter2" not in repr(Address.parse("mqtt://host", "me", "hunter2"))


def test_a_birth_follows_each_connection_and_the_will_each_good_bye(mosquitto):
    made: list[bytes] = []

    def will() -> Will:
        made.append(f"born {len(made)}".encode())
        return Will("state/city", b"gone", birth=made[-1])

    heard: list[bytes] = []
    listener = Connection(
        mosquitto.address,
        "listener",
        subscribe=["state/city"],
        on_message=lambda delivery: heard.append(delivery.payload),
        clean=True,
        manual_ack=False,
    ).start()
    listener.wait(10)
    city = Connection(mosquitto.address, "city", will=will).start()
    wait_until(lambda: heard == [b"born 0"])
    city.close()
    wait_until(lambda: heard == [b"born 0", b"gone"])
    listener.close()


def test_a_will_of_a_predecessor_that_comes_late_is_answered(mosquitto):
    city = Connection(
        mosquitto.address, "heir", subscribe=["state/heir"], will=Will("state/heir", b"gone", birth=b"here")
    ).start()
    city.wait(10)
    heard: list[bytes] = []
    other = Connection(
        mosquitto.address,
        "other",
        subscribe=["state/heir"],
        on_message=lambda delivery: heard.append(delivery.payload),
        clean=True,
        manual_ack=False,
    ).start()
    other.wait(10)
    other.publish("state/heir", b"gone", retain=True)
    wait_until(lambda: heard[-1:] == [b"here"] and b"gone" in heard)
    city.close()
    other.close()


def test_two_clients_under_one_id_push_each_other_out_ever_more_slowly(mosquitto):
    with capture_logs() as logs:
        pair = [Connection(mosquitto.address, "owner").start() for _ in range(2)]

        def lost() -> int:
            return sum(entry["event"] == "broker_lost" for entry in logs)

        wait_until(lambda: lost() >= 3)
    assert max(connection._wait_s for connection in pair) > 3 * mqtt.BACK_OFF_S[0]
    for connection in pair:
        connection.close()


def test_what_came_by_a_lost_connection_is_not_acknowledged_by_the_next(own_mosquitto, monkeypatch):
    heard: list[Delivery] = []
    connection = Connection(own_mosquitto.address, "owner", subscribe=["a"], on_message=heard.append).start()
    connection.wait(10)
    connection.publish("a", b"", wait_s=5)
    wait_until(lambda: heard)
    own_mosquitto.stop()
    wait_until(lambda: not connection.connected)
    acknowledged: list[int] = []
    monkeypatch.setattr(connection._client, "acknowledge", acknowledged.extend)
    connection.ack(heard)  # as long as the next CONNACK has not come, nobody knows which session it will be
    assert acknowledged == []
    connection.close()


def test_who_is_closed_while_it_looks_for_a_broker_never_connects(mosquitto, monkeypatch):
    closed = threading.Event()
    monkeypatch.setattr(mqtt, "negotiate", lambda *_: closed.wait(10) and mqtt.Version.MQTT_5)
    connection = Connection(mosquitto.address, "late").start()
    connection.close()
    closed.set()
    connection._starter.join(10)
    assert connection._client is None


def test_other_filters_are_heard_from_now_on(mosquitto):
    heard: list[str] = []
    connection = Connection(
        mosquitto.address,
        "changing",
        subscribe=["old"],
        on_message=lambda delivery: heard.append(delivery.topic),
        clean=True,
        manual_ack=False,
    ).start()
    connection.wait(10)
    connection.subscribe(["new"])
    connection.publish("old", b"", wait_s=5)
    wait_until(lambda: connection.publish("new", b"", wait_s=5) or heard)
    assert set(heard) == {"new"}
    connection.close()


def test_the_embedded_broker_hands_nobody_what_he_did_not_ask_for_and_drops_nobody():
    unasked: list[str] = []
    lost: list[bool] = []
    with EmbeddedBroker() as broker:
        address = Address.parse(broker.url)

        def client(number: int) -> Connection:
            return Connection(
                address,
                f"device-{number}",
                subscribe=[f"device/{number}/ack"],
                on_message=lambda delivery: unasked.append(delivery.topic),
                on_state=lambda up: None if up else lost.append(up),
                clean=True,
                manual_ack=False,
                version=mqtt.Version.MQTT_3_1_1,
                will=Will(f"device/{number}/status", b"gone", birth=b"here"),
            ).start()

        city = Connection(address, "city", subscribe=["device/+/status"]).start()
        city.wait(30)
        clients = [client(number) for number in range(60)]
        for each in clients:
            each.wait(30)
            each.drain(30)
        assert (unasked, lost) == ([], [])
        for each in (*clients, city):
            each.close()
