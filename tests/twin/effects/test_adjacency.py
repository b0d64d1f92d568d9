"""Gas beside drains: distances in space, how gas spreads in the headspace, and which pipe it may come from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.asset import LinkKind, NodeKind, System
from twin.city import City
from twin.effects.adjacency import gas_reach, near
from twin.effects.clearances import read_clearances
from twin.effects.gas_pipes import pressure_pa
from twin.errors import SettingsError, UnknownError
from twin.network.graph import Network

Make = Callable[[City], Network]
GAS, DRAIN = System.GAS, System.DRAINAGE

metres = st.integers(-40, 40).map(lambda n: n / 4)
points = st.tuples(metres, metres, metres)
lines_in_space = st.lists(st.lists(points, min_size=2, max_size=4), min_size=1, max_size=6)


def to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the distance of points (n, 3) to segments (n, 3)."""
    along = end - start
    size = np.maximum((along * along).sum(axis=1), 1e-300)
    share = np.clip(((points - start) * along).sum(axis=1) / size, 0.0, 1.0)
    return np.linalg.norm(points - start - share[:, None] * along, axis=1)


def brute(first: list[list[tuple[float, ...]]], second: list[list[tuple[float, ...]]]) -> np.ndarray:
    """Return the distance in space of every line with every other, by search over every pair of segments.

    The distance to a segment is convex along another one: halving by thirds finds its least value, with no formula for
    two segments.
    """
    pairs = [
        (i, j, p, q, r, s)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
        for p, q in pairwise(one)
        for r, s in pairwise(other)
    ]
    p, q, r, s = (np.array([pair[n] for pair in pairs]) for n in range(2, 6))
    low, high = np.zeros(len(pairs)), np.ones(len(pairs))
    for _ in range(80):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        nearer = to_segment(p + left[:, None] * (q - p), r, s) < to_segment(p + right[:, None] * (q - p), r, s)
        low, high = np.where(nearer, low, left), np.where(nearer, right, high)
    out = np.full((len(first), len(second)), np.inf)
    np.minimum.at(
        out,
        ([pair[0] for pair in pairs], [pair[1] for pair in pairs]),
        to_segment(p + ((low + high) / 2)[:, None] * (q - p), r, s),
    )
    return out


@settings(deadline=None, max_examples=50)  # the first example compiles
@given(lines_in_space, lines_in_space, st.sampled_from([0.5, 2.0, 5.0]))
def test_near_finds_what_trying_every_pair_of_segments_finds(first, second, clearance) -> None:
    distances = brute(first, second)

    pairs = near([shapely.LineString(line) for line in first], [shapely.LineString(line) for line in second], clearance)

    found = dict(zip(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True), pairs.distance_m.tolist(), strict=True))
    for at, distance in np.ndenumerate(distances):
        if abs(distance - clearance) > 1e-4:  # on the very edge rounding decides
            assert (at in found) == (distance < clearance)
        if at in found:
            assert found[at] == pytest.approx(distance, abs=1e-4)


@settings(deadline=None)  # the first example compiles
@given(lines_in_space, lines_in_space)
def test_the_places_that_near_names_are_as_far_apart_as_it_says(first, second) -> None:
    pairs = near(
        [shapely.force_2d(shapely.LineString(line)) for line in first],
        [shapely.force_2d(shapely.LineString(line)) for line in second],
        20.0,
    )

    assert pairs.flat.all()
    np.testing.assert_allclose(np.hypot(*(pairs.at_a - pairs.at_b).T), pairs.distance_m, atol=1e-9)
    for a, b, at, distance in zip(pairs.a, pairs.b, pairs.at_a, pairs.distance_m, strict=True):
        one, other = shapely.LineString(first[a]), shapely.LineString(second[b])
        assert shapely.Point(at).distance(shapely.force_2d(one)) < 1e-6
        assert distance == pytest.approx(shapely.force_2d(one).distance(shapely.force_2d(other)), abs=1e-9)


