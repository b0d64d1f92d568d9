"""Leases: which ingest worker owns which district, kept in the operations database.

Machines' clocks differ, so that no time is compared with another machine's. Owner and worker show that they live by
changing a number; who watches it stand still for `TTL_S` of its own monotonic clock takes the owner for dead (the
way of Kubernetes' client-go, package leaderelection: "tolerant to arbitrary clock skew, but not to arbitrary clock
skew rate"). Each change of owner raises the lease's epoch, and whoever writes under an older one is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from sensors.clock import Clock, to_ms
from sensors.operations import detector_states, leases, reading, workers, writing
from twin.errors import BusyError, UnavailableError

TTL_S = 5.0
"""An owner without a sign of life for this long is taken for dead. A beat a second leaves room for four lost ones,
and a successor on another machine has five of the promised ten seconds left to begin."""

FORGOTTEN_S = 600.0
"""A worker that was seen dead for this long leaves the list."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A district's lease as it was read. `worker` is empty where its owner gave it back."""

    district: str
    worker: str
    spool: str
    epoch: int
    renewed: int


def spools(engine: Engine) -> dict[str, str]:
    """Return the spool (its own id) that each owned district is worked with, for whoever has several at hand.

    UnavailableError or BusyError where the database does not answer.
    """
    with reading(engine) as connection:
        owned = select(leases.c.district, leases.c.spool).where(leases.c.worker != "")
        return {row.district: row.spool for row in connection.execute(owned)}


