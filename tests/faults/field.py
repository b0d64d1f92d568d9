"""Field devices in a process of their own, which know the contract and paho, and nothing of the product.

`python field.py` reads orders and writes what happens, a JSON object a line. A device keeps every message until a
receipt names it (contract: "What the city promises"), and sends it again, byte for byte, when it has come back, when
the city says that it is missing, and when no receipt has come for a while. One that `trusts` the broker does not: it
publishes each message once, and takes the broker's PUBACK for enough.
"""

from __future__ import annotations

import base64
import json
import mmap
import ssl
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

RESEND_S = 5.0
"""No receipt for so long: what is in memory is sent again."""

UNRECEIPTED = 20_000
"""Messages that the memory holds; a device that is full waits before it measures on."""

UNACKNOWLEDGED = 2000
"""Messages on their way to the broker at once; paho holds the rest back."""

BUSY = 200
"""With so many on their way, nothing is sent again on top of them."""


@dataclass(frozen=True, slots=True)
class Block:
    """Messages `first` to `last` of a boot, `readings` each, one every `step` ms from `start` (ms) on.

    The n-th reading of the block's boot has the value ``base + n * slope`` in the unit `unit`.
    """

    device: str
    boot: int
    first: int
    last: int
    start: int
    step: int = 1000
    readings: int = 1
    base: float = 0.3
    slope: float = 1e-8
    point: str = "pressure"
    unit: str = "MPa"
    history: bool = False

    def rows(self, seq: int) -> list[tuple[int, float]]:
        """Return time and value of the readings of one message."""
        numbers = range(seq * self.readings, (seq + 1) * self.readings)
        return [(self.start + n * self.step, self.base + n * self.slope) for n in numbers]

    def message(self, seq: int) -> bytes:
        """Return a message as the contract wants it: one reading as `m`, several as `r`."""
        rows = [(time_ms, {self.point: {"v": value, "u": self.unit}}) for time_ms, value in self.rows(seq)]
        head: dict[str, Any] = {"v": 1, "boot": self.boot, "seq": seq}
        if self.history:
            head["hist"] = True
        if len(rows) == 1:
            return json.dumps({**head, "ts": rows[0][0], "m": rows[0][1]}, separators=(",", ":")).encode()
        return json.dumps({**head, "r": rows}, separators=(",", ":")).encode()


