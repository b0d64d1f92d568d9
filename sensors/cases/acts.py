"""What a person may do to a case: one type an act, read by msgspec straight from what page or HTTP sends (field `act`).

Empty texts and wrong numbers are refused by the workflow, which says what was expected.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec

from sensors.cases.case import Relief, Source, Step
from twin.asset import System


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """采集: what begins a case. `kind` names a response plan, or is ``other``; `place` in the city's CRS, metres."""

    title: str
    level: int
    district: str
    kind: str = "other"
    source: Source = Source.OTHER
    system: System | None = None
    asset: str | None = None
    easting: float | None = None
    northing: float | None = None
    incident: int | None = None
    alarms: tuple[int, ...] = ()


class _Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="act", tag=str.lower):
    pass


class Open(_Act, frozen=True):
    """立案: it is one. `kind` (a response plan) and `level` are settled here, where the report was wrong."""

    kind: str = ""
    level: int | None = None
    text: str = ""


class Dismiss(_Act, frozen=True):
    """不予立案: it is none."""

    text: str


class Dispatch(_Act, frozen=True):
    """派遣: this department of the city's settings has to go."""

    department: str
    text: str = ""


class Take(_Act, frozen=True):
    """处理: somebody of the department has it in hand."""

    text: str = ""


class Done(_Act, frozen=True):
    """反馈: what was done."""

    text: str


class Verify(_Act, frozen=True):
    """核查: it is as was reported."""

    text: str = ""


class Close(_Act, frozen=True):
    """结案."""

    text: str = ""


class Rate(_Act, frozen=True):
    """评价: how well it was done, 1 (badly) to 5."""

    score: int
    text: str = ""


class Tick(_Act, frozen=True):
    """A step of the plan is done, or is not needed here (`applies` false), which wants a reason."""

    item: str
    applies: bool = True
    text: str = ""


class Ask(_Act, frozen=True):
    """Ask for 退回 (back `to` an earlier step), 延期 or 挂起 (`until`), or leave to close although it is not over."""

    relief: Relief
    text: str
    to: Step | None = None
    until: datetime | None = None


class Answer(_Act, frozen=True):
    """Grant or refuse what another person asked for; a refusal wants a reason."""

    granted: bool
    text: str = ""


class Resume(_Act, frozen=True):
    """Go on before the suspension ends."""

    text: str


class Regrade(_Act, frozen=True):
    """Another level, 1 (red, worst) to 4 (blue); the deadline moves with it."""

    level: int
    text: str


Act: TypeAlias = (
    Open | Dismiss | Dispatch | Take | Done | Verify | Close | Rate | Tick | Ask | Answer | Resume | Regrade
)
"""Anything that a person may do to a case; ``msgspec.json.decode(body, type=Act)`` reads one.

>>> msgspec.json.decode(b'{"act": "dispatch", "department": "gas_company"}', type=Act)
Dispatch(department='gas_company', text='')
"""

__all__ = [
    "Act",
    "Answer",
    "Ask",
    "Close",
    "Dismiss",
    "Dispatch",
    "Done",
    "Open",
    "Rate",
    "Regrade",
    "Report",
    "Resume",
    "Take",
    "Tick",
    "Verify",
]
