"""The monitor: ingest looks at its own heart-beats, and raises alarms about itself as about anything else.

Its thresholds are settings of Chengmai's design, not of a standard. Each alarm goes when what it says is over; what a
worker raised before it died is cleared by its successor.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import structlog

from ingest.status import Status
from ingest.watch.threshold import Mark, Scale, Threshold
from sensors.alarm_log import AlarmLog
from sensors.clock import FOLLOWED_S, Clock, SteadyClock, to_ms
from sensors.detection import Detection, DetectionKind, Key, Subject
from sensors.ingest_alarm import IngestRule, device_subject, ingest_subject
from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

AMPLE_BYTES = 20e9
"""A disk with this much room is not filling up, however small a share of it that is."""

_OVER = 1e-9  # left only when it is over
SCALES: Mapping[IngestRule, Scale] = {
    IngestRule.DISK: Scale((Mark(0.80, 0.78, 3), Mark(0.90, 0.88, 2), Mark(0.97, 0.95, 1))),
    IngestRule.BACKLOG: Scale((Mark(300, 150, 3), Mark(3600, 1800, 2), Mark(21_600, 10_800, 1))),
    IngestRule.UNWRITABLE: Scale((Mark(1, _OVER, 1),)),
    IngestRule.LEDGER: Scale((Mark(1, 1, 1),)),
    IngestRule.STORE: Scale((Mark(10, _OVER, 2),)),
    IngestRule.STORE_LOSES: Scale((Mark(1, 1, 1),)),
    IngestRule.CLOCK: Scale((Mark(FOLLOWED_S, 5, 2),)),
    IngestRule.BROKER: Scale((Mark(15, _OVER, 2), Mark(300, _OVER, 1))),
    IngestRule.REFUSED: Scale((Mark(0.01, 0.005, 3), Mark(0.10, 0.05, 2)), settle_s=60),
    IngestRule.DETECTORS: Scale((Mark(1, 1, 2),)),
}
"""What is judged of a district: the share of the disk that is in use, seconds that something has lasted, readings."""

REFUSED_WITHIN_S = 600.0
REFUSED_LEAST = 100
"""The share of refused readings is that of ten minutes; fewer than this many say nothing."""

DEVICE_LEVEL = 3
DEVICE_AFTER_S = 3.0
DEVICE_SETTLE_S = 900.0
DEVICE_ALARMS = 200
"""A device alarm waits a moment, in which it may show that it is not this one device; it goes after quiet of a quarter
of an hour. No more than this many stand at once for one rule: then it is no matter of single devices."""

CITY_DEVICES = 3
CITY_WITHIN_S = 10.0
"""When so many devices are ahead at once, with most of what comes in, the city's clock is behind."""

LATE_WITHIN_S = 300.0
LATE_LEAST_S = 120.0
LATE_SPREAD_S = 30.0
"""When what is live comes this late, equally for so long, a clock is off: a backlog would get shorter."""

ADOPT_AFTER_S = 600.0
"""A step of the machine's clock that no reading speaks for or against is taken for right after this long."""


class Judged(NamedTuple):
    """How bad something is, on its rule's scale, and the value that people are told."""

    bad: float
    shown: float