def test_a_pipe_over_another_is_as_far_as_its_height() -> None:
    pairs = near([shapely.LineString([(0, 0, 0), (10, 0, 0)])], [shapely.LineString([(5, -5, 2), (5, 5, 2)])], 3.0)

    assert (pairs.distance_m[0], pairs.plan_m[0], pairs.rise_m[0]) == (2.0, 0.0, -2.0)
    assert pairs.at_b[0].tolist() == [5.0, 0.0]


def test_an_upright_line_is_found() -> None:
    shaft = shapely.LineString([(0, 0, 0), (0, 0, 3)])
    pipe = shapely.LineString([(1, -5, 2), (1, 5, 2)])

    assert near([shaft], [pipe], 1.5).distance_m.tolist() == [1.0]
    assert near([pipe], [shaft], 1.5).distance_m.tolist() == [1.0]


def test_each_line_may_have_a_clearance_of_its_own() -> None:
    pipes = [shapely.LineString([(0, y, 0), (10, y, 0)]) for y in (0.0, 100.0)]
    beside = [shapely.LineString([(0, y + 2, 0), (10, y + 2, 0)]) for y in (0.0, 100.0)]

    assert near(pipes, beside, np.array([1.0, 3.0])).a.tolist() == [1]


def test_nothing_is_near_what_is_not_drawn() -> None:
    pipe = shapely.LineString([(0, 0), (1, 0)])

    assert len(near([None, shapely.LineString()], [pipe], 5.0)) == 0  # pyright: ignore[reportArgumentType]
    assert len(near([], [pipe], 5.0)) == 0


@pytest.fixture
def street(drawing, tmp_path: Path):
    """A drain of 100 m, manholes every 25 m, 2 m deep, DN400, falling to an outfall; and gas pipes about it.

    ``beside`` runs 1 m beside its axis at 25 m to 50 m, ``over`` crosses it at 60 m well above, ``inside`` cuts through
    it at 85 m, ``far`` runs 30 m away.
    """
    for n in range(5):
        kind = NodeKind.OUTFALL if n == 4 else NodeKind.MANHOLE
        invert = 3.0 - 0.1 * n
        house = {"building": f"B{n}"}
        drawing.node(f"M{n}", DRAIN, kind, 25.0 * n, 0, invert, invert_m=invert, ground_m=5.0, properties=house)
        drawing.building(f"B{n}", (25.0 * n, 15, 25.0 * n + 5, 20), residents=n)
    for n in range(4):
        levels = {"start_level_m": 3.0 - 0.1 * n, "end_level_m": 2.9 - 0.1 * n}
        drawing.link(f"D{n}", LinkKind.CONDUIT, f"M{n}", f"M{n + 1}", diameter_m=0.4, length_m=25.0, **levels)
    low, medium = {"pressure_kpa": 2.6}, {"pressure_kpa": 300.0}
    for name, start, end, more in (
        ("beside", (27, 1, 4), (48, 1, 4), {"properties": low, "material": "灰口铸铁", "year": 1985}),
        ("over", (60, -5, 4.6), (60, 5, 4.6), {"properties": medium, "material": "钢", "year": 2020}),
        ("inside", (85, -5, 2.9), (85, 5, 2.9), {"properties": low, "material": "PE", "year": 2020}),
        ("far", (0, 30, 4), (100, 30, 4), {"properties": low}),
    ):
        for end_name, at in (("a", start), ("b", end)):
            drawing.node(f"{name}-{end_name}", GAS, NodeKind.JUNCTION, *at)
        drawing.link(name, LinkKind.PIPE, f"{name}-a", f"{name}-b", diameter_m=0.2, **more)
    return drawing


@pytest.fixture
def city(street, tmp_path: Path):
    with street.city(tmp_path / "city.gpkg") as made:
        yield made


def test_gas_goes_both_ways_along_the_drain(city: City, network_of: Make) -> None:
    answer = gas_reach(city, network_of(city), "net:node:M2", limit_m=30.0)

    ways = {asset.rsplit(":", 1)[-1]: far for asset, far in answer.along_m.items()}
    assert ways == {"M1": 25.0, "M2": 0.0, "M3": 25.0, "D0": 25.0, "D1": 0.0, "D2": 0.0, "D3": 25.0}
    assert [(each.name, each.along_m) for each in answer.buildings] == [("B2", 0.0), ("B1", 25.0), ("B3", 25.0)]
    assert answer.people == 2 + 1 + 3


