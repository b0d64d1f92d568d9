"""What people are told: one message about the alarms of a group, in both languages, the same for every channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import msgspec

from sensors.alarm import Alarm
from sensors.sentence import sentence
from sensors.wording import LEVELS, Language

MOST_ITEMS = 20
"""So many alarms stand in a message; the rest is counted. Those of level 1 stand in it whatever their number."""

SYSTEMS: dict[str, tuple[str, str]] = {
    "gas": ("燃气", "gas"),
    "water": ("供水", "water supply"),
    "drainage": ("排水", "drainage"),
    "heat": ("供热", "heating"),
    "rain": ("雨量", "rain"),
    "structure": ("结构", "structures"),
}


class Purpose(StrEnum):
    """Why a message is sent: first news of a group, more of it, nobody has acknowledged yet, it is over, a case."""

    ALERT = "alert"
    UPDATE = "update"
    REPEAT = "repeat"
    CLEAR = "clear"
    CASE = "case"


@dataclass(frozen=True, slots=True)
class Reference:
    """A message sent before about the same group: its id, and when (aware UTC)."""

    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """An alarm as it was when the message was made. Values SI, times aware UTC, place metres in the city's CRS."""

    alarm: int
    version: int
    level: int
    state: str
    condition: str
    subject: str
    rule: str
    kind: str
    system: str
    district: str
    quantity: str
    value: float | None
    limit: float | None
    confidence: float
    onset: datetime
    detected: datetime
    cleared: datetime | None
    device: str | None
    asset: str | None
    easting: float | None
    northing: float | None
    zh: str
    en: str

    def sentence(self, language: Language) -> str:
        """Return what the alarm says."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `id` is unique for ever and free of blanks and commas; whoever gets it twice keeps one.

    `level` is the worst of what it is about, `alarms` how many alarms that is (of which `items` are told, the worst
    first), `references` the messages before about the same group, oldest first. `exercise`: of a recorded or simulated
    city, and nobody shall go anywhere.
    """

    id: str
    purpose: Purpose
    at: datetime
    route: str
    group: str
    level: int
    system: str
    district: str
    zh: str
    en: str
    alarms: int = 0
    items: tuple[Item, ...] = ()
    references: tuple[Reference, ...] = ()
    incident: int | None = None
    case: int | None = None
    exercise: bool = False

    def headline(self, language: Language) -> str:
        """Return the message in one line."""
        return self.zh if language == "zh" else self.en

    def text(self, language: Language) -> str:
        """Return the message in lines: the headline, a line an alarm, and how many are not told."""
        lines = [self.headline(language), *(_line(item, language) for item in self.items)]
        rest = self.alarms - len(self.items)
        if rest > 0:
            lines.append(f"另有 {rest} 条报警未列出。" if language == "zh" else f"{rest} more alarms are not listed.")
        return "\n".join(lines) + "\n"


def item(alarm: Alarm, district: str = "") -> Item:
    """Return an alarm of `district` ("" where nobody knows) as a message tells it."""
    return Item(
        alarm.id,
        alarm.version,
        alarm.level,
        alarm.state.value,
        alarm.condition.value,
        alarm.subject,
        alarm.rule,
        alarm.kind.value,
        alarm.place.system,
        district,
        alarm.quantity,
        alarm.value,
        alarm.limit,
        alarm.evidence.confidence,
        alarm.onset,
        alarm.detected,
        alarm.cleared,
        alarm.device,
        alarm.asset,
        alarm.easting,
        alarm.northing,
        sentence(alarm, "zh"),
        sentence(alarm, "en"),
    )


def listed(levels: Iterable[tuple[int, int]]) -> list[int]:
    """Return which alarms a message lists, of (level, alarm), the worst first: every one of level 1, and `MOST_ITEMS`.

    >>> listed([(3, 7), (1, 9), (2, 8)])
    [9, 8, 7]
    """
    order = sorted(levels)
    reds = sum(level == 1 for level, _ in order)
    return [alarm for _, alarm in order[: max(reds, MOST_ITEMS)]]


def headlines(
    purpose: Purpose,
    level: int,
    system: str,
    district: str,
    *,
    count: int,
    items: Sequence[Item] = (),
    repeats: int = 0,
) -> tuple[str, str]:
    """Return the headline in Chinese and in English; `items` begin with the worst.

    >>> headlines(Purpose.CLEAR, 2, "gas", "hewan", count=3)
    ('【解除】二级橙 hewan 燃气 3 条报警', '[all clear] orange, hewan, gas: 3 alarms')
    """
    zh, en = SYSTEMS.get(system, (system, system))
    marks = {
        Purpose.ALERT: ("", ""),
        Purpose.UPDATE: ("【更新】", "[update] "),
        Purpose.REPEAT: (f"【第{repeats}次催办：仍未确认】", f"[reminder {repeats}: not acknowledged] "),
        Purpose.CLEAR: ("【解除】", "[all clear] "),
        Purpose.CASE: ("", ""),
    }
    mark_zh, mark_en = marks[purpose]
    said_zh, said_en = (f"：{items[0].zh}", f": {items[0].en}") if items and purpose is not Purpose.CLEAR else ("", "")
    alarms = "alarm" if count == 1 else "alarms"
    parts_en = ", ".join(part for part in (LEVELS["en"][level - 1], district, en) if part)
    parts_zh = " ".join(part for part in (LEVELS["zh"][level - 1], district, zh) if part)
    return f"{mark_zh}{parts_zh} {count} 条报警{said_zh}", f"{mark_en}{parts_en}: {count} {alarms}{said_en}"


def encode(message: Message) -> bytes:
    """Return the message as JSON (docs/notifications.md): times RFC 3339 with ``Z``, values SI."""
    return msgspec.json.encode(message)


def decode(body: str | bytes) -> Message:
    """Return the message of `encode`."""
    return msgspec.json.decode(body, type=Message)


def _line(item: Item, language: Language) -> str:
    return f"- [{LEVELS[language][item.level - 1]}] #{item.alarm} {item.sentence(language)}"


__all__ = [
    "MOST_ITEMS",
    "Item",
    "Message",
    "Purpose",
    "Reference",
    "decode",
    "encode",
    "headlines",
    "item",
    "listed",
]
