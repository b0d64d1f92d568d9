"""The audit trail: who did what to whom and when, append-only and chained by hashes.

Each entry's digest covers the entry and the digest before it, so that no entry can be changed, put in between or taken
out without every later digest failing. What a chain alone does not show is a tail cut off, or the whole rewritten: so
each new head is also written into an anchor, a file outside the database that is only ever appended to. It belongs
where those who can write the database cannot rewrite it (``chattr +a``, another owner, a copy elsewhere).

The construction is that of a hash-linked log (Haber and Stornetta, How to time-stamp a digital document, 1991).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine, Row, func, insert, select

from sensors.clock import Clock, SystemClock, from_ms, to_ms
from sensors.operations import advance, counter, reading, trail, writing

logger = structlog.get_logger()

GENESIS = "0" * 64
"""What stands for the digest before the first entry."""

MAX_FAULTS = 20
"""Faults told by one verification; an early one makes many."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: `at` is machine time (aware UTC), `detail` JSON, `digest` SHA-256 in hexadecimal."""

    number: int
    at: datetime
    by: str
    action: str
    subject: str
    detail: str
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of a trail: its entries, the newest one that the anchor knows, and what is wrong."""

    entries: int
    head: str
    anchored: int
    faults: Sequence[str]

    @property
    def unanchored(self) -> str:
        """What no anchor covers yet, in words: whoever has the database alone could have added it. Mostly empty."""
        if self.anchored >= self.entries:
            return ""
        return (
            f"entries {self.anchored + 1}–{self.entries} are in no anchor: nothing outside the database speaks for them"
        )


@dataclass(frozen=True, slots=True)
class AuditTrail:
    """The audit trail of a city, in the operations database behind `engine`; `anchor` is the file of its heads.

    `clock` is the machine's, never a replay's: what people do, they do now.
    """

    engine: Engine
    anchor: Path
    clock: Clock = field(default_factory=SystemClock)

    def write(self, by: str, action: str, subject: str, detail: Mapping[str, object] | None = None) -> Entry:
        """Append one entry: `by` did `action` (``device.adopt``) to `subject` (a device, login, alarm …).

        `detail` is anything that JSON holds, and never a secret. An anchor that cannot be written is logged and
        costs nothing but its proof: the next entry that reaches it covers this one too.
        """
        with writing(self.engine) as connection:
            entry = self.enter(connection, by, action, subject, detail)
        self.publish(entry)
        return entry

    def enter(
        self, connection: Connection, by: str, action: str, subject: str, detail: Mapping[str, object] | None = None
    ) -> Entry:
        """Append one entry in the write transaction of `connection`, so that it stands or falls with what it tells of.

        Whoever commits the transaction hands the entry to `publish` then.
        """
        said = msgspec.json.encode(detail or {}, order="sorted").decode()
        number = advance(connection, "trail")  # takes the lock: writers queue here
        previous = _digest_of(connection, number - 1)
        at = to_ms(self.clock.now())
        digest = digest_of(number, at, by, action, subject, said, previous)
        entry = Entry(number, from_ms(at), by, action, subject, said, previous, digest)
        connection.execute(insert(trail).values(**_row(entry)))
        return entry

    def list(self, *, subject: str = "", action: str = "", after: int = 0, limit: int = 100) -> list[Entry]:
        """Return the newest entries, oldest first: of a subject, of an action or its group (``device``), after one."""
        wanted: list[Any] = [trail.c.number > after]
        if subject:
            wanted.append(trail.c.subject == subject)
        if action:
            wanted.append((trail.c.action == action) | trail.c.action.startswith(f"{action}.", autoescape=True))
        with reading(self.engine) as connection:
            rows = connection.execute(select(trail).where(*wanted).order_by(trail.c.number.desc()).limit(limit))
            return [_entry(row) for row in rows][::-1]

    def verify(self) -> Verification:
        """Compute every digest anew and hold the chain against the anchor and the count of entries ever written."""
        faults: list[str] = []
        anchored = self._anchored(faults)
        previous, number = GENESIS, 0
        with reading(self.engine) as connection:
            rows = connection.execute(select(trail).order_by(trail.c.number).execution_options(yield_per=10_000))
            for entry in map(_entry, rows):
                faults.extend(_broken(entry, number, previous))
                known = anchored.pop(entry.number, None)
                if known is not None and known != entry.digest:
                    faults.append(f"entry {entry.number} is not the one that the anchor knows")
                number, previous = entry.number, entry.digest
            written = counter(connection, "trail")
        if written > number:
            faults.append(f"the trail ends at entry {number}, but {written} were written: its end is cut off")
        if anchored:
            faults.append(f"the anchor knows entry {max(anchored)}, which the trail has not")
        newest = self._newest_anchored()
        if number and not newest:
            faults.append(f"no anchor at {self.anchor}: a rewritten trail would not show")
        return Verification(number, previous if number else "", newest, faults[:MAX_FAULTS])

    def publish(self, entry: Entry) -> None:
        """Write the head that a committed `entry` is into the anchor; logged where that fails, never raised."""
        line = f"{entry.number} {entry.digest} {entry.at.isoformat()}\n".encode("ascii")
        try:
            file = os.open(self.anchor, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            logger.error("trail_not_anchored", anchor=str(self.anchor), entry=entry.number, error=error.strerror)  # noqa: TRY400  # an expected trouble: one line, no traceback

    def _anchored(self, faults: list[str]) -> dict[int, str]:
        """Return the digests that the anchor knows, by entry, and add its unreadable lines to `faults`."""
        known: dict[int, str] = {}
        try:
            for place, (number, digest) in enumerate(self._lines(), 1):
                if number < 1 or known.get(number, digest) != digest:
                    faults.append(f"line {place} of the anchor {self.anchor} is not what was written there")
                else:
                    known[number] = digest
        except OSError as error:  # such as where it is another user's, as it may well be
            faults.append(f"the anchor {self.anchor} cannot be read: {error.strerror}")
        return known

    def _newest_anchored(self) -> int:
        try:
            return max((number for number, _ in self._lines()), default=0)
        except OSError:  # told by `_anchored`
            return 0

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Yield number and digest of each line of the anchor; number 0 for a line that is none."""
        try:
            lines = self.anchor.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            words = line.split()
            fits = len(words) == 3 and words[0].isdigit() and len(words[1]) == len(GENESIS)
            yield (int(words[0]), words[1]) if fits else (0, "")


