"""The campaign's end of a process of field devices: orders in, receipts out, and what has become of every reading."""

from __future__ import annotations

import json
import mmap
import struct
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .city import DISTRICT, City
from .field import Block
from .processes import die_with_parent, wait_until


@dataclass(slots=True)
class Missing:
    """Readings that were receipted (or all that were sent) and are neither stored nor in quarantine."""

    count: int = 0
    examples: list[str] = field(default_factory=list[str])


class Fleet:
    """One process of field devices."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._counts = city.folder / f"field-{time.monotonic_ns()}"
        self._counts.write_bytes(bytes(24))
        program = Path(__file__).with_name("field.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), str(self._counts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # it calls prctl(2) only
        )
        self.blocks: list[Block] = []
        self.receipts: list[tuple[str, dict[str, Any]]] = []
        self.told: list[dict[str, Any]] = []
        self._ended: list[dict[str, Any]] = []
        self._receipted: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._connected: set[str] = set()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()
        with self._counts.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 24, prot=mmap.PROT_READ)

    def connect(self, *devices: str, login: str = "", **order: Any) -> None:
        """Connect devices, each by its own login unless `login` names another; returns once they are connected."""
        for device in devices:
            base = f"cim/v1/{DISTRICT}/water/{device}"
            user = login or device
            birth = {"v": 1, "online": True, "boot": 1, "points": {"pressure": "MPa"}}
            self._order(
                do="connect",
                device=device,
                base=base,
                host="127.0.0.1",
                port=self._city.broker.port,
                **self._city.broker.credentials(user),
                birth=birth,
                **order,
            )
        wait_until(lambda: self._connected.issuperset(devices), f"devices {devices[:3]} connected")

    def send(self, block: Block, rate: float = 0.0) -> None:
        """Have the messages of a block sent; returns at once."""
        self.blocks.append(block)
        self._order(do="send", rate=rate, **asdict(block))

    def keep(self, device: str, boot: int, seq: int, payload: bytes) -> None:
        """Have a message sent and kept until it is receipted."""
        self._order(do="keep", device=device, boot=boot, seq=seq, payload=b64encode(payload).decode())

    def raw(self, device: str, payload: bytes, topic: str = "") -> None:
        """Have bytes published as they are, on the device's data topic or another one."""
        self._order(do="raw", device=device, topic=topic, payload=b64encode(payload).decode())

    def go_on(self) -> None:
        """Let devices measure again after `halt`."""
        self._order(do="go on")

    def halt(self) -> None:
        """Stop measuring, and cut the blocks to what was sent; what is in memory still waits for its receipt."""
        self._order(do="halt")
        wait_until(lambda: len(self._ended) == len(self.blocks), "the devices have stopped measuring")
        counts = {(one["device"], one["boot"], one["first"]): one["count"] for one in self._ended}
        self.blocks = [
            replace(block, last=block.first + counts[block.device, block.boot, block.first] - 1)
            for block in self.blocks
        ]

    def counts(self) -> tuple[int, int, int]:
        """Return messages published, acknowledged by the broker, and published again, at this very moment."""
        published, acknowledged, again = struct.unpack_from("<3q", self._map)
        return published, acknowledged, again

    def receipted(self, device: str, boot: int = 1) -> set[int]:
        """Return the seqs of a boot that receipts have named."""
        return set(self._receipted[device, boot])

    def refusals(self, device: str) -> dict[int, str]:
        """Return the codes of refusals by seq, as receipts told them."""
        return {seq: code for name, one in self.receipts if name == device for seq, _, code in one.get("rej", [])}

    def sent(self) -> int:
        """Return how many different readings the blocks hold."""
        return sum((block.last - block.first + 1) * block.readings for block in self.blocks)

    def receipted_readings(self) -> int:
        """Return how many readings of the blocks have been receipted."""
        return sum(len(self._named(block)) * block.readings for block in self.blocks)

    def all_receipted(self, timeout_s: float = 120.0) -> None:
        """Wait until receipts have named every message of the blocks."""
        wait_until(
            lambda: self.receipted_readings() == self.sent(),
            f"all {self.sent()} readings receipted (are {self.receipted_readings()})",
            timeout_s,
        )

    def missing(self, *, every: bool = False) -> Missing:
        """Hold the store and the quarantine against what was receipted, or against `every` message sent."""
        found = Missing()
        for device in {block.device for block in self.blocks}:
            mine = [block for block in self.blocks if block.device == device]
            for point in {block.point for block in mine}:
                held = dict(self._city.stored(device, point))
                refused = {payload for _, payload, _ in self._city.quarantined(f"/{device}/")}
                held |= self._city.refused_by_store(device, point)
                for block in (one for one in mine if one.point == point):
                    seqs = range(block.first, block.last + 1) if every else sorted(self._named(block))
                    self._hold(block, seqs, held, refused, found)
        return found

    def stored(self) -> int:
        """Return how many readings the store holds of the devices of the blocks."""
        points = {(block.device, block.point) for block in self.blocks}
        return sum(len(self._city.stored(device, point)) for device, point in points)

    def close(self) -> None:
        """Have the devices say good-bye."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _hold(
        self, block: Block, seqs: Iterable[int], held: Mapping[int, float], refused: set[bytes], found: Missing
    ) -> None:
        for seq in seqs:
            lost = [row for row in block.rows(seq) if not _same(held.get(row[0]), row[1])]
            if lost and block.message(seq) not in refused:
                found.count += len(lost)
                found.examples.append(f"{block.device} boot {block.boot} seq {seq}")

    def _named(self, block: Block) -> set[int]:
        named = self._receipted[block.device, block.boot]
        whole = range(block.first, block.last + 1)
        return {seq for seq in whole if seq in named}

    def _order(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            match event["told"]:
                case "receipt":
                    self.receipts.append((event["device"], event["receipt"]))
                    named = self._receipted[event["device"], event["receipt"]["boot"]]
                    for first, last in event["receipt"]["ok"]:
                        named.update(range(first, last + 1))
                case "connected":
                    self._connected.add(event["device"])
                case "sent":
                    self._ended.append(event)
                case _:
                    self.told.append(event)


def _same(stored: float | None, sent: float) -> bool:
    return stored is not None and abs(stored - sent) <= 1e-9 * max(1.0, abs(sent))
