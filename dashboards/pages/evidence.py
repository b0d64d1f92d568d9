"""Why an alarm was raised, in the card: where to look first, and the signs that speak for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.pages.listing import Row, listing
from dashboards.pages.sources import Sources
from dashboards.words import Language
from sensors.alarm import AlarmId
from sensors.detection import Candidate, Subject
from sensors.wording import HYPOTHESES, OBSERVATIONS, TESTS, word
from twin.errors import ChengmaiError

_RULES: Mapping[str, tuple[str, str]] = {**OBSERVATIONS, **TESTS, **HYPOTHESES}


def shown(
    sources: Sources, selection: Mapping[str, Any], language: Language, text: Mapping[str, str]
) -> list[Component]:
    """Return what the card says of the chosen alarm: its whole sentence, candidates, members; nothing of none."""
    said: list[Component] = []
    if selection.get("text"):
        said.append(html.P(selection["text"], className="card-alarm"))
    if not selection.get("alarm"):
        return said
    try:
        evidence = sources.alarms.get(AlarmId(int(selection["alarm"]))).evidence
    except ChengmaiError:
        return said  # the sentence has it all in short, and the banner says what does not answer
    places = [_candidate(sources, rank, each, text) for rank, each in enumerate(evidence.candidates, 1)]
    said += listing(text["suspects"], places, text, role="suspect")
    if len(evidence.members) > 1:
        told: dict[Subject, list[str]] = {}
        for subject, rule in evidence.members:
            told.setdefault(subject, []).append(_seen(rule, language, text))
        comma = "、" if language == "zh" else ", "
        signs = [
            Row(
                subject,
                subject.partition(":")[2].rpartition(":")[2],
                None,
                "",
                note=comma.join(seen),
                long=len(seen) > 2,
            )
            for subject, seen in told.items()
        ]
        said += listing(text["signs"], signs, text, role="member")
    return said


def _candidate(sources: Sources, rank: int, candidate: Candidate, text: Mapping[str, str]) -> Row:
    odds = f"{100 * candidate.weight:.0f} %"
    if candidate.distance_m is not None:
        odds += f" · {text['gap'].format(m=f'{candidate.distance_m:.0f}')}"
    try:
        name = str(getattr(sources.city.asset(candidate.asset), "name", ""))
        place = sources.city.place(None, None, candidate.asset)
    except ChengmaiError:  # the city has been loaded anew since
        name, place = "", None
    short = candidate.asset.rpartition(":")[2]  # what the sentence calls it; a street's name is that of many pipes
    name = short if name in ("", short) else f"{short} {name}"
    return Row(candidate.asset, name, place, "candidate", f"{rank}", note=odds)


def _seen(rule: str, language: Language, text: Mapping[str, str]) -> str:
    side = next((text[f"rule_{side}"] for side in ("high", "low") if rule.endswith(f"_{side}")), None)
    return text.get(f"rule_{rule}") or side or word(_RULES, rule, language)


__all__ = ["shown"]