class Monitor:
    """Judges the heart-beats of one district; `seconds` are the machine's monotonic ones. Belongs to one thread."""

    def __init__(
        self, alarms: AlarmLog, clock: Clock, district: str, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._alarms = alarms
        self._clock = clock
        self._district = district
        self._seconds = seconds
        self._adopted = False
        self._thresholds = {rule: Threshold(scale) for rule, scale in SCALES.items()}
        self._devices = {rule: Senders() for rule in (IngestRule.DEVICE_CLOCK, IngestRule.DEVICE_RATE)}
        self._trouble = {rule: _Lasting() for rule in (IngestRule.UNWRITABLE, IngestRule.STORE, IngestRule.BROKER)}
        self._refusals = _Refusals()
        self._clocks = _Clocks()
        self._unapplied: dict[Key, Detection] = {}
        self._said = 0

    def step(self, status: Status) -> None:
        """Judge a heart-beat; raise, change and clear the alarms that follow from it.

        An alarm log that does not answer is told at the next one: nothing is raised here, and nothing is forgotten.
        """
        now_s = self._seconds()
        try:
            if not self._adopted:
                self._adopt(now_s)
            for found in (*self._of_district(status, now_s), *self._of_devices(status, now_s)):
                self._unapplied[found.subject, found.rule] = found
            if self._unapplied:
                self._alarms.apply(self._unapplied.values())
                self._unapplied = {}
        except (UnavailableError, BusyError) as error:
            logger.warning("own_alarms_wait", error=str(error), waiting=len(self._unapplied))

    def _adopt(self, now_s: float) -> None:
        """Take over what a worker of this district has raised before."""
        for alarm in self._alarms.of_ingest(self._district):
            self._said = max(self._said, to_ms(alarm.changed))
            for rule in IngestRule:
                if rule == alarm.rule and rule in self._devices:
                    self._devices[rule].adopt(alarm.subject, now_s)
                elif rule == alarm.rule:
                    self._thresholds[rule] = Threshold(SCALES[rule], alarm.level)
        self._adopted = True

    def _of_district(self, status: Status, now_s: float) -> Iterator[Detection]:
        subject = ingest_subject(self._district)
        for rule, judged in self._judged(status, now_s):
            threshold = self._thresholds[rule]
            before = threshold.level
            level = threshold.follow(judged.bad, now_s)
            if level != before:
                yield self._detection(subject, rule, level or before or DEVICE_LEVEL, judged.shown, active=bool(level))

    def _judged(self, status: Status, now_s: float) -> Iterator[tuple[IngestRule, Judged]]:
        if status.disk_free is not None and status.disk_size:
            room = max(status.disk_free / status.disk_size, status.disk_free / AMPLE_BYTES)
            yield IngestRule.DISK, Judged(1 - min(1.0, room), status.disk_free)
        wrong = {
            IngestRule.UNWRITABLE: not status.spool_ok,
            IngestRule.STORE: not status.store_ok,
            IngestRule.BROKER: not status.connected,
        }
        for rule, lasting in self._trouble.items():
            lasts_s = lasting.seconds(now_s, wrong=wrong[rule])
            yield rule, Judged(lasts_s, lasts_s)
        refused = self._refusals.share(now_s, status)
        off_s = 0.0 if status.recording else self._clocks.off_s(now_s, status)
        self._settle_step(now_s, status)
        yield IngestRule.CLOCK, Judged(abs(off_s), off_s)
        for rule, value in (
            (IngestRule.BACKLOG, 0.0 if status.recording else status.backlog_s),
            (IngestRule.LEDGER, float(max(abs(status.ledger.balance), abs(status.unaccounted)))),
            (IngestRule.STORE_LOSES, float(status.store_missing)),
            (IngestRule.REFUSED, refused),
            (IngestRule.DETECTORS, float(len(status.detectors_off))),
        ):
            yield rule, Judged(value, value)

    def _of_devices(self, status: Status, now_s: float) -> Iterator[Detection]:
        if self._clocks.behind:
            self._devices[IngestRule.DEVICE_CLOCK].absolve()
        ahead = {} if self._clocks.behind else status.ahead
        for rule, counts in ((IngestRule.DEVICE_CLOCK, ahead), (IngestRule.DEVICE_RATE, status.throttled)):
            for subject, count, active in self._devices[rule].follow(counts, now_s):
                yield self._detection(subject, rule, DEVICE_LEVEL, count, active=active)

    def _settle_step(self, now_s: float, status: Status) -> None:
        """Follow a step of the machine's clock where the devices agree with it, or nobody says anything."""
        if isinstance(self._clock, SteadyClock) and self._clocks.step_is_right(now_s, status):
            logger.warning("clock_step_followed", seconds=round(self._clock.off_s, 3))
            self._clock.adopt()

    def _detection(self, subject: Subject, rule: IngestRule, level: int, shown: float, *, active: bool) -> Detection:
        # Two changes never bear one time, and none an earlier one, even where the clock has been set back.
        self._said = max(to_ms(self._clock.now()), self._said + 1)
        logger.warning("own_alarm", subject=subject, rule=rule.value, active=active, alarm_level=level, value=shown)
        return Detection(subject, rule.value, DetectionKind.INGEST, active, level, self._said, value=float(shown))


class Senders:
    """Follows which devices send what is refused for one reason: who begins to, and who has ceased."""

    def __init__(self) -> None:
        self._first: dict[Subject, float] = {}
        self._last: dict[Subject, float] = {}
        self._count: dict[Subject, int] = {}
        self._standing: set[Subject] = set()

    def adopt(self, subject: Subject, now_s: float) -> None:
        """Take a subject for one that stands already."""
        self._standing.add(subject)
        self._last[subject] = now_s

    def absolve(self) -> None:
        """Forget those that do not stand yet: it was not they."""
        for subject in self._last.keys() - self._standing:
            self._forget(subject)

    def follow(self, counts: Mapping[str, int], now_s: float) -> Iterator[tuple[Subject, int, bool]]:
        """Take in the readings refused by device since the beat before; yield subject, readings, and what it is now."""
        for device, count in counts.items():
            subject = device_subject(device)
            if subject in self._last or len(self._last) < DEVICE_ALARMS:
                self._first.setdefault(subject, now_s)
                self._last[subject] = now_s
                self._count[subject] = self._count.get(subject, 0) + count
        for subject, first_s in list(self._first.items()):
            if subject not in self._standing and now_s - first_s >= DEVICE_AFTER_S:
                self._standing.add(subject)
                yield subject, self._count[subject], True
        for subject, last_s in list(self._last.items()):
            if now_s - last_s >= DEVICE_SETTLE_S:
                if subject in self._standing:
                    yield subject, self._count.get(subject, 0), False
                self._standing.discard(subject)
                self._forget(subject)

    def _forget(self, subject: Subject) -> None:
        for known in (self._first, self._last, self._count):
            known.pop(subject, None)


class _Lasting:
    """How long something has been wrong."""

    def __init__(self) -> None:
        self._since: float | None = None

    def seconds(self, now_s: float, *, wrong: bool) -> float:
        if not wrong:
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now_s
        return max(_OVER, now_s - self._since)


class _Refusals:
    """The share of readings that were refused lately."""

    def __init__(self) -> None:
        self._past: deque[tuple[float, int, int]] = deque()

    def share(self, now_s: float, status: Status) -> float:
        refused, came = status.quarantined + status.dropped, status.received + status.dropped
        if not self._past or now_s - self._past[-1][0] >= REFUSED_WITHIN_S / 60:
            self._past.append((now_s, came, refused))
        while now_s - self._past[0][0] > REFUSED_WITHIN_S and len(self._past) > 1:
            self._past.popleft()
        _, came_before, refused_before = self._past[0]
        more = refused - refused_before
        return more / max(1, came - came_before) if more >= REFUSED_LEAST else 0.0


class _Clocks:
    """What devices and the machine's own steps say about the city's clock."""

    def __init__(self) -> None:
        self.behind = False
        self._ahead: deque[tuple[float, int, Mapping[str, int]]] = deque()
        self._late: deque[tuple[float, float]] = deque()
        self._stepped: float | None = None

    def off_s(self, now_s: float, status: Status) -> float:
        """Return by how much the machine's clock or the city's seems to be off, in seconds; 0 for not at all."""
        self._note(now_s, status)
        said = [status.clock_off_s]
        late = [late_s for _, late_s in self._late]
        lasted_s = self._late[-1][0] - self._late[0][0] if late else 0.0
        middle = sorted(late)[len(late) // 2] if late else 0.0
        if lasted_s >= 0.9 * LATE_WITHIN_S and abs(middle) >= LATE_LEAST_S and max(late) - min(late) <= LATE_SPREAD_S:
            said.append(middle)
        if self.behind:
            said.append(LATE_WITHIN_S)
        return max(said, key=abs)

    def _note(self, now_s: float, status: Status) -> None:
        self._ahead.append((now_s, status.received, status.ahead))
        while now_s - self._ahead[0][0] > CITY_WITHIN_S:
            self._ahead.popleft()
        devices = {device for _, _, ahead in self._ahead for device in ahead}
        came = sum(after[1] - before[1] for before, after in pairwise(self._ahead))
        refused = sum(sum(ahead.values()) for _, _, ahead in list(self._ahead)[1:])
        self.behind = len(devices) >= CITY_DEVICES and refused > came / 2
        if status.late_s is not None:
            self._late.append((now_s, status.late_s))
        while self._late and now_s - self._late[0][0] > LATE_WITHIN_S:
            self._late.popleft()

    def step_is_right(self, now_s: float, status: Status) -> bool:
        """Say whether the city should follow the machine's clock in a step that it has not followed."""
        if abs(status.clock_off_s) <= FOLLOWED_S:
            self._stepped = None
            return False
        if self._stepped is None:
            self._stepped = now_s
        late = [late_s for at_s, late_s in self._late if at_s > self._stepped]
        if self.behind and status.clock_off_s > 0:
            return True
        if late:  # by the machine's clock, readings are as much later as it is ahead of the city's
            middle = sorted(late)[len(late) // 2]
            return abs(middle + status.clock_off_s) < abs(middle)
        return now_s - self._stepped >= ADOPT_AFTER_S


__all__ = ["SCALES", "Monitor"]
