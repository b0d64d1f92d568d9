"""Long profiles: chainage adds up, levels turn with the way, a crown is a diameter above an invert."""

from __future__ import annotations

from shapely import LineString, Point

from twin.asset import AssetId, Link, LinkKind, Node, NodeKind, System
from twin.network.profile import profile


def node(name: str, ground_m: float, invert_m: float) -> Node:
    return Node(
        AssetId(name), name, System.DRAINAGE, NodeKind.MANHOLE, Point(0, 0), ground_m=ground_m, invert_m=invert_m
    )


def link(name: str, start: str, end: str, levels: tuple[float | None, float | None]) -> Link:
    line = LineString([(0, 0), (1, 0)])
    return Link(
        *(AssetId(name), name, System.DRAINAGE, LinkKind.CONDUIT, line, AssetId(start), AssetId(end)),
        diameter_m=0.3,
        start_level_m=levels[0],
        end_level_m=levels[1],
    )


NODES = [node("a", 10.0, 8.0), node("b", 9.5, 7.5), node("c", 9.0, 7.0)]


def test_levels_are_read_in_the_order_of_the_way() -> None:
    links = [link("ab", "a", "b", (8.0, 7.5)), link("cb", "c", "b", (7.0, 7.4))]
    found = profile(NODES, links, [50.0, 20.0], gravity=True)
    assert [station.chainage_m for station in found.stations] == [0.0, 50.0, 70.0]
    assert [station.ground_m for station in found.stations] == [10.0, 9.5, 9.0]
    down, against = found.reaches
    assert (down.from_level_m, down.to_level_m, down.slope, down.with_the_link) == (8.0, 7.5, 0.01, True)
    assert (against.from_level_m, against.to_level_m, against.slope) == (7.4, 7.0, 0.02)
    assert not against.with_the_link
    assert (down.from_top_m, against.to_top_m) == (8.3, 7.3)
    assert found.length_m == 70.0


def test_pressure_pipes_have_no_crown_and_missing_levels_no_slope() -> None:
    found = profile(NODES[:2], [link("ab", "a", "b", (8.0, None))], [50.0], gravity=False)
    assert found.reaches[0].from_top_m is None
    assert found.reaches[0].slope is None


def test_way_of_one_node_is_one_station() -> None:
    found = profile(NODES[:1], [], [], gravity=True)
    assert (len(found.stations), len(found.reaches), found.length_m) == (1, 0, 0.0)
