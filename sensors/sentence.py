"""One sentence a person reads: what was seen and where, what was expected and why, how sure that is, where to look."""

from __future__ import annotations

import math

from sensors.alarm import Alarm
from sensors.detection import NO_EVIDENCE, DetectionKind, Evidence, Fact
from sensors.ingest_alarm import said_en, said_zh
from sensors.quantity import CATALOGUE, from_si, usual_unit
from sensors.wording import (
    BASES,
    FACTS,
    FLOOD,
    HYPOTHESES,
    LEVELS,
    OBSERVATIONS,
    STATES,
    TESTS,
    Language,
    word,
)
from twin.asset import AssetId

_TOLD = 3
"""So many candidates and facts are told; the others are in the evidence."""

_LIKELY = 0.85
"""From this confidence on a cause is called likely, below it possible."""

_BARE = frozenset({DetectionKind.LIMIT, DetectionKind.SILENCE, DetectionKind.INGEST})
"""Kinds whose sentence says all there is: a limit is exceeded or is not."""


def sentence(alarm: Alarm, language: Language = "zh") -> str:
    """Return what `alarm` says, in `language`, with values in the unit that people of its system read.

    A limit is named with its value, what was found by statistics or a model with the band that was expected, what that
    rests on, how sure it is, and the likeliest places.
    """
    said = _zh(alarm) if language == "zh" else _en(alarm)
    if alarm.kind in _BARE or alarm.evidence == NO_EVIDENCE:
        return said
    stop, comma = ("。", "；") if language == "zh" else (".", "; ")
    return comma.join([said.removesuffix(stop), *_why(alarm, language)]) + stop


def _zh(alarm: Alarm) -> str:  # noqa: PLR0911  # a sentence a kind
    where = _where(alarm, "zh")
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
            measured = f"：{what}{value}{_instead_zh(alarm)}" if value else ""
            return f"{where}{_found(alarm, 'zh')}{measured}。"


def _en(alarm: Alarm) -> str:  # noqa: PLR0911  # a sentence a kind
    where = _where(alarm, "en")
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
            measured = f", {what}{value}{_instead_en(alarm)}" if value else ""
            return f"{where}: {_found(alarm, 'en')}{measured}."


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
    return "" if value is None else _number(value, alarm.quantity, alarm.place.system)


def _number(value: float, quantity: str, system: str) -> str:
    if quantity not in CATALOGUE:
        return f" {value:.4g}"
    unit = usual_unit(quantity, system)
    number = f"{from_si(value, unit, quantity):.4g}"
    return f" {number}" if unit in {"1", "pH"} else f" {number} {unit.replace('Cel', '°C')}"


def _where(alarm: Alarm, language: Language) -> str:
    """Return the device and what it stands on; of an asset or zone the asset, and the device that saw it best."""
    scheme, _, rest = alarm.subject.partition(":")
    device, asset = alarm.device or rest, _name(alarm.asset)
    opening, closing = ("（", "）") if language == "zh" else (" (", ")")
    if scheme not in {"asset", "zone"}:
        return f"{device}{opening}{asset}{closing}" if asset else device
    seen = "" if alarm.device is None else f"{alarm.device} 所见" if language == "zh" else f"seen by {alarm.device}"
    return f"{asset}{opening}{seen}{closing}" if seen else asset


def _found(alarm: Alarm, language: Language) -> str:
    """Return what was found: the cause that the strongest member supposes, or else what was seen."""
    rules = [alarm.rule, alarm.kind.value, *(rule for _, rule in alarm.evidence.members)]
    cause = next((name for name in HYPOTHESES if name in rules), None)
    if cause is not None:
        likely = alarm.evidence.confidence >= _LIKELY
        before = ("很可能是" if likely else "疑似") if language == "zh" else ("likely " if likely else "possible ")
        return before + word(HYPOTHESES, cause, language)
    seen = next((name for name in rules if name in OBSERVATIONS), alarm.rule)
    tests = list(dict.fromkeys(word(TESTS, rule, language) for rule in rules if rule in TESTS))
    comma, colon = ("、", "：") if language == "zh" else (", ", ": ")
    return word(OBSERVATIONS, seen, language) + (colon + comma.join(tests) if tests else "")


def _why(alarm: Alarm, language: Language) -> list[str]:
    """Return what the evidence says, a clause each: baseline, facts, witnesses, confidence, places."""
    zh, evidence = language == "zh", alarm.evidence
    clauses: list[str] = []
    if evidence.basis:
        clauses.append(_basis(evidence, language))
    facts = [fact for fact in evidence.facts if fact.name != "usual" or alarm.expected is None]
    clauses += [_fact(alarm, fact, language) for fact in facts[:_TOLD]]
    devices = len({point.partition(":")[2].partition("/")[0] for point in evidence.points})
    if devices > 1:
        clauses.append(f"{devices} 台设备可见" if zh else f"seen by {devices} devices")
    clauses.append(f"{'可信度' if zh else 'confidence'} {100 * evidence.confidence:.0f} %")
    if evidence.candidates:
        places = ("、" if zh else ", ").join(
            f"{_name(each.asset)}{_odds(each.weight, each.distance_m, language)}"
            for each in evidence.candidates[:_TOLD]
        )
        clauses.append(f"可能位置：{places}" if zh else f"likeliest at {places}")
    return clauses


def _basis(evidence: Evidence, language: Language) -> str:
    """Return what the expectation of the strongest sign rests on, and how many others say the same."""
    basis, others = word(BASES, evidence.basis, language), len(evidence.members) - 1
    if language == "zh":
        return f"依据{basis}" + (f"，另有 {others} 项迹象" if others > 0 else "")
    plural = "s" if others > 1 else ""
    return f"judged by {basis}" + (f" and {others} other sign{plural}" if others > 0 else "")


def _fact(alarm: Alarm, fact: Fact, language: Language) -> str:
    name, number = word(FACTS, fact.name, language), _number(fact.value, fact.quantity, alarm.place.system)
    return name.replace("{}", number.strip()) if "{}" in name else f"{name}{number}"


def _odds(weight: float, distance_m: float | None, language: Language) -> str:
    far = (
        "" if distance_m is None else f"，相距 {distance_m:.0f} m" if language == "zh" else f", {distance_m:.0f} m away"
    )
    return f"（{100 * weight:.0f} %{far}）" if language == "zh" else f" ({100 * weight:.0f} %{far})"


def _name(asset: AssetId | None) -> str:
    return str(asset or "").rpartition(":")[2]


__all__ = ["FLOOD", "LEVELS", "STATES", "Language", "sentence"]
