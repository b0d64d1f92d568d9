"""The alarm as a pure state machine: four axes that never distort each other (ISA-18.2, IEC 62682, OPC UA Part 9).

Condition, acknowledgement and visibility change only through the functions here, each of which returns the new alarm
and the transition that led to it. The fourth axis, the case that holds the alarm, is kept with cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from sensors.clock import from_ms
from sensors.detection import NO_EVIDENCE, Detection, DetectionKind, Evidence, Subject
from sensors.device import DeviceId
from twin.asset import AssetId

AlarmId = NewType("AlarmId", int)

REOPEN_WITHIN = timedelta(minutes=10)
"""The same condition again within this time is the same alarm, counted once more (a setting of Chengmai's design)."""

CITY = "city"
"""Who acts in a transition that no person made."""


class Condition(StrEnum):
    """Whether what the alarm is about stands; latched: it is gone and waits to be reset by hand."""

    NORMAL = "normal"
    ACTIVE = "active"
    LATCHED = "latched"


class Visibility(StrEnum):
    """Whether operators see the alarm."""

    SHOWN = "shown"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


class State(StrEnum):
    """The alarm states of ISA-18.2 (figure 4), derived from condition and acknowledgement."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned_unacknowledged"
    LATCHED_UNACKNOWLEDGED = "latched_unacknowledged"
    LATCHED_ACKNOWLEDGED = "latched_acknowledged"


class Event(StrEnum):
    """What moved an alarm."""

    RAISED = "raised"
    ESCALATED = "escalated"
    EASED = "eased"
    CLEARED = "cleared"
    REOPENED = "reopened"
    ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True, slots=True)
class Place:
    """What a subject stands for in the city: its device, the asset that this watches, and where (city's CRS)."""

    device: DeviceId | None = None
    asset: AssetId | None = None
    easting: float | None = None
    northing: float | None = None
    system: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What an operator sees: one a (subject, rule) while it is open. Values are SI, levels 1 (red, worst) to 4 (blue).

    `onset` is when the condition began by the device's time, `detected` when the city noticed, `changed` the time of
    the newest detection that counted. `version` grows with every change that a person has to have seen before acting on
    the alarm; evidence that grows is none of these. `sequence` is the number of its newest change among all alarms'.
    """

    id: AlarmId
    subject: Subject
    rule: str
    kind: DetectionKind
    level: int
    original_level: int
    condition: Condition
    acknowledged: bool
    visibility: Visibility
    onset: datetime
    detected: datetime
    changed: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    cleared: datetime | None
    value: float | None
    limit: float | None
    expected: tuple[float, float] | None
    score: float
    quantity: str
    place: Place
    count: int
    version: int
    sequence: int = 0
    evidence: Evidence = NO_EVIDENCE

    @property
    def state(self) -> State:
        """The ISA-18.2 state, from condition and acknowledgement."""
        return _STATES[self.condition, self.acknowledged]

    @property
    def open(self) -> bool:
        """Whether the alarm still asks for something: its condition stands, or nobody has acknowledged it."""
        return self.state is not State.NORMAL

    @property
    def device(self) -> DeviceId | None:
        """The device that saw it."""
        return self.place.device

    @property
    def asset(self) -> AssetId | None:
        """The asset it is about."""
        return self.place.asset

    @property
    def easting(self) -> float | None:
        """Where it is, metres east in the city's CRS."""
        return self.place.easting

    @property
    def northing(self) -> float | None:
        """Where it is, metres north in the city's CRS."""
        return self.place.northing


_STATES = {
    (Condition.NORMAL, True): State.NORMAL,
    (Condition.NORMAL, False): State.RETURNED,
    (Condition.ACTIVE, False): State.UNACKNOWLEDGED,
    (Condition.ACTIVE, True): State.ACKNOWLEDGED,
    (Condition.LATCHED, False): State.LATCHED_UNACKNOWLEDGED,
    (Condition.LATCHED, True): State.LATCHED_ACKNOWLEDGED,
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of an alarm, kept for ever: the version it led to, when, what, from and to which state, by whom."""

    alarm: AlarmId
    version: int
    at: datetime
    event: Event
    from_state: State
    to_state: State
    level: int
    value: float | None = None
    by: str = CITY
    comment: str = ""


Step = tuple[Alarm, Transition | None]
"""A changed alarm, and the transition that led to it; None where only its evidence grew."""


def raise_(alarm_id: AlarmId, detection: Detection, place: Place, at: datetime) -> Step:
    """Return the new alarm of an active detection, noticed at the city's time `at`."""
    onset = from_ms(detection.time)
    alarm = Alarm(
        id=alarm_id,
        subject=detection.subject,
        rule=detection.rule,
        kind=detection.kind,
        level=detection.level,
        original_level=detection.level,
        condition=Condition.ACTIVE,
        acknowledged=False,
        visibility=Visibility.SHOWN,
        onset=onset,
        detected=at,
        changed=onset,
        acknowledged_at=None,
        acknowledged_by=None,
        cleared=None,
        value=detection.value,
        limit=detection.limit,
        expected=detection.expected,
        score=detection.score,
        quantity=detection.quantity,
        place=place,
        count=1,
        version=1,
        evidence=detection.evidence,
    )
    return alarm, Transition(alarm_id, 1, at, Event.RAISED, State.NORMAL, alarm.state, alarm.level, alarm.value)


def follows(alarm: Alarm, detection: Detection) -> bool:
    """Whether `detection` continues `alarm` rather than begin another: it is open, or was until shortly before."""
    if alarm.open or not detection.active:
        return True
    return alarm.cleared is not None and from_ms(detection.time) - alarm.changed <= REOPEN_WITHIN


def take(alarm: Alarm, detection: Detection, at: datetime, place: Place | None = None) -> Step | None:
    """Return what a detection makes of the alarm that it `follows`, or None where it says nothing new.

    A detection not newer than the newest that counted is one that was seen before: the same detections twice, as
    after a crash, change nothing. `place` is where it is now: evidence that grows may point elsewhere.
    """
    if place is not None and detection.active:
        alarm = replace(alarm, place=place)
    if from_ms(detection.time) <= alarm.changed:
        return None
    if not detection.active:
        return _clear(alarm, detection, at) if alarm.condition is Condition.ACTIVE else None
    if alarm.condition is not Condition.ACTIVE:
        return _reopen(alarm, detection, at)
    if detection.level != alarm.level:
        return _change_level(alarm, detection, at)
    if detection.evidence != alarm.evidence:
        return replace(_seen(alarm, detection), version=alarm.version), None
    return None


def acknowledge(alarm: Alarm, *, by: str, comment: str, at: datetime) -> Step | None:
    """Return the alarm acknowledged by the person `by`, or None where it was already."""
    if alarm.acknowledged:
        return None
    done = replace(alarm, acknowledged=True, acknowledged_at=at, acknowledged_by=by, version=alarm.version + 1)
    return done, _transition(alarm, done, at, Event.ACKNOWLEDGED, by=by, comment=comment)


def forget(alarm: Alarm, at: datetime) -> Step:
    """Return an active alarm cleared because no detector holds its condition any longer.

    `changed` steps back behind the newest detection: should that be fed again, as after a crash, it raises the alarm
    anew instead of being taken for one seen before.
    """
    done = replace(
        alarm,
        condition=Condition.NORMAL,
        cleared=at,
        changed=alarm.changed - timedelta(milliseconds=1),
        version=alarm.version + 1,
    )
    return done, _transition(alarm, done, at, Event.CLEARED, comment="no detector holds it any longer")


def _clear(alarm: Alarm, detection: Detection, at: datetime) -> Step:
    done = replace(
        alarm,
        condition=Condition.NORMAL,
        cleared=at,
        changed=from_ms(detection.time),
        version=alarm.version + 1,
    )
    return done, _transition(alarm, done, at, Event.CLEARED, value=detection.value)


def _reopen(alarm: Alarm, detection: Detection, at: datetime) -> Step:
    again = replace(
        _seen(alarm, detection),
        condition=Condition.ACTIVE,
        acknowledged=False,
        acknowledged_at=None,
        acknowledged_by=None,
        cleared=None,
        count=alarm.count + 1,
    )
    return again, _transition(alarm, again, at, Event.REOPENED, value=detection.value)


def _change_level(alarm: Alarm, detection: Detection, at: datetime) -> Step:
    """Take over the level; a worse one asks for acknowledgement anew, since what was acknowledged was less."""
    worse = detection.level < alarm.level
    changed = _seen(alarm, detection)
    if worse:
        changed = replace(changed, acknowledged=False, acknowledged_at=None, acknowledged_by=None)
    event = Event.ESCALATED if worse else Event.EASED
    return changed, _transition(alarm, changed, at, event, value=detection.value)


def _seen(alarm: Alarm, detection: Detection) -> Alarm:
    return replace(
        alarm,
        level=detection.level,
        changed=from_ms(detection.time),
        value=detection.value,
        limit=detection.limit,
        expected=detection.expected,
        score=detection.score,
        quantity=detection.quantity,
        evidence=detection.evidence,
        version=alarm.version + 1,
    )


def _transition(
    before: Alarm,
    after: Alarm,
    at: datetime,
    event: Event,
    *,
    value: float | None = None,
    by: str = CITY,
    comment: str = "",
) -> Transition:
    return Transition(
        after.id, after.version, at, event, before.state, after.state, after.level, value, by=by, comment=comment
    )


def numbered(alarm: Alarm, sequence: int) -> Alarm:
    """Return the alarm with the number of its newest change among all alarms'."""
    return replace(alarm, sequence=sequence)
