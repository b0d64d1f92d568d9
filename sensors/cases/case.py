"""A case: who must do what by when, from the first report to the rating of what was done.

::

    采集 reported → 立案 opened → 派遣 dispatched → 处理 in hand → 反馈 done → 核查 verified → 结案 closed → 评价 rated

The steps are those of China's digital city management (GB/T 30428, 数字化城市管理信息系统; secondary sources). A step
is named by what has been reached: a case that is `opened` waits to be dispatched. Two more ends: dismissed 不予立案 and
merged 并案. What moves a case is `sensors.cases.workflow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from sensors.alarm import CITY, Place
from sensors.people import PersonId, Role

CaseId = NewType("CaseId", int)

OTHER = "other"
"""The kind of an event that no response plan is for."""

UNFIT = "E_STATE"
"""Code of what cannot be done to a case as it is."""


class Step(StrEnum):
    """How far a case has come."""

    REPORTED = "reported"
    OPENED = "opened"
    DISPATCHED = "dispatched"
    IN_HAND = "in_hand"
    DONE = "done"
    VERIFIED = "verified"
    CLOSED = "closed"
    RATED = "rated"
    DISMISSED = "dismissed"
    MERGED = "merged"


ORDER = (
    Step.REPORTED,
    Step.OPENED,
    Step.DISPATCHED,
    Step.IN_HAND,
    Step.DONE,
    Step.VERIFIED,
    Step.CLOSED,
    Step.RATED,
)
"""The steps in the order in which a case goes through them."""

OVER = frozenset({Step.CLOSED, Step.RATED, Step.DISMISSED, Step.MERGED})
"""Steps in which nothing is left to do about the event itself."""


class Event(StrEnum):
    """What happened to a case."""

    REPORTED = "reported"
    OPENED = "opened"
    DISMISSED = "dismissed"
    DISPATCHED = "dispatched"
    TAKEN = "taken"
    DONE = "done"
    VERIFIED = "verified"
    CLOSED = "closed"
    RATED = "rated"
    TICKED = "ticked"
    ASKED = "asked"
    REFUSED = "refused"
    SENT_BACK = "sent_back"
    EXTENDED = "extended"
    SUSPENDED = "suspended"
    WAIVED = "waived"
    RESUMED = "resumed"
    ESCALATED = "escalated"
    REGRADED = "regraded"
    COMMENTED = "commented"
    ATTACHED = "attached"
    LINKED = "linked"
    HELD = "held"
    """Alarms were put into it."""
    MERGED = "merged"
    """It went into another case, or another into it."""


class Source(StrEnum):
    """Where a case came from."""

    ALARM = "alarm"
    HOTLINE = "hotline"
    PATROL = "patrol"
    OTHER = "other"


class Relief(StrEnum):
    """What one person asks for and another grants."""

    SEND_BACK = "send_back"
    EXTEND = "extend"
    SUSPEND = "suspend"
    WAIVE = "waive"
    """To close although the condition stands."""


@dataclass(frozen=True, slots=True)
class Request:
    """What `by` asked for and nobody has answered yet: back `to` a step, or `until` a time."""

    relief: Relief
    reason: str
    by: PersonId
    at: datetime
    to: Step | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiver:
    """Leave to close although the condition stands: who asked for it and why, and who signed.

    It speaks for as many alarms as stood then, and is void once others are put into the case.
    """

    reason: str
    by: PersonId
    approver: PersonId
    at: datetime
    standing: int


@dataclass(frozen=True, slots=True)
class Item:
    """A step of the response plan as this case carries it; ticked once, by `by` at `at`, or marked as not needed."""

    id: str
    role: Role
    zh: str
    en: str
    at: datetime | None = None
    by: PersonId | None = None
    name: str = ""
    applies: bool = True
    note: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """The time of a step: begun at `entered`, `due` when (None: no deadline). Kept by `sensors.cases.deadlines`.

    `wakes` is when time itself acts next: tells of a deadline that passed, or ends a suspension. `escalated` is who was
    told last. While it is `suspended` (until then), `left` is what the step will still have, less than 0 if overdue.
    """

    entered: datetime
    due: datetime | None = None
    wakes: datetime | None = None
    escalated: Role | None = None
    extensions: int = 0
    suspended: datetime | None = None
    left: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A case as it is now; level 1 (red, worst) to 4 (blue), times aware UTC by the city's clock.

    `handlers` is everybody who took it in hand or reported it done, and stays when it is sent back. `version` grows
    with every change that a person has to have seen before acting; comments, photos, links and who was told of a
    deadline are none.
    """

    id: CaseId
    title: str
    kind: str
    level: int
    source: Source
    district: str
    place: Place
    step: Step
    reported: datetime
    reported_by: PersonId
    term: Term
    incident: int | None = None
    department: str | None = None
    handlers: tuple[PersonId, ...] = ()
    verifier: PersonId | None = None
    asked: Request | None = None
    waiver: Waiver | None = None
    checklist: tuple[Item, ...] = ()
    rating: int | None = None
    merged_into: CaseId | None = None
    version: int = 1

    @property
    def open(self) -> bool:
        """Whether anything is left to do about the event."""
        return self.step not in OVER

    @property
    def suspended(self) -> bool:
        """Whether it rests."""
        return self.term.suspended is not None

    @property
    def undone(self) -> tuple[Item, ...]:
        """The steps of the plan that nobody has ticked."""
        return tuple(item for item in self.checklist if item.at is None)

    def late(self, now: datetime) -> bool:
        """Whether the deadline of its step has passed."""
        return not self.suspended and self.term.due is not None and self.term.due <= now


