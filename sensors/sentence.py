"""One sentence a person reads: what was seen, what was expected, and where."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from sensors.alarm import Alarm
from sensors.detection import DetectionKind
from sensors.ingest_alarm import said_en, said_zh
from sensors.quantity import CATALOGUE, from_si, usual_unit

Language: TypeAlias = Literal["zh", "en"]

LEVELS: dict[Language, tuple[str, str, str, str]] = {
    "zh": ("一级红", "二级橙", "三级黄", "四级蓝"),
    "en": ("red", "orange", "yellow", "blue"),
}
"""The words of levels 1 to 4."""

FLOOD: dict[Language, str] = {"zh": "报警泛滥", "en": "flood"}
"""The word for more alarms at once than a person can take in."""

STATES: dict[Language, dict[str, str]] = {
    "zh": {
        "normal": "正常",
        "unacknowledged": "未确认",
        "acknowledged": "已确认",
        "returned_unacknowledged": "已恢复未确认",
        "latched_unacknowledged": "锁存未确认",
        "latched_acknowledged": "锁存已确认",
    },
    "en": {
        "normal": "normal",
        "unacknowledged": "unacknowledged",
        "acknowledged": "acknowledged",
        "returned_unacknowledged": "returned, unacknowledged",
        "latched_unacknowledged": "latched, unacknowledged",
        "latched_acknowledged": "latched, acknowledged",
    },
}
"""The words of the ISA-18.2 states."""


def sentence(alarm: Alarm, language: Language = "zh") -> str:
    """Return what `alarm` says, in `language`, with values in the unit that people of its system read.

    A limit is named with its value, a statistical finding with the band that was expected.
    """
    return _zh(alarm) if language == "zh" else _en(alarm)


def _zh(alarm: Alarm) -> str:  # noqa: PLR0911  # a sentence a kind
    where = f"{_subject(alarm)}（{_asset(alarm)}）" if alarm.asset else _subject(alarm)
    what = CATALOGUE[alarm.quantity].zh if alarm.quantity in CATALOGUE else ""
    value, limit = _shown(alarm, alarm.value), _shown(alarm, alarm.limit)
    said = f"{where}{what}{value}"
    match alarm.kind:
        case DetectionKind.LIMIT:
            side = "低于" if _below(alarm) else "超过"
            return f"{said}，{side}{LEVELS['zh'][alarm.level - 1]}限值{limit}。"
        case DetectionKind.SILENCE:
            return f"{where}失去联系，已有 {alarm.score:.0f} 个上报周期没有数据。"
        case DetectionKind.FLAT_LINE:
            return f"{said}，数值长时间不变，传感器可能卡死。"
        case DetectionKind.RATE_OF_CHANGE:
            verb = "突降" if _below(alarm) else "突升"
            return f"{where}{what}{verb}至{value}{_instead_zh(alarm)}。"
        case DetectionKind.SEASONAL:
            verb = "偏低" if _below(alarm) else "偏高"
            return f"{said}，较往常同一时段{verb}{_instead_zh(alarm)}。"
        case DetectionKind.INGEST:
            return said_zh(where, alarm.rule, alarm.value)
        case _:
            pass
    return f"{said}（{alarm.rule}）。"


def _en(alarm: Alarm) -> str:  # noqa: PLR0911  # a sentence a kind
    where = f"{_subject(alarm)} ({_asset(alarm)})" if alarm.asset else _subject(alarm)
    what = CATALOGUE[alarm.quantity].en if alarm.quantity in CATALOGUE else "value"
    value, limit = _shown(alarm, alarm.value), _shown(alarm, alarm.limit)
    said = f"{where}: {what}{value}"
    match alarm.kind:
        case DetectionKind.LIMIT:
            side = "below" if _below(alarm) else "above"
            return f"{said}, {side} the {LEVELS['en'][alarm.level - 1]} limit of{limit}."
        case DetectionKind.SILENCE:
            return f"{where}: no contact, nothing for {alarm.score:.0f} reporting intervals."
        case DetectionKind.FLAT_LINE:
            return f"{said}, unchanged for too long; the sensor may be stuck."
        case DetectionKind.RATE_OF_CHANGE:
            verb = "fell" if _below(alarm) else "rose"
            return f"{where}: {what} {verb} suddenly to{value}{_instead_en(alarm)}."
        case DetectionKind.SEASONAL:
            side = "low" if _below(alarm) else "high"
            return f"{said}, {side} for this time of day{_instead_en(alarm)}."
        case DetectionKind.INGEST:
            return said_en(where, alarm.rule, alarm.value)
        case _:
            pass
    return f"{said} ({alarm.rule})."


def _instead_zh(alarm: Alarm) -> str:
    return f"（预期 {_band(alarm)}）" if alarm.expected else ""


def _instead_en(alarm: Alarm) -> str:
    return f" (expected {_band(alarm)})" if alarm.expected else ""


def _band(alarm: Alarm) -> str:
    if alarm.expected is None:
        return ""
    least = CATALOGUE[alarm.quantity].least if alarm.quantity in CATALOGUE else -math.inf
    low, high = (_shown(alarm, max(end, least)).strip() for end in alarm.expected)
    return f"{low.rpartition(' ')[0] or low} – {high}"


def _below(alarm: Alarm) -> bool:
    """Whether the value lies below what it should: the limit of a low rule, or the middle of the expected band."""
    if alarm.value is None:
        return False
    if alarm.expected is not None:
        return alarm.value < sum(alarm.expected) / 2
    return alarm.limit is not None and alarm.value <= alarm.limit and not alarm.rule.endswith("high")


def _shown(alarm: Alarm, value: float | None) -> str:
    """Return a value with its usual unit, to four figures, with a space before it."""
    if value is None:
        return ""
    if alarm.quantity not in CATALOGUE:
        return f" {value:.4g}"
    unit = usual_unit(alarm.quantity, alarm.place.system)
    number = f"{from_si(value, unit, alarm.quantity):.4g}"
    return f" {number}" if unit in {"1", "pH"} else f" {number} {unit.replace('Cel', '°C')}"


def _subject(alarm: Alarm) -> str:
    return alarm.device or alarm.subject.partition(":")[2]


def _asset(alarm: Alarm) -> str:
    return str(alarm.asset).rpartition(":")[2]