def digest_of(number: int, at: int, *words: str) -> str:
    """Return the digest of an entry: SHA-256 of its seven parts as one JSON array.

    `at` is in ms since 1970 UTC, `words` are by, action, subject, detail and the digest before.
    """
    return hashlib.sha256(msgspec.json.encode([number, at, *words])).hexdigest()


def _broken(entry: Entry, before: int, previous: str) -> Iterator[str]:
    if entry.number != before + 1:
        gone = f"{before + 1}" if entry.number == before + 2 else f"{before + 1}–{entry.number - 1}"
        yield f"entry {gone} is gone"
    elif entry.previous != previous:
        yield f"entry {entry.number} does not follow the one before it"
    parts = (entry.by, entry.action, entry.subject, entry.detail, entry.previous)
    if digest_of(entry.number, to_ms(entry.at), *parts) != entry.digest:
        yield f"entry {entry.number} has been changed"


def _digest_of(connection: Connection, number: int) -> str:
    """Return the digest of the entry before a new one; of the newest there is, where somebody took it away."""
    newest = select(func.max(trail.c.number)).where(trail.c.number <= number).scalar_subquery()
    found = connection.execute(select(trail.c.digest).where(trail.c.number == newest)).scalar()
    return GENESIS if found is None else str(found)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": to_ms(entry.at),
        "by": entry.by,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
        "previous": entry.previous,
        "digest": entry.digest,
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.number, from_ms(row.at), row.by, row.action, row.subject, row.detail, row.previous, row.digest)


__all__ = ["AuditTrail", "Entry", "Verification", "digest_of"]