class Counts:
    """Three numbers that the campaign reads out of the file at the very moment it kills something."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 24)
        self._lock = threading.Lock()
        self._values = [0, 0, 0]

    def add(self, *, published: int = 0, acknowledged: int = 0, again: int = 0) -> None:
        with self._lock:
            for place, more in enumerate((published, acknowledged, again)):
                self._values[place] += more
            struct.pack_into("<3q", self._map, 0, *self._values)


def say(**event: Any) -> None:
    """Write one event; whole lines, whichever thread writes."""
    sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Order:
    """How to reach the broker as one device."""

    device: str
    base: str
    host: str
    port: int
    username: str = ""
    password: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""
    version: int = 5
    trusts: bool = False
    birth: dict[str, Any] = field(default_factory=dict[str, Any])


class FieldDevice:
    """One device and its client."""

    def __init__(self, order: Order, counts: Counts) -> None:
        self.order = order
        self._counts = counts
        self._memory: dict[tuple[int, int], bytes] = {}
        self._room = threading.Condition()
        self._heard_s = time.monotonic()
        self._outstanding = 0
        self._births: set[int] = set()
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=order.device,
            protocol=MQTTProtocolVersion(order.version),
            **({} if order.version == MQTTProtocolVersion.MQTTv5 else {"clean_session": not order.trusts}),
        )
        if order.username:
            client.username_pw_set(order.username, order.password)
        if order.ca:
            client.tls_set(order.ca, order.certificate or None, order.key or None, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.will_set(f"{order.base}/status", b'{"online":false}', 1, retain=True)
        client.max_inflight_messages_set(UNACKNOWLEDGED)
        client.max_queued_messages_set(0)
        client.reconnect_delay_set(0.2, 1)
        client.on_connect = self._connected
        client.on_message = self._message
        client.on_publish = self._published
        self._client = client

    def start(self) -> None:
        """Connect, and stay connected."""
        order = self.order
        if order.version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if order.trusts else 0
            self._client.connect_async(order.host, order.port, 30, clean_start=not order.trusts, properties=properties)
        else:
            self._client.connect_async(order.host, order.port, 30)
        self._client.loop_start()

    def send(self, block: Block, rate: float, gate: threading.Event) -> None:
        """Send the messages of a block, `rate` a second (0: as fast as there is room)."""
        began = time.monotonic()
        sent = 0
        for seq in range(block.first, block.last + 1):
            if rate and (left := began + sent / rate - time.monotonic()) > 0:
                time.sleep(left)
            if gate.is_set():
                break
            self.keep(block.boot, seq, block.message(seq))
            sent += 1
        say(told="sent", device=self.order.device, boot=block.boot, first=block.first, count=sent)

    def keep(self, boot: int, seq: int, payload: bytes) -> None:
        """Remember a message, and send it for the first time."""
        if not self.order.trusts:
            with self._room:
                self._room.wait_for(lambda: len(self._memory) < UNRECEIPTED)
                self._memory[boot, seq] = payload
        self.publish(f"{self.order.base}/data", payload)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish as it is, QoS 1."""
        with self._room:
            self._outstanding += 1
        self._counts.add(published=1)
        self._client.publish(topic, payload, 1)  # paho keeps it while there is no connection

    def again(self) -> None:
        """Send again what no receipt has named for a while, unless paho is still at it itself."""
        if not self._client.is_connected() or self._outstanding >= BUSY:
            return
        with self._room:
            due = bool(self._memory) and time.monotonic() - self._heard_s >= RESEND_S
            waiting = sorted(self._memory.items())[:UNACKNOWLEDGED] if due else []
            self._heard_s = time.monotonic() if due else self._heard_s
        self._resend([payload for _, payload in waiting])

    def stop(self) -> None:
        """Say good-bye."""
        self._client.disconnect()
        self._client.loop_stop()

    def _resend(self, payloads: list[bytes]) -> None:
        self._counts.add(again=len(payloads))
        for payload in payloads:
            self.publish(f"{self.order.base}/data", payload)

    def _connected(self, client: Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            say(told="turned away", device=self.order.device, reason=str(reason))
            return
        client.subscribe(f"{self.order.base}/ack", 1)
        birth = json.dumps(self.order.birth).encode()
        self._births.add(client.publish(f"{self.order.base}/status", birth, 1, retain=True).mid)
        say(told="connected", device=self.order.device)

    def _message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        receipt = json.loads(message.payload)
        boot = receipt["boot"]
        with self._room:
            self._heard_s = time.monotonic()
            for first, last in receipt["ok"]:
                named = range(first, last + 1)
                few = named if len(named) < len(self._memory) else [seq for b, seq in self._memory if b == boot]
                for seq in few:
                    if seq in named:
                        self._memory.pop((boot, seq), None)
            self._room.notify_all()
            ranges = [range(first, last + 1) for first, last in receipt.get("missing", [])]
            missing = [
                payload
                for (b, seq), payload in sorted(self._memory.items())
                if b == boot and any(seq in gap for gap in ranges)
            ]
        say(told="receipt", device=self.order.device, receipt=receipt)
        if self._outstanding < BUSY:
            self._resend(missing[:UNACKNOWLEDGED])

    def _published(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        if mid in self._births:
            self._births.discard(mid)
            return
        self._counts.add(acknowledged=1)
        with self._room:
            self._outstanding -= 1
        if reason.is_failure:  # MQTT 5 says so in the PUBACK (3.4.2.1); 3.1.1 has no word for it
            say(told="refused", device=self.order.device, reason=str(reason))


class Devices:
    """The devices of this process, and the orders that they are given."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._devices: dict[str, FieldDevice] = {}
        self._halted = threading.Event()
        self._over = threading.Event()
        threading.Thread(target=self._resend, daemon=True).start()

    def obey(self, order: dict[str, Any]) -> None:
        """Carry out one order."""
        match order.pop("do"):
            case "connect":
                made = FieldDevice(Order(**order), self._counts)
                self._devices[made.order.device] = made
                made.start()
            case "send":
                rate = order.pop("rate")
                block = Block(**order)
                device = self._devices[block.device]
                threading.Thread(target=device.send, args=(block, rate, self._halted), daemon=True).start()
            case "keep":
                self._devices[order["device"]].keep(order["boot"], order["seq"], base64.b64decode(order["payload"]))
            case "raw":
                device = self._devices[order["device"]]
                device.publish(order["topic"] or f"{device.order.base}/data", base64.b64decode(order["payload"]))
            case "halt":
                self._halted.set()
            case "go on":
                self._halted.clear()
            case other:
                say(told="unknown", order=other)

    def stop(self) -> None:
        """Have every device say good-bye."""
        self._over.set()
        for device in self._devices.values():
            device.stop()

    def _resend(self) -> None:
        while not self._over.wait(0.5):
            for device in list(self._devices.values()):
                device.again()


def main() -> None:
    """Carry out orders until there are no more."""
    devices = Devices(Counts(Path(sys.argv[1])))
    for line in sys.stdin:
        devices.obey(json.loads(line))
    devices.stop()


if __name__ == "__main__":
    main()
