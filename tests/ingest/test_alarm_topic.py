"""Alarms on the broker: the channel ``mqtt`` of telling people."""

import pytest

from ingest.mqtt.alarm_topic import alarms_topic
from ingest.mqtt.connection import Connection
from sensors.notify import open_notifier
from sensors.notify.checks import CHECKS, Bench, sample
from sensors.notify.message import decode
from twin.errors import RefusedError, UnavailableError

from .conftest import free_port, wait_until


@pytest.fixture
def heard(own_mosquitto):
    """Hear everything that is told under ``cim/v1/+/alarms``."""
    deliveries = []
    connection = Connection(
        own_mosquitto.address,
        "listener",
        subscribe=(alarms_topic("+"),),
        on_message=deliveries.append,
        manual_ack=False,
    ).start()
    connection.wait(5)
    yield deliveries
    connection.close()


@pytest.fixture
def notifier(own_mosquitto):
    notifier = open_notifier("mqtt", {"url": str(own_mosquitto.address), "timeout_s": 2.0}, "mqtt")
    yield notifier
    notifier.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_mqtt_keeps_the_contract(check, notifier, heard, own_mosquitto):
    wanted = 5 if check.__name__ == "check_every_purpose_arrives" else 1

    def received():
        wait_until(lambda: len(heard) >= wanted)
        return [decode(each.payload).id for each in heard]

    def mend():
        own_mosquitto.start()
        wait_until(lambda: notifier._connection.connected)

    check(Bench(notifier, "", received, own_mosquitto.stop, mend))


def test_a_message_is_told_under_its_district_or_the_one_that_the_route_names(notifier, heard):
    notifier.send(sample(1), "")
    notifier.send(sample(2), "hexi")
    wait_until(lambda: len(heard) == 2, 5)
    assert [(each.topic, each.retain) for each in heard] == [
        ("cim/v1/hewan/alarms", False),
        ("cim/v1/hexi/alarms", False),
    ]
    assert decode(heard[0].payload) == sample(1)


def test_a_recipient_that_is_no_district_is_refused(notifier):
    with pytest.raises(RefusedError, match="no district"):
        notifier.send(sample(), "a/#")


def test_a_broker_that_was_never_there_costs_the_timeout():
    notifier = open_notifier("mqtt", {"url": f"mqtt://127.0.0.1:{free_port()}", "timeout_s": 0.5}, "mqtt")
    with pytest.raises(UnavailableError):
        notifier.send(sample(), "")
    notifier.close()
