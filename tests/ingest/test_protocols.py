"""Devices of other protocols on a real broker and worker: SenML packs, and a Sparkplug edge node."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ingest.mqtt.connection import Connection
from ingest.payload.sparkplug_schema import DataType, payload_class
from sensors.clock import to_ms
from sensors.device import Point

from .conftest import pressure_device, wait_until


class EdgeNode:
    """A Sparkplug edge node with one device, over a client of its own; `asked` counts requests for a rebirth."""

    def __init__(self, city, group, node="edge-1", device="pump"):
        self._topic = f"spBv1.0/{group}/{{}}/{node}"
        self._device = device
        self._seq = 0
        self.asked = 0
        self.connection = Connection(
            city.address,
            f"edge-{group}",
            subscribe=[self._topic.format("NCMD")],
            on_message=self._command,
            clean=True,
            manual_ack=False,
        ).start()
        self.connection.wait(10)

    def _command(self, delivery):
        metrics = payload_class().FromString(delivery.payload).metrics
        self.asked += any(one.name == b"Node Control/Rebirth" and one.boolean_value for one in metrics)

    def _send(self, kind, payload, *, of_device):
        payload.seq = self._seq
        self._seq = (self._seq + 1) % 256
        name = self._topic.format(kind) + (f"/{self._device}" if of_device else "")
        self.connection.publish(name, payload.SerializeToString())

    def be_born(self, at, value):
        self._seq = 0
        node, device = payload_class()(timestamp=at), payload_class()(timestamp=at)
        node.metrics.add(name=b"bdSeq", datatype=DataType.INT64, long_value=0)
        metric = device.metrics.add(
            name=b"Inlet/Pressure", alias=1, timestamp=at, datatype=DataType.FLOAT, float_value=value
        )
        metric.properties.keys.append(b"engUnit")
        metric.properties.values.add(string_value=b"kPa")
        self._send("NBIRTH", node, of_device=False)
        self._send("DBIRTH", device, of_device=True)

    def send(self, at, value):
        data = payload_class()(timestamp=at)
        data.metrics.add(alias=1, timestamp=at, float_value=value)
        self._send("DDATA", data, of_device=True)

    def skip(self):
        self._seq = (self._seq + 1) % 256


@pytest.fixture
def edge_node(city):
    node = EdgeNode(city, city.district)
    yield node
    node.connection.close()


def test_a_sparkplug_device_is_stored_and_its_node_asked_for_a_birth_at_a_gap(city, edge_node):
    city.registry.put(
        [
            replace(
                pressure_device("WP-1", city.district),
                points=(Point("pressure", "pressure", "MPa", code="Inlet/Pressure"),),
                address=f"spBv1.0/{city.district}/edge-1/pump",
            )
        ]
    )
    device, start = city.registry.get("WP-1"), to_ms(datetime.now(UTC)) - 60_000
    with city.worker():
        edge_node.be_born(start, 256.0)
        edge_node.send(start + 1000, 128.5)
        city.settled(2)
        assert edge_node.asked == 0
        edge_node.skip()
        edge_node.send(start + 2000, 64.25)
        wait_until(lambda: edge_node.asked == 1)
        edge_node.be_born(start + 3000, 32.0)
        city.settled(4)
    with city.worker():  # what births said outlives the worker; the node is asked what was missed
        edge_node.send(start + 4000, 16.0)
        wait_until(lambda: edge_node.asked == 2)
        city.settled(5)
    assert sorted(city.stored(device)) == [
        (start, 256_000.0),
        (start + 1000, 128_500.0),
        (start + 2000, 64_250.0),
        (start + 3000, 32_000.0),
        (start + 4000, 16_000.0),
    ]
    assert not city.spool.quarantined()


def test_a_senml_pack_is_stored_and_receipted_as_a_native_message_is(city, field_device):
    (device,) = city.register("WP-1")
    at = to_ms(datetime.now(UTC))
    pack = [{"boot": 1, "seq": 1, "bn": "WP-1/", "bt": at / 1000, "n": "pressure", "u": "MPa", "v": 0.5}]
    with city.worker():
        sender = field_device(city.address, device)
        for _ in range(2):
            sender.send(json.dumps(pack).encode(), f"cim/v1/{city.district}/water/WP-1/data/senml")
        wait_until(lambda: sender.receipted() == {1})
        city.settled(2)
    assert city.stored(device) == [(at, 500_000.0)]
    assert city.spool.ledger().duplicates == 1
