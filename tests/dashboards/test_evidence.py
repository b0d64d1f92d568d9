"""The card says why an alarm was raised: where to look first, and which signs speak for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dashboards.city_view import CityView
from dashboards.pages.evidence import shown
from dashboards.words import words
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock, to_ms
from sensors.detection import Candidate, Detection, DetectionKind, Evidence, Subject
from sensors.operations import connect
from twin.asset import AssetId

FINDING = Detection(
    Subject("asset:water.inp:link:P-7"),
    "leak",
    DetectionKind.FINDING,
    active=True,
    level=3,
    time=to_ms(SystemClock().now()),
    evidence=Evidence(
        "model",
        0.8,
        (Candidate(AssetId("water.inp:link:P-7"), 0.6, 12.4), Candidate(AssetId("water.inp:link:P-8"), 0.3)),
        members=(
            (Subject("asset:water.inp:link:P-7"), "leak"),
            (Subject("point:WP-1/pressure"), "pressure_low"),
            (Subject("point:WP-1/pressure"), "rate_of_change"),
        ),
    ),
)


@pytest.fixture
def sources(tmp_path: Path) -> Any:
    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    log = AlarmLog(engine, SystemClock())
    log.apply([FINDING])
    yield SimpleNamespace(alarms=log, city=CityView(tmp_path / "none.gpkg"))
    engine.dispose()


def texts(component: Any) -> str:
    if isinstance(component, (str, int, float)):
        return str(component)
    children = component if isinstance(component, list) else getattr(component, "children", None)
    parts = children if isinstance(children, list) else [] if children is None else [children]
    return " ".join(texts(part) for part in parts)


def test_candidates_and_signs_are_listed_even_where_the_city_is_gone(sources: Any) -> None:
    said = texts(shown(sources, {"alarm": "1", "text": "sentence"}, "en", words("en")))
    assert said.startswith("sentence")
    assert said.index("P-7") < said.index("60 %") < said.index("P-8") < said.index("30 %")
    assert "12 m apart" in said
    assert "water leak" in said
    assert "below a limit, sudden change" in said
    assert said.count("WP-1/pressure") == 1


def test_a_device_that_is_chosen_has_no_evidence(sources: Any) -> None:
    assert shown(sources, {"device": "WP-1"}, "zh", words("zh")) == []


def test_an_alarm_that_is_gone_leaves_its_sentence(sources: Any) -> None:
    assert texts(shown(sources, {"alarm": "77", "text": "sentence"}, "zh", words("zh"))) == "sentence"
