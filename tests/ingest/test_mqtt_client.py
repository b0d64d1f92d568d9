"""Paho's client as ingest uses it: packets by the buffer, however the network cuts them; one write for many PUBACKs."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from ingest.mqtt.client import BUFFER_BYTES, BufferedClient, BufferedSocket


def new_client(near, version=MQTTProtocolVersion.MQTTv5, manual_ack=True):
    """Return a client that has `near` for its socket, as if it had connected, and what it delivers."""
    client = BufferedClient(CallbackAPIVersion.VERSION2, "probe", protocol=version, manual_ack=manual_ack)
    delivered = []
    client.deliver = lambda *what: delivered.append(what)
    near.settimeout(0)
    client._sock = BufferedSocket(near)
    return client, delivered


@pytest.fixture
def pair():
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


def publish(topic, payload, mid, *, qos=1, retain=False, properties=b"\x00"):
    body = struct.pack("!H", len(topic)) + topic + (struct.pack("!H", mid) if qos else b"") + properties + payload
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) & 127 | 128, len(body) >> 7])
    return bytes([0x30 | qos << 1 | retain]) + length + body


def read_all(client):
    while client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS and client._sock.pending():
        pass


@given(
    st.lists(st.tuples(st.sampled_from(["a", "a/b", "水"]), st.binary(max_size=300), st.booleans()), max_size=8),
    st.data(),
)
def test_messages_come_whole_and_in_order_however_the_network_cuts_them(messages, data):
    near, far = socket.socketpair()
    with near, far:
        client, delivered = new_client(near)
        stream = b"".join(
            publish(topic.encode(), payload, mid, retain=retain)
            for mid, (topic, payload, retain) in enumerate(messages, start=1)
        )
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            far.sendall(stream[begin:end])
            read_all(client)
        assert delivered == [
            (topic, payload, mid, 1, retain) for mid, (topic, payload, retain) in enumerate(messages, start=1)
        ]


def test_more_messages_than_the_buffer_holds_are_all_delivered(pair):
    near, far = pair
    client, delivered = new_client(near)
    packet = publish(b"t", b"x" * 1000, 7)
    for _ in range(3):
        far.sendall(packet * (BUFFER_BYTES // len(packet)))
        read_all(client)
    assert len(delivered) == 3 * (BUFFER_BYTES // len(packet))


def test_properties_are_skipped_and_a_topic_that_is_no_utf8_is_empty(pair):
    near, far = pair
    client, delivered = new_client(near)
    expiry = b"\x05\x02\x00\x00\x00\x3c"
    far.sendall(publish(b"a", b"1", 1, properties=expiry) + publish(b"\xff", b"2", 2) + publish(b"a", b"3", 0, qos=0))
    read_all(client)
    assert delivered == [("a", b"1", 1, 1, False), ("", b"2", 2, 1, False), ("a", b"3", 0, 0, False)]


def test_the_older_protocol_has_no_properties(pair):
    near, far = pair
    client, delivered = new_client(near, MQTTProtocolVersion.MQTTv311)
    far.sendall(publish(b"a", b"{}", 1, properties=b""))
    read_all(client)
    assert delivered == [("a", b"{}", 1, 1, False)]


@pytest.mark.parametrize(
    "packet", [b"\x32\x01\x00", b"\x32\x02\x00\x09", b"\x32\x03\x00\x00\x00", b"\x34\x05\x00\x00\x00\x01\x00"]
)
def test_a_packet_that_is_none_ends_the_connection(pair, packet):
    near, far = pair
    client, delivered = new_client(near)
    far.sendall(packet)
    assert client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert delivered == []
    assert client._sock is None


def test_a_group_is_acknowledged_in_one_write_of_packets_that_paho_itself_would_send(pair):
    near, far = pair
    client, _ = new_client(near)
    client.acknowledge([1, 2, 65535])
    client.loop_write()
    sent = far.recv(100)
    assert sent == b"\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\xff\xff"
    client.acknowledge([])
    assert not client.want_write()


class ByPaho(BufferedClient):
    """A client on a paho that has other inner methods than those replaced."""

    _create_socket = Client._create_socket
    _handle_publish = Client._handle_publish


def test_what_a_later_paho_does_in_its_own_way_is_delivered_all_the_same(pair):
    near, far = pair
    client = ByPaho(CallbackAPIVersion.VERSION2, "probe", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    delivered = []
    client.deliver = lambda *what: delivered.append(what)
    near.settimeout(0)
    client._sock = near
    far.sendall(publish(b"a", b"1", 1) + publish(b"b", b"2", 2, retain=True))
    client.loop_read()
    client.loop_read()
    assert delivered == [("a", b"1", 1, 1, False), ("b", b"2", 2, 1, True)]
    assert not client.want_write()  # acknowledged by hand only


def test_what_is_replaced_of_paho_is_there_to_be_replaced():
    for name in ("_create_socket", "_handle_publish", "_packet_queue", "loop_read", "_send_puback"):
        assert callable(getattr(Client, name))
