"""What Mosquitto's log tells of those who tried what they may not.

The access lists hold without anybody looking; this is for the audit trail. Mosquitto 2.0 names a denied publish, the
filters of a subscription and the answer to a login only in its debug messages, whose wording is that of its sources
(``handle_publish.c``, ``handle_subscribe.c``, ``send_connack.c``, release 2.0.11) and in no manual; a test holds the
real broker to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from ingest.broker.private import write_private
from ingest.topic import PREFIX

WINDOW_S = 60.0
"""The first attempt of somebody is told at once, those of the next minute together."""

MAX_KNOWN = 1000
"""Attempts of one kind by different parties told apart in one window; those of more are counted together."""

MAX_LOG_BYTES = 50_000_000
"""A log that has grown longer is begun anew, once it is read."""

_CHUNK_BYTES = 4_000_000


class Kind(StrEnum):
    """What was tried in vain; the value is the action in the audit trail."""

    PUBLISH = "broker.publish_denied"
    SUBSCRIBE = "broker.subscribe_denied"
    LOGIN = "broker.login_refused"


class Attempt(NamedTuple):
    """One or more attempts: `who` is a login, for refused logins the address; `what` the newest topic or reason."""

    kind: Kind
    who: str
    what: str
    times: int


@dataclass(slots=True)
class Attempts:
    """Finds attempts in lines of the log, and says which are due to be told."""

    _subscriber: str = ""
    _told: dict[tuple[Kind, str], float] = field(default_factory=dict[tuple[Kind, str], float])
    _counted: dict[tuple[Kind, str], Attempt] = field(default_factory=dict[tuple[Kind, str], Attempt])

    def read(self, lines: Iterable[bytes]) -> None:
        """Count what `lines` tell; what is no such line is passed over."""
        for line in lines:
            said = line.partition(b": ")[2]
            if said.startswith(b"\t"):
                self._subscribed(said)
                continue
            self._subscriber = ""
            if said.startswith(b"Denied PUBLISH"):
                if denied := _DENIED.match(said):
                    self._count(Kind.PUBLISH, _text(denied[1]), _text(denied[2]))
            elif said.startswith(b"Received SUBSCRIBE from "):
                self._subscriber = _text(said[24:])
            elif said.startswith(b"Sending CONNACK") and (refused := _CONNACK.match(said)) and refused[2] != b"0":
                self._count(Kind.LOGIN, _text(refused[1]), f"CONNACK {_text(refused[2])}")

    def due(self, now_s: float) -> list[Attempt]:
        """Return what is to be told at `now_s` (monotonic seconds)."""
        self._told = {key: told for key, told in self._told.items() if now_s - told < WINDOW_S}
        ready = [key for key in self._counted if key not in self._told]
        for key in ready:
            self._told[key] = now_s
        return [self._counted.pop(key) for key in ready]

    def _subscribed(self, said: bytes) -> None:
        wanted = _text(said[1:]).rpartition(" (QoS ")[0]
        if self._subscriber and not may_hear(self._subscriber, wanted):
            self._count(Kind.SUBSCRIBE, self._subscriber, wanted)

    def _count(self, kind: Kind, who: str, what: str) -> None:
        key = kind, who
        if key not in self._counted and len(self._counted) >= MAX_KNOWN:
            key = kind, "others"
        before = self._counted.get(key)
        self._counted[key] = Attempt(kind, key[1], what, 1 if before is None else before.times + 1)


def may_hear(login: str, wanted: str) -> bool:
    """Return whether a device's access list lets it hear all that the filter `wanted` covers.

    >>> may_hear("GM-0044", "cim/v1/+/+/GM-0044/ack"), may_hear("GM-0044", "cim/v1/#")
    (True, False)
    """
    allowed = (
        f"{PREFIX}/+/+/{login}/ack",
        f"{PREFIX}/+/+/{login}/cmd",
        f"spBv1.0/+/NCMD/{login}",
        f"spBv1.0/+/DCMD/{login}/+",
        "spBv1.0/STATE/+",
    )
    return any(_covers(pattern.split("/"), wanted.split("/")) for pattern in allowed)


@dataclass(slots=True)
class LogReader:
    """Reads on in the log at `path`, from where the last reader stopped; `place` is the file that remembers it."""

    path: Path
    place: Path
    _file: int = -1
    _offset: int = 0

    def __post_init__(self) -> None:
        words = self.place.read_text("ascii").split() if self.place.is_file() else []
        if len(words) == 2 and self.path.is_file() and words[0] == str(self.path.stat().st_ino):
            self._file, self._offset = int(words[0]), int(words[1])

    def lines(self) -> list[bytes]:
        """Return the whole lines that are new, at most 4 MB of them; none where there is no log (yet)."""
        try:
            with self.path.open("rb") as log:
                now = os.fstat(log.fileno())
                if now.st_ino != self._file or now.st_size < self._offset:  # begun anew, by us or by logrotate(8)
                    self._file, self._offset = now.st_ino, 0
                log.seek(self._offset)
                read = log.read(_CHUNK_BYTES)
        except FileNotFoundError:
            return []
        whole = read[: read.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.splitlines()

    def done(self) -> None:
        """Remember what is read; begin the log anew where it has grown long and nothing is left in it.

        Mosquitto appends, so that it goes on in the empty file; a line written in the very moment may be lost.
        """
        if self._offset > MAX_LOG_BYTES and self.path.stat().st_size == self._offset:
            os.truncate(self.path, 0)
            self._offset = 0
        write_private(self.place, f"{self._file} {self._offset}\n".encode("ascii"))


def _covers(pattern: Sequence[str], wanted: Sequence[str]) -> bool:
    """Return whether a pattern without ``#`` lets through all that the filter `wanted` does, level by level."""
    same = len(pattern) == len(wanted) and "#" not in wanted
    return same and all(one in {"+", level} for one, level in zip(pattern, wanted, strict=True))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")[:300]


_DENIED = re.compile(rb"Denied PUBLISH from (\S+) \(d\d, q\d, r\d, m\d+, '(.*)', \.\.\. \(\d+ bytes\)\)$")
_CONNACK = re.compile(rb"Sending CONNACK to (\S+) \(\d+, (\d+)\)$")

__all__ = ["Attempt", "Attempts", "Kind", "LogReader", "may_hear"]