class _Watch:
    """How long each number has stood still, by a monotonic clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def still_s(self, name: str, number: int, now_s: float, begin_s: float) -> float:
        """Return for how long `number` has not changed; one never seen before is taken to stand since `begin_s`."""
        known = self._seen.get(name)
        if known is None:
            self._seen[name] = number, begin_s
        elif known[0] != number:
            self._seen[name] = number, now_s
        return now_s - self._seen[name][1]

    def begin_anew(self, now_s: float) -> None:
        """Take everything to have changed at `now_s`: until then nobody could have shown a change."""
        self._seen = {name: (number, now_s) for name, (number, _) in self._seen.items()}

    def forget(self, name: str) -> None:
        self._seen.pop(name, None)


class Leases:
    """The leases as one worker sees them, in the operations database behind `engine` (of `operations.connect`).

    `worker` is a name that no other process has; `host` is shown to people. `clock` is this machine's, never a
    recording's. Every method raises UnavailableError or BusyError where the database does not answer.
    """

    def __init__(self, engine: Engine, worker: str, *, host: str, clock: Clock) -> None:
        self.worker = worker
        self._engine = engine
        self._host = host
        self._clock = clock
        self._watch = _Watch()
        self._away = False
        self._living: list[str] = [worker]
        self._leases: dict[str, Lease] = {}
        self._dead: set[str] = set()

    def beat(self, held: Mapping[str, int]) -> set[str]:
        """Show a sign of life, renew the leases `held` (district to epoch), and look around.

        Returns the districts of `held` that another worker owns by now. After a time in which the database did not
        answer, everybody has `TTL_S` again to show that he lives.
        """
        try:
            lost = self._beat(held)
        except (UnavailableError, BusyError):
            self._away = True
            raise
        self._away = False
        return lost

    def share(self, districts: int) -> int:
        """Return how many of so many districts are this worker's part: as even as can be.

        What cannot be even goes to those who have most already, so that who joins moves no more than it must.
        """
        whole, rest = divmod(districts, len(self._living))
        has = Counter(lease.worker for lease in self._leases.values())
        order = sorted(self._living, key=lambda worker: (-has[worker], worker))
        return whole + (order.index(self.worker) < rest)

    def lease(self, district: str) -> Lease | None:
        """Return the lease of a district as the last `beat` saw it; None where nobody ever had it."""
        return self._leases.get(district)

    def free(self, district: str) -> bool:
        """Return whether a district has no living owner, as far as the last `beat` could see."""
        lease = self._leases.get(district)
        return lease is None or not lease.worker or district in self._dead

    def take(self, district: str, spool: str) -> int | None:
        """Take the lease as the last `beat` saw it, and return its new epoch; None where somebody was faster.

        The caller holds the lock of the spool called `spool`: where the lease names it, its owner is dead whatever
        its last sign of life, and need not be waited for.
        """
        seen, now = self._leases.get(district), to_ms(self._clock.now())
        mine = {"worker": self.worker, "spool": spool, "renewed": now}
        epoch = 1 if seen is None else seen.epoch + 1
        try:
            with writing(self._engine) as connection:
                if seen is None:
                    connection.execute(insert(leases).values(district=district, epoch=epoch, **mine))
                    return epoch
                unchanged = (
                    leases.c.district == district,
                    leases.c.epoch == seen.epoch,
                    leases.c.renewed == seen.renewed,
                )
                taken = connection.execute(update(leases).where(*unchanged).values(epoch=epoch, **mine)).rowcount
        except IntegrityError:  # two took what nobody had before
            return None
        return epoch if taken else None

    def release(self, district: str, epoch: int) -> None:
        """Give a lease back, for the next worker to take at once; nothing happens where it is lost already."""
        with writing(self._engine) as connection:
            mine = (leases.c.district == district, leases.c.worker == self.worker, leases.c.epoch == epoch)
            connection.execute(update(leases).where(*mine).values(worker=""))

    def leave(self) -> None:
        """Leave the list of workers: the others' shares grow at once."""
        self.bury(self.worker)

    def bury(self, worker: str) -> None:
        """Take a worker off the list that is known to be dead; one that is not comes back with its next beat."""
        with writing(self._engine) as connection:
            connection.execute(delete(workers).where(workers.c.worker == worker))
        self._living = [name for name in self._living if name != worker or name == self.worker]

    def keep_state(self, district: str, epoch: int, state: bytes) -> bool:
        """Keep detection's state for an owner on another machine; whether `epoch` still is the district's."""
        row = {"epoch": epoch, "at": to_ms(self._clock.now()), "state": state}
        with writing(self._engine) as connection:
            # The lease's row is locked first: on PostgreSQL a successor waits there, and cannot read what is older.
            current = select(leases.c.epoch).where(leases.c.district == district).with_for_update()
            if connection.execute(current).scalar() != epoch:
                return False
            kept = update(detector_states).where(detector_states.c.district == district).values(row)
            if not connection.execute(kept).rowcount:
                connection.execute(insert(detector_states).values(district=district, **row))
        return True

    def state(self, district: str) -> tuple[int, bytes] | None:
        """Return the last kept state of detection of a district, after the epoch it was kept in; None without any."""
        with reading(self._engine) as connection:
            query = select(detector_states).where(detector_states.c.district == district)
            row = connection.execute(query).first()
        return None if row is None else (int(row.epoch), bytes(row.state))

    def _beat(self, held: Mapping[str, int]) -> set[str]:
        now = to_ms(self._clock.now())
        with writing(self._engine) as connection:
            beaten = update(workers).where(workers.c.worker == self.worker).values(beat=now)
            if not connection.execute(beaten).rowcount:
                connection.execute(insert(workers).values(worker=self.worker, host=self._host, beat=now))
            lost = {district for district, epoch in held.items() if not self._renew(connection, district, epoch, now)}
            beats = {row.worker: int(row.beat) for row in connection.execute(select(workers))}
            found = [Lease(*row) for row in connection.execute(_ALL)]
            forgotten = self._look(beats, found, now)
            if forgotten:
                connection.execute(delete(workers).where(workers.c.worker.in_(forgotten)))
        return lost

    def _renew(self, connection: Connection, district: str, epoch: int, now: int) -> bool:
        mine = (leases.c.district == district, leases.c.worker == self.worker, leases.c.epoch == epoch)
        return bool(connection.execute(update(leases).where(*mine).values(renewed=now)).rowcount)

    def _look(self, beats: Mapping[str, int], found: Sequence[Lease], now: int) -> list[str]:
        """Note who lives, and return the workers to forget.

        A worker seen for the first time lives if its beat is of these seconds. That trusts its clock, and decides no
        more than shares. A lease's first sight is a sign of life.
        """
        now_s = self._clock.seconds()
        if self._away:
            self._watch.begin_anew(now_s)
        still_s = {
            worker: self._watch.still_s(
                f"worker {worker}", beat, now_s, now_s if abs(now - beat) < TTL_S * 1000 else now_s - TTL_S
            )
            for worker, beat in beats.items()
            if worker != self.worker
        }
        self._living = [self.worker, *(worker for worker, still in still_s.items() if still < TTL_S)]
        self._leases = {lease.district: lease for lease in found}
        self._dead = {
            lease.district
            for lease in found
            if self._watch.still_s(f"lease {lease.district}", lease.renewed, now_s, now_s) >= TTL_S
        }
        forgotten = [worker for worker, still in still_s.items() if still >= FORGOTTEN_S]
        for worker in forgotten:
            self._watch.forget(f"worker {worker}")
        return forgotten


_ALL = select(leases.c.district, leases.c.worker, leases.c.spool, leases.c.epoch, leases.c.renewed)

__all__ = ["FORGOTTEN_S", "TTL_S", "Lease", "Leases"]
