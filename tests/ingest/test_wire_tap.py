"""What a device really sends, seen on the wire between it and a real broker."""

import contextlib
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.device_check.tap import WireTap
from ingest.device_check.wire import Kind, Packets, connect_of, kind_of, publish_of, subscribe_of
from twin.errors import BusyError, RefusedError

from .conftest import free_port, wait_until


@pytest.fixture
def tap(mosquitto):
    seen = []
    with WireTap("127.0.0.1", 0, mosquitto.address, seen.append) as tap:
        tap.seen = seen
        yield tap


def client(version, tap):
    made = Client(CallbackAPIVersion.VERSION2, client_id=f"tapped-{free_port()}", protocol=version)
    made.username_pw_set("WP-1", "hunter2")
    made.will_set("a/status", '{"online":false}', qos=1, retain=True)
    made.arrived = threading.Event()
    made.on_subscribe = lambda *_: made.arrived.set()
    made.connect("127.0.0.1", tap.port, keepalive=77)
    made.loop_start()
    return made


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_connection_will_and_messages_are_seen_as_they_are(tap, version):
    device = client(version, tap)
    wait_until(device.is_connected)
    device.subscribe([("a/ack", 1), ("a/cmd", 1)])
    assert device.arrived.wait(10)
    device.publish("a/data", b"\x00\xff{}", qos=1).wait_for_publish(10)
    device.publish("a/status", b"birth", qos=1, retain=True).wait_for_publish(10)
    device.disconnect()
    wait_until(lambda: any(each.kind is Kind.DISCONNECT for each in tap.seen))
    device.loop_stop()
    connect = next(each.connect for each in tap.seen if each.connect)
    assert (connect.level, connect.keep_alive_s, connect.username) == (version.value, 77, "WP-1")
    assert (connect.will_topic, connect.will_payload) == ("a/status", b'{"online":false}')
    assert (connect.will_qos, connect.will_retain) == (1, True)
    assert [each.filters for each in tap.seen if each.filters] == [("a/ack", "a/cmd")]
    assert [each.reason for each in tap.seen if each.kind is Kind.CONNACK] == [0]
    published = [each.publish for each in tap.seen if each.publish and each.from_device]
    assert [(each.topic, each.payload, each.qos, each.retain) for each in published] == [
        ("a/data", b"\x00\xff{}", 1, False),
        ("a/status", b"birth", 1, True),
    ]
    assert "hunter2" not in repr(tap.seen)


def test_topic_alias_is_the_topic_that_it_stands_for(tap):
    device = client(MQTTProtocolVersion.MQTTv5, tap)
    wait_until(device.is_connected)
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = [("k", "v")]
    properties.ContentType = "application/json"
    properties.MessageExpiryInterval = 60
    properties.TopicAlias = 1
    device.publish("a/data", b"1", qos=1, properties=properties).wait_for_publish(10)
    device.publish("", b"2", qos=1, properties=properties).wait_for_publish(10)
    device.disconnect()
    device.loop_stop()
    published = [each.publish for each in tap.seen if each.publish and each.from_device]
    assert [(each.topic, each.payload) for each in published] == [("a/data", b"1"), ("a/data", b"2")]


def test_device_is_cut_off_kept_out_and_let_in_again(tap):
    device = client(MQTTProtocolVersion.MQTTv5, tap)
    device.reconnect_delay_set(1, 1)
    wait_until(device.is_connected)
    tap.shut()
    wait_until(lambda: not device.is_connected())
    tap.open()
    wait_until(device.is_connected)
    device.disconnect()
    device.loop_stop()
    assert {each.connection for each in tap.seen if each.connect} == {1, 2}


def test_what_is_no_mqtt_is_told_once(tap):
    with socket.create_connection(("127.0.0.1", tap.port), timeout=10) as stranger:
        stranger.sendall(b"\x10\xff\xff\xff\xff\xff GET / HTTP/1.1\r\n")
        wait_until(lambda: [each.broken for each in tap.seen if each.broken])
        stranger.sendall(b"more of it")
    assert len([each for each in tap.seen if each.broken]) == 1


def test_port_that_is_taken_is_said(mosquitto, tap):
    with pytest.raises(BusyError, match=str(tap.port)):
        WireTap("127.0.0.1", tap.port, mosquitto.address, print).start()


PUBLISH = b"\x32\x0b\x00\x06a/data\x00\x01x"


@given(st.lists(st.sampled_from([PUBLISH, b"\xc0\x00", b"\xe0\x00"]), max_size=6), st.data())
def test_packets_are_the_same_however_the_bytes_arrive(sent, data):
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    packets, found = Packets(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += packets.feed(stream[start:end])
    assert found == [(each[0], each[2:]) for each in sent]


@given(st.binary(max_size=200), st.sampled_from([4, 5]))
def test_any_bytes_are_read_or_refused(raw, level):
    readers = (connect_of, lambda body: publish_of(0x32, body, level, {}), lambda body: subscribe_of(body, level))
    for read in (*readers, Packets().feed):
        with contextlib.suppress(RefusedError):
            read(raw)
    assert kind_of(raw[0] if raw else 0) in set(Kind)


def test_endless_packet_is_refused_at_its_first_bytes():
    with pytest.raises(RefusedError, match="at most"):
        Packets().feed(b"\x30\xff\xff\xff\x7f")