def test_gas_pipes_are_told_by_how_they_lie(city: City, network_of: Make) -> None:
    answer = gas_reach(city, network_of(city), "net:node:M2")

    found = {each.name: each for each in answer.candidates}
    assert {name: (each.relation, each.breach) for name, each in found.items()} == {
        "beside": ("within", True),  # wall to wall 1 - 0.2 - 0.1 = 0.7 m in plan: less than 1.0 m
        "over": ("crosses", False),  # 4.6 over an axis at 2.76 + 0.2: far more than 0.15 m
        "inside": ("inside", True),
    }
    axis = 2.9 - 0.1 * (27 - 25) / 25 + 0.2  # the drain falls away from it
    assert found["beside"].distance_m == pytest.approx(math.hypot(1, 4 - axis), abs=0.006)
    assert found["over"].along_m == pytest.approx(10.0, abs=0.02)  # M2 stands at 50 m
    assert found["over"].gap_m == pytest.approx(4.6 - (2.8 - 0.1 * 10 / 25 + 0.2) - 0.2 - 0.1, abs=0.006)


def test_the_old_iron_pipe_beside_the_manhole_comes_first(city: City, network_of: Make) -> None:
    first, *_ = gas_reach(city, network_of(city), "net:node:M2").candidates

    assert first.name == "beside"
    assert {"relation:within", "material:灰口铸铁", "laid:1985", "pressure:low"} == set(first.why)


def test_a_gas_pipe_names_the_drains_that_it_may_leak_into(city: City, network_of: Make) -> None:
    answer = gas_reach(city, network_of(city), "net:link:inside", search_m=1.0, limit_m=20.0)

    assert answer.from_gas
    assert [each.beside for each in answer.candidates] == ["net:link:D3"]
    assert answer.along_m["net:node:M3"] == pytest.approx(10.0)  # it enters at 85 m, M3 stands at 75 m
    assert answer.along_m["net:node:M4"] == pytest.approx(15.0)


def test_a_pipe_without_heights_is_compared_in_plan_and_less_sure(street, tmp_path: Path, network_of: Make) -> None:
    for end, at in (("a", (60, 3)), ("b", (60, 8))):
        street.node(f"flat-{end}", GAS, NodeKind.JUNCTION, *at)
    street.link("flat", LinkKind.PIPE, "flat-a", "flat-b", diameter_m=0.1)
    with street.city(tmp_path / "flat.gpkg") as city:
        found = {each.name: each for each in gas_reach(city, network_of(city), "net:node:M2").candidates}

    assert not found["flat"].has_heights
    assert found["flat"].gap_m == pytest.approx(3.0 - 0.2 - 0.05, abs=0.006)
    assert found["flat"].confidence < found["over"].confidence


def test_gas_does_not_pass_an_inverted_siphon(street, tmp_path: Path, network_of: Make) -> None:
    """D2 dips: both its neighbours' inverts, 2.8 and 2.7, are over its crown, 1.5 + 0.4, so it stands full."""
    conduit = next(n for n, link in enumerate(street.links) if link.name == "D2")
    street.links[conduit] = replace(street.links[conduit], start_level_m=1.5, end_level_m=1.5)
    with street.city(tmp_path / "siphon.gpkg") as city:
        answer = gas_reach(city, network_of(city), "net:node:M1")

    assert answer.stopped == {"net:link:D2": "full"}
    assert "net:node:M3" not in answer.reach_manholes
    assert "net:node:M2" in answer.reach_manholes


