"""Leaseholding: takes districts by lease, runs a worker for each, and gives back what is another's share.

A district has one owner: by the lock on its spool among the processes of one machine, by the lease among machines.
The lock is taken first. It dies with its process, so that a lease that names this very spool is of a dead owner, and
is taken at once; a lease of another machine's spool is waited for (`sensors.leases`). An owner whose operations
database is away goes on, for nobody else can take its lease there; it stops when the database answers that somebody
has. What such a former owner still has in its spool it takes to the store, and no further.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from ingest.outage import Outage
from ingest.spool import Reader, Spool, owned
from sensors.leases import TTL_S, Leases
from twin.errors import BusyError, ChengmaiError, UnavailableError

logger = structlog.get_logger()

TURN_S = 1.0
"""How often leases are renewed and others' looked at."""

AGAIN_S = 60.0
"""A district that could not be worked is left alone for this long, and so is a spool that could not be drained."""

KEEP_STATE_S = 60.0
KEEP_STATE_SHARE = 0.01
"""Detection's state goes to the operations database every minute, or more rarely where that would take more of the
time than this share: the state of a large district is large."""

SPOOL_ID = "spool"
_EPOCH = "epoch"


class Job(Protocol):
    """What is done with a district until `stop`; raises what makes it impossible."""

    def run(self, stop: threading.Event) -> None:
        """Do it."""
        ...


class Premises(Protocol):
    """What this machine has for each district."""

    def spool(self, district: str) -> Path:
        """Return where its spool is."""
        ...

    def work(self, district: str, spool: Spool, keep_state: Callable[[], None]) -> Job:
        """Return the worker of a district; it calls `keep_state` after its checkpoints, at least once at its end."""
        ...

    def drain(self, district: str, spool: Spool) -> Job:
        """Return what takes the rest of a spool to the store."""
        ...


@dataclass(slots=True)
class _Duty:
    """A district in the hands of this process, its thread, and what is open for it; `epoch` is None to drain only."""

    district: str
    epoch: int | None
    spool: Spool
    opened: ExitStack
    stop: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    failure: Exception | None = None
    thread: threading.Thread | None = None

    @property
    def over(self) -> bool:
        return self.thread is not None and not self.thread.is_alive()