@dataclass(frozen=True, slots=True)
class CaseEvent:
    """Something that happened to a case, kept for ever; `version` is the case's after it.

    `by` is a person's login, or `CITY` where time itself acted (`role` None). `text` is what was said; `detail` what
    belongs to the event: a plan's step, a file's digest, the other case. `number` orders the events of all cases.
    """

    case: CaseId
    version: int
    at: datetime
    event: Event
    from_step: Step | None
    to_step: Step
    by: str = CITY
    name: str = ""
    role: Role | None = None
    text: str = ""
    detail: Mapping[str, str] = field(default_factory=dict[str, str])
    number: int = 0


STEP_WORDS: Mapping[Step, tuple[str, str]] = {
    Step.REPORTED: ("采集", "reported"),
    Step.OPENED: ("立案", "opened"),
    Step.DISPATCHED: ("派遣", "dispatched"),
    Step.IN_HAND: ("处理", "in hand"),
    Step.DONE: ("反馈", "reported done"),
    Step.VERIFIED: ("核查", "verified"),
    Step.CLOSED: ("结案", "closed"),
    Step.RATED: ("评价", "rated"),
    Step.DISMISSED: ("不予立案", "dismissed"),
    Step.MERGED: ("并案", "merged"),
}
"""The words of the steps, zh and en."""

EVENT_WORDS: Mapping[Event, tuple[str, str]] = {
    Event.REPORTED: ("采集", "reported"),
    Event.OPENED: ("立案", "opened"),
    Event.DISMISSED: ("不予立案", "dismissed"),
    Event.DISPATCHED: ("派遣", "dispatched"),
    Event.TAKEN: ("接单处理", "taken in hand"),
    Event.DONE: ("反馈", "reported done"),
    Event.VERIFIED: ("核查通过", "verified"),
    Event.CLOSED: ("结案", "closed"),
    Event.RATED: ("评价", "rated"),
    Event.TICKED: ("预案步骤", "plan step"),
    Event.ASKED: ("申请", "asked"),
    Event.REFUSED: ("驳回申请", "refused"),
    Event.SENT_BACK: ("退回", "sent back"),
    Event.EXTENDED: ("延期", "extended"),
    Event.SUSPENDED: ("挂起", "suspended"),
    Event.WAIVED: ("同意豁免结案", "waived"),
    Event.RESUMED: ("恢复办理", "resumed"),
    Event.ESCALATED: ("超时升级", "escalated"),
    Event.REGRADED: ("调整级别", "level changed"),
    Event.COMMENTED: ("备注", "comment"),
    Event.ATTACHED: ("附件", "attachment"),
    Event.LINKED: ("关联", "linked"),
    Event.HELD: ("并入报警", "alarms added"),
    Event.MERGED: ("并案", "merged"),
}
"""The words of the events, zh and en."""

RELIEF_WORDS: Mapping[Relief, tuple[str, str]] = {
    Relief.SEND_BACK: ("退回", "send back"),
    Relief.EXTEND: ("延期", "extension"),
    Relief.SUSPEND: ("挂起", "suspension"),
    Relief.WAIVE: ("异常未消除结案", "waiver"),
}
"""The words of what is asked for, zh and en."""

__all__ = [
    "EVENT_WORDS",
    "ORDER",
    "OTHER",
    "OVER",
    "RELIEF_WORDS",
    "STEP_WORDS",
    "UNFIT",
    "Case",
    "CaseEvent",
    "CaseId",
    "Event",
    "Item",
    "Relief",
    "Request",
    "Source",
    "Step",
    "Term",
    "Waiver",
]