def test_gas_does_not_pass_a_pump(drawing, tmp_path: Path, network_of: Make) -> None:
    for name, at in (("A", 0), ("B", 10), ("C", 20)):
        drawing.node(name, DRAIN, NodeKind.MANHOLE, at, 0)
    drawing.link("D", LinkKind.CONDUIT, "A", "B")
    drawing.link("PU", LinkKind.PUMP, "B", "C")
    with drawing.city(tmp_path / "pump.gpkg") as city:
        answer = gas_reach(city, network_of(city), "net:node:A")

    assert answer.stopped == {"net:link:PU": "pump"}
    assert {asset.rsplit(":", 1)[-1] for asset in answer.reach_manholes} == {"A", "B"}


def test_a_manhole_that_no_drain_reaches_still_has_its_neighbours(drawing, tmp_path: Path, network_of: Make) -> None:
    drawing.node("alone", DRAIN, NodeKind.MANHOLE, 5, 2, 2, ground_m=5.0)
    for name, at in (("A", 0), ("B", 10)):
        drawing.node(name, GAS, NodeKind.JUNCTION, at, 0, 4)
    drawing.link("P", LinkKind.PIPE, "A", "B", diameter_m=0.2)
    with drawing.city(tmp_path / "alone.gpkg") as city:
        (candidate,) = gas_reach(city, network_of(city), "net:node:alone").candidates

    assert (candidate.name, candidate.distance_m, candidate.along_m) == ("P", 2.0, 0.0)


def test_a_water_pipe_is_neither_gas_nor_drain(drawing, tmp_path: Path, network_of: Make) -> None:
    for name, at in (("A", 0), ("B", 10)):
        drawing.node(name, System.WATER, NodeKind.JUNCTION, at, 0)
    drawing.link("P", LinkKind.PIPE, "A", "B")
    with drawing.city(tmp_path / "water.gpkg") as city, pytest.raises(UnknownError, match="neither gas nor drain"):
        gas_reach(city, network_of(city), "net:link:P")


def test_pressures_are_read_in_the_units_of_their_names() -> None:
    assert pressure_pa({"pressure_kpa": 2.6}) == pytest.approx(2600.0)
    assert pressure_pa({"PRESSURE_MPA": 0.4}) == pytest.approx(4e5)
    assert pressure_pa({"pressure_class": "medium"}) == pytest.approx(4e5)
    assert pressure_pa({"depth_m": 1.0}) is None


def test_a_table_of_clearances_that_is_misspelt_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "clearances.toml"
    table.write_text("[washout]\nrepose = 30\n", "utf-8")

    with pytest.raises(SettingsError, match=r"clearances\.toml"):
        read_clearances(table)


@pytest.mark.slow
def test_the_scripted_leak_is_among_the_first_candidates(sample_city: City, district: Path, network_of: Make) -> None:
    """The leak in WS202 is 7 m³/h out of a low-pressure main (`sensors.simulation.networks.LEAK_M3S`).

    Which main that is follows from the district's files alone: of the low-pressure mains (kind pipe, not the lanes'),
    the one that passes nearest to the manhole in plan. Mains lie 1.2 m beside the sanitary drain in the old streets
    (`sample_models.streets.gas_line`).
    """
    manhole = next(
        line.split()[1:3]
        for line in (district / "drainage.inp").read_text("utf-8").split("[COORDINATES]")[1].splitlines()
        if line.split()[:1] == ["WS202"]
    )
    spot = shapely.Point(*map(float, manhole))
    features = json.loads((district / "gas_pipes.geojson").read_text("utf-8"))["features"]
    mains = {
        each["properties"]["id"]: shapely.distance(spot, shapely.geometry.shape(each["geometry"]))
        for each in features
        if each["properties"]["kind"] == "pipe" and each["properties"]["pressure_class"] == "low"
    }
    leaks = min(mains, key=mains.__getitem__)
    assert mains[leaks] == pytest.approx(1.2, abs=0.01)

    answer = gas_reach(sample_city, network_of(sample_city), "drainage.inp:node:WS202")

    ranked = [each.link for each in answer.candidates]
    assert f"gas_pipes.geojson:link:{leaks}" in ranked[:2]
    assert answer.along_m["drainage.inp:node:WH-B157"] == pytest.approx(39.79)  # WHL-B157 in drainage.inp
    assert answer.rests_on.share == 0.0
    assert not answer.verified
