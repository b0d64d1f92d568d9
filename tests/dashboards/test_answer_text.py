"""Answers on a terminal: the valves first, then who is without supply; nothing is cut off silently."""

from __future__ import annotations

from dataclasses import replace

from dashboards.answer_text import SHOWN, told
from twin.asset import AssetId, Basis, System
from twin.buildings import Sensitive
from twin.effects.adjacency import Candidate, GasReach
from twin.effects.cascade import Cascade, Undermined
from twin.effects.impact import Impact
from twin.effects.surroundings import Affected, Within
from twin.network.closure import NextRing, Valve
from twin.network.trace import RestsOn
from twin.trace import Answer, Question

PIPE, OTHER = AssetId("n:link:P1"), AssetId("n:link:P2")
V1, V2 = (Valve(AssetId(f"n:node:V{n}"), "node", f"V{n}", 500_000.04 + n, 3_350_000.0) for n in (1, 2))


def building(name: str, people: int | None, kind: Sensitive | None = None, along_m: float | None = None) -> Affected:
    node = AssetId(f"n:node:{name}")
    return Affected(AssetId(f"b:building:{name}"), name, people, kind, node, "link", Basis.STATED, 1.0, along_m=along_m)


HOMES, SCHOOL, SHED = building("里弄", 200), building("学校", 90, Sensitive.SCHOOL), building("shed", None)
IMPACT = Impact(
    PIPE,
    PIPE,
    System.WATER,
    valves=[V1, V2],
    next_ring=[NextRing(V1.asset, []), NextRing(V2.asset, [replace(V1, asset=AssetId("n:node:V9"), name="V9")])],
    unsupplied_m=1600.4,
    hydrants=[AssetId("n:node:H1")],
    buildings=[SHED, HOMES, SCHOOL],
    storeys=[Within(AssetId("b:storey:1"), "1F", SCHOOL.building)],
    people=290,
    unknown_people=1,
    sensitive=[SCHOOL],
)


def text(question: Question, detail: object, *, length_m: float = 12.0) -> str:
    return "\n".join(told(Answer(question, PIPE, (), (PIPE,), length_m, RestsOn(1, 0, 0, 0.0), detail=detail)))


def order(said: str, *words: str) -> bool:
    places = [said.index(word) for word in words]
    return places == sorted(places)


def test_impact_tells_valves_then_figures_then_sensitive_buildings_then_the_fullest() -> None:
    said = text(Question.IMPACT, IMPACT)
    assert "close 1  n:node:V1  500001.0 3350000.0   if it sticks: nothing else" in said
    assert "close 2  n:node:V2  500002.0 3350000.0   if it sticks: n:node:V9" in said
    assert "without water: 1,600 m of pipe, 3 buildings (290 people, unknown in 1), 1 hydrants" in said
    assert order(said, "close 1", "close 2", "without water", "SCHOOL", "里弄", "shed", "1 storeys", "rests on")


def test_what_closing_does_not_cut_off_is_said_aloud() -> None:
    said = text(Question.IMPACT, replace(IMPACT, valves=[], next_ring=[], sources=[AssetId("n:node:R")]))
    assert "no valve closes it off" in said
    assert "NOT CUT OFF by closing valves: n:node:R" in said
    assert "no source reached it before" in text(Question.IMPACT, replace(IMPACT, was_supplied=False))


def test_impact_on_a_drain_closes_nothing() -> None:
    drain = replace(IMPACT, system=System.DRAINAGE, upstream_links=[OTHER], downstream_links=[PIPE], outfalls=[])
    said = text(Question.IMPACT, drain)
    assert "close" not in said
    assert "1 drains, to no outfall" in said
    assert "1 drains above, 3 buildings" in said


def test_asset_that_stands_for_another_is_named() -> None:
    assert f"stands for {OTHER}" in text(Question.IMPACT, replace(IMPACT, network_asset=OTHER))


def test_long_list_says_how_much_it_leaves_out() -> None:
    many = [building(f"house {n}", 1) for n in range(SHOWN + 3)]
    said = text(Question.IMPACT, replace(IMPACT, buildings=many))
    assert said.count("b:building:house") == SHOWN
    assert "… 3 more (--json lists all)" in said


def test_columns_stand_under_each_other_in_chinese_too() -> None:
    from rich.cells import cell_len

    lines = [line for line in text(Question.IMPACT, IMPACT).splitlines() if "b:building:" in line]
    assert len({cell_len(line[: line.index("b:building:")]) for line in lines}) == 1


def test_gas_tells_candidates_with_reasons_then_the_nearest_manholes_and_buildings() -> None:
    near, far = AssetId("d:node:W1"), AssetId("d:node:W2")
    candidate = Candidate(
        link=OTHER,
        name="大道",
        beside=near,
        relation="crosses",
        breach=True,
        gap_m=0.5,
        distance_m=0.8,
        along_m=10.0,
        has_heights=False,
        confidence=0.5,
        score=1.0,
        why=["relation:crosses", "material:PE", "pressure:sub_high_b", "laid:1994", "no heights"],
        easting=0.0,
        northing=0.0,
    )
    reach = GasReach(
        asset=near,
        network_asset=near,
        from_gas=False,
        limit_m=300.0,
        search_m=5.0,
        reach_manholes=[far, near],
        reach_links=[PIPE],
        along_m={near: 0.0, far: 25.0},
        stopped={},
        buildings=[building("far house", 500, along_m=90.0), building("near house", 1, along_m=5.0)],
        people=501,
        sensitive=[],
        candidates=[candidate],
        rests_on=RestsOn(1, 0, 0, 0.0),
        verified=False,
    )
    said = text(Question.ADJACENCY, reach, length_m=125.0)
    assert "crosses, 0.5 m apart  10 m along, by d:node:W1  PE, sub high b pressure, laid 1994, no heights" in said
    assert "within 300 m along the drains: 125 m of drain, 2 manholes, 2 buildings (501 people)" in said
    assert order(said, "0 m   d:node:W1", "25 m  d:node:W2", "near house", "far house", "not checked")
    assert "no gas pipe within 5 m" in text(Question.ADJACENCY, replace(reach, candidates=[]))
    assert "not checked" not in text(Question.ADJACENCY, replace(reach, verified=True))


def test_hole_tells_its_radius_what_is_assumed_and_how_each_pipe_lies() -> None:
    gas = Undermined(
        link=OTHER,
        name="G1",
        system=System.GAS,
        plan_m=1.234,
        rise_m=-0.5,
        crosses=False,
        pressure_pa=None,
        diameter_m=None,
        basis=Basis.STATED,
        score=1.0,
        easting=0.0,
        northing=0.0,
    )
    hole = Cascade(
        PIPE, PIPE, 4.44, ["head"], verified=False, links=[gas], buildings=[], rests_on=RestsOn(1, 0, 0, 0.0)
    )
    said = text(Question.CASCADE, hole)
    assert "radius 4.4 m (assumed: head): 1 pipes, 0 buildings" in said
    assert "gas  n:link:P2  G1  1.2 m away in plan, 0.5 m below" in said