class Leaseholder:
    """Works the share of `districts` that falls to this process, by `leases`, on its `premises`."""

    def __init__(self, leases: Leases, premises: Premises, districts: Sequence[str]) -> None:
        self._leases = leases
        self._premises = premises
        self._districts = list(districts)
        self._duties: dict[str, _Duty] = {}
        self._not_before_s: dict[str, float] = {}
        self._drain_after_s: dict[str, float] = {}
        self._locked_s: dict[str, float] = {}
        self._spool_ids: dict[str, str] = {}
        self._failure: Exception | None = None
        self._untold: dict[str, Exception] = {}
        self._outage = Outage("leases", worker=leases.worker)

    @property
    def owned(self) -> list[str]:
        """The districts that this process owns."""
        return sorted(district for district, duty in self._duties.items() if duty.epoch is not None)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`, then give everything back.

        Raises what stopped the work on a district when this process is left with none; BusyError for a spool that
        somebody holds without a lease.
        """
        try:
            while True:
                self.turn()
                if stop.wait(TURN_S):
                    return
        finally:
            self._go()

    def turn(self) -> None:
        """Renew what is held, end what is lost or too much, begin what is free; raises as `run`."""
        self._reap()
        held = {duty.district: duty.epoch for duty in self._duties.values() if duty.epoch is not None}
        try:
            lost = self._leases.beat(held)
        except (UnavailableError, BusyError) as error:
            self._outage.note(error)
            return
        self._outage.note(None)
        for district in lost:
            if not self._duties[district].lost:
                logger.warning("lease_lost", district=district, epoch=held[district])
            self._duties[district].lost = True
            self._duties[district].stop.set()
        try:
            self._bury()
        except UnavailableError as error:
            self._outage.note(error)
            return
        self._share()
        if self._failure is not None and not self._duties:
            self._untold = {name: error for name, error in self._untold.items() if error is not self._failure}
            raise self._failure
        self._tell()
        self._drain()

    def _bury(self) -> None:
        """Find the workers of this machine that have died, by the locks that went with them: shares grow at once."""
        for district in self._districts:
            lease = self._leases.lease(district)
            if district in self._duties or lease is None or not lease.worker:
                continue
            if lease.spool == self._spool_id(district) and lease.worker != self._leases.worker:
                try:
                    with owned(self._premises.spool(district)):
                        self._leases.bury(lease.worker)
                except BusyError:
                    continue  # it lives; or the database is locked, and the next turn tells

    def _share(self) -> None:
        share = self._leases.share(len(self._districts))
        mine = [self._duties[district] for district in self.owned]
        for duty in mine[share:]:
            if not duty.stop.is_set():
                logger.info("district_given_back", district=duty.district, share=share)
            duty.stop.set()
        for duty in self._duties.values():
            if duty.epoch is None and self._leases.free(duty.district):
                duty.stop.set()  # it only drains, and can be owned, by whoever has room, once that has stopped
        for district in self._districts:
            if len(mine) >= share:
                return
            if district not in self._duties and self._may_begin(district) and self._begin(district):
                mine.append(self._duties[district])

    def _may_begin(self, district: str) -> bool:
        if time.monotonic() < self._not_before_s.get(district, 0.0):
            return False
        lease = self._leases.lease(district)
        return self._leases.free(district) or (lease is not None and lease.spool == self._spool_id(district))

    def _begin(self, district: str) -> bool:
        """Take lock and lease of a district and begin to work it; whether that came about."""
        try:
            with ExitStack() as opening:
                spool = self._open(district, opening)
                epoch = None if spool is None else self._take(district)
                if spool is None or epoch is None:
                    return False
                duty = _Duty(district, epoch, spool, opening.pop_all())
        except ChengmaiError as error:
            self._fail(district, error)
            return False
        logger.info("district_taken", district=district, epoch=epoch, worker=self._leases.worker)
        self._failure = None
        self._start(duty, self._own)
        return True

    def _take(self, district: str) -> int | None:
        try:
            return self._leases.take(district, self._spool_ids[district])
        except (UnavailableError, BusyError) as error:
            self._outage.note(error)
            return None

    def _open(self, district: str, opening: ExitStack) -> Spool | None:
        """Lock and open the spool of a district; None while another process of this machine has it.

        BusyError when that has had no lease for it all the time: it is no worker of this city.
        """
        path = self._premises.spool(district)
        try:
            opening.enter_context(owned(path))
        except BusyError:
            lease = self._leases.lease(district)
            since_s = self._locked_s.setdefault(district, time.monotonic())
            if lease is not None and lease.worker:
                del self._locked_s[district]
            elif time.monotonic() - since_s > TTL_S:
                raise
            return None
        self._locked_s.pop(district, None)
        spool = Spool(path)
        opening.callback(spool.close)
        known = spool.state(SPOOL_ID)
        if known is None:
            known = uuid.uuid4().hex.encode()
            spool.keep(SPOOL_ID, known)
        self._spool_ids[district] = known.decode()
        return spool

    def _spool_id(self, district: str) -> str | None:
        """Return the id of this machine's spool of a district, or None where there is none yet, or none to be read."""
        path = self._premises.spool(district)
        if district not in self._spool_ids and path.is_file():
            try:
                with closing(Spool(path)) as spool:
                    known = spool.state(SPOOL_ID)
            except ChengmaiError as error:
                logger.warning("spool_unreadable", district=district, error=str(error))
                known = b""
            if known is not None:
                self._spool_ids[district] = known.decode()
        return self._spool_ids.get(district)

    def _drain(self) -> None:
        """Begin to take what is left of other owners' districts on this machine to the store."""
        now_s = time.monotonic()
        for district in self._districts:
            lease, path = self._leases.lease(district), self._premises.spool(district)
            elsewhere = lease is not None and lease.spool != self._spool_id(district)
            free = self._leases.free(district)
            if district in self._duties or free or not elsewhere or now_s < self._drain_after_s.get(district, 0.0):
                continue
            self._drain_after_s[district] = now_s + AGAIN_S
            if path.is_file():
                self._drain_one(district, path)

    def _drain_one(self, district: str, path: Path) -> None:
        with ExitStack() as opening:
            try:
                opening.enter_context(owned(path))
                spool = Spool(path)
                opening.callback(spool.close)
                left = spool.ledger().spooled
            except BusyError:
                return  # another process of this machine is at it
            except ChengmaiError as error:
                logger.warning("spool_not_drained", district=district, error=str(error))
                return
            if left:
                logger.warning("spool_of_former_owner", district=district, readings=left)
                self._start(_Duty(district, None, spool, opening.pop_all()), self._rest)

    def _start(self, duty: _Duty, body: Callable[[_Duty], None]) -> None:
        self._duties[duty.district] = duty
        duty.thread = threading.Thread(target=self._serve, args=(duty, body), name=f"district-{duty.district}")
        duty.thread.start()

    def _serve(self, duty: _Duty, body: Callable[[_Duty], None]) -> None:
        try:
            with duty.opened:
                body(duty)
        except Exception as error:  # noqa: BLE001  # raised again by `run`, or told, on the thread that owns the leases
            duty.failure = error

    def _own(self, duty: _Duty) -> None:
        epoch = duty.epoch
        assert epoch is not None
        try:
            self._inherit(duty, epoch)
            keeper = _StateKeeper(self._leases, duty.district, epoch, duty.spool)
            self._premises.work(duty.district, duty.spool, keeper.keep).run(duty.stop)
            if not duty.lost:
                keeper.keep(last=True)
        finally:
            try:
                self._leases.release(duty.district, epoch)
            except (UnavailableError, BusyError) as error:
                logger.warning("lease_not_given_back", district=duty.district, error=str(error))

    def _inherit(self, duty: _Duty, epoch: int) -> None:
        """Go on from where the last owner's detection stood, if that was on another machine."""
        before, kept = duty.spool.state(_EPOCH), self._leases.state(duty.district)
        if kept is not None and (before is None or kept[0] > int(before)):
            skipped = duty.spool.undetected()
            duty.spool.detected(_newest(duty.spool), kept[1])
            logger.info("detection_inherited", district=duty.district, of_epoch=kept[0], not_detected=skipped)
        duty.spool.keep(_EPOCH, str(epoch).encode())

    def _rest(self, duty: _Duty) -> None:
        self._premises.drain(duty.district, duty.spool).run(duty.stop)
        state = duty.spool.detector_state()
        if state is not None and not duty.spool.ledger().spooled:
            # Its owner's detection goes on elsewhere; here the readings need not wait for one.
            duty.spool.detected(_newest(duty.spool), state)

    def _reap(self) -> None:
        for duty in [duty for duty in self._duties.values() if duty.over]:
            del self._duties[duty.district]
            if duty.failure is not None:
                self._fail(duty.district, duty.failure)

    def _fail(self, district: str, error: Exception) -> None:
        """Leave a district alone for a while; what is wrong with it ends the process where that is left with none."""
        self._failure = error
        self._not_before_s[district] = time.monotonic() + AGAIN_S
        self._untold[district] = error

    def _tell(self) -> None:
        """Log which districts are left alone; the failure that ends the process is told by whoever runs it."""
        for district, error in self._untold.items():
            logger.error("district_not_worked", district=district, error=str(error), again_s=AGAIN_S)
        self._untold = {}

    def _go(self) -> None:
        """End all work; what is held is renewed until it has ended."""
        for duty in self._duties.values():
            duty.stop.set()
        while not all(duty.over for duty in self._duties.values()):
            for duty in self._duties.values():
                if duty.thread is not None:
                    duty.thread.join(TURN_S / max(1, len(self._duties)))
            self._renew_to_the_end()
        try:
            self._leases.leave()
        except (UnavailableError, BusyError) as error:
            self._outage.note(error)
        self._reap()
        self._tell()

    def _renew_to_the_end(self) -> None:
        held = {duty.district: duty.epoch for duty in self._duties.values() if duty.epoch is not None and not duty.over}
        if held:
            try:
                self._leases.beat(held)
            except (UnavailableError, BusyError) as error:
                self._outage.note(error)


class _StateKeeper:
    """Takes detection's state from the spool to the operations database, neither too often nor for a former owner."""

    def __init__(self, leases: Leases, district: str, epoch: int, spool: Spool) -> None:
        self._leases = leases
        self._district = district
        self._epoch = epoch
        self._spool = spool
        self._kept: bytes | None = None
        self._next_s = time.monotonic() + KEEP_STATE_S

    def keep(self, *, last: bool = False) -> None:
        begin_s = time.monotonic()
        if begin_s < self._next_s and not last:
            return
        state = self._spool.detector_state()
        try:
            if state is not None and state != self._kept:
                self._leases.keep_state(self._district, self._epoch, state)
                self._kept = state
        except (UnavailableError, BusyError) as error:
            logger.warning("detector_state_not_kept", district=self._district, error=str(error))
        took_s = time.monotonic() - begin_s
        self._next_s = begin_s + max(KEEP_STATE_S, took_s / KEEP_STATE_SHARE)


def _newest(spool: Spool) -> int:
    """Return the id of the newest batch that detection has not passed, or of the last that it has."""
    newest = spool.cursor(Reader.DETECTED)
    while batches := spool.batches(newest):
        newest = batches[-1].id
    return newest


__all__ = ["Job", "Leaseholder", "Premises"]
