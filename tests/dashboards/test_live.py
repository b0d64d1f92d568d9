"""The broadcast: one snapshot, then deltas, the same bytes to all; slow watchers go."""

from __future__ import annotations

import asyncio
import struct

import orjson

from dashboards.live import BACKLOG, Broadcast, states_frame, text_frame
from dashboards.queries import Situation


def situation(states: bytes = b"\x00\x09", put: tuple = (), drop: tuple = ()) -> Situation:
    rows = {"1": {"id": "1", "level": 1}}
    return Situation(devices=7, states=states, alarms=rows, put=put, drop=drop, status={"at": 5})


class Looks:
    """An observer that has seen the given situations."""

    def __init__(self, *seen: Situation) -> None:
        self.seen = list(seen)

    def look(self) -> Situation:
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]


def test_states_frame_names_its_device_list_and_has_a_byte_a_device() -> None:
    frame = states_frame(situation())
    assert struct.unpack("<I", frame[:4]) == (7,)
    assert frame[4:] == b"\x00\x09"


def test_text_frame_carries_status_and_alarm_changes() -> None:
    frame = orjson.loads(text_frame("delta", situation(), [{"id": "1"}], ["2"]))
    assert frame == {"kind": "delta", "at": 5, "alarms": {"put": [{"id": "1"}], "drop": ["2"]}}


def test_every_watcher_gets_the_same_bytes_and_states_only_when_they_changed() -> None:
    async def watch() -> list[list[str | bytes]]:
        broadcast = Broadcast(Looks(situation(), situation(), situation(b"\x01\x09")))
        queues = [asyncio.Queue(BACKLOG), asyncio.Queue(BACKLOG)]
        broadcast._watchers.update(queues)
        running = asyncio.create_task(broadcast.run())
        heard = [[await queue.get() for _ in range(5)] for queue in queues]
        running.cancel()
        return heard

    first, second = asyncio.run(watch())
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert [type(frame) for frame in first] == [str, bytes, str, str, bytes]


def test_a_watcher_that_falls_behind_is_let_go() -> None:
    async def tell() -> int:
        broadcast = Broadcast(Looks(situation()))
        broadcast._watchers.add(asyncio.Queue(1))
        broadcast._tell("one")
        broadcast._tell("two")
        return broadcast.watchers

    assert asyncio.run(tell()) == 0
