"""What a burst may take with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from twin.asset import LinkKind, NodeKind, System
from twin.city import City
from twin.effects.cascade import cascade
from twin.effects.clearances import read_clearances
from twin.errors import InputError
from twin.network.graph import Network

Make = Callable[[City], Network]


@pytest.fixture
def city(drawing, tmp_path: Path):
    """A main along y = 0, gas crossing it at x = 50, a drain 2 m beside, another main 1 m beside, a house 3 m away."""
    for name, system, ends, more in (
        ("main", System.WATER, ((0, 0, 4), (100, 0, 4)), {"diameter_m": 0.3, "depth_m": 1.5}),
        ("gas", System.GAS, ((50, -9, 4.3), (50, 9, 4.3)), {"diameter_m": 0.1, "properties": {"pressure_kpa": 2.6}}),
        ("drain", System.DRAINAGE, ((0, 2, 2), (100, 2, 2)), {"diameter_m": 0.4}),
        ("away", System.DRAINAGE, ((0, 20, 2), (100, 20, 2)), {"diameter_m": 0.4}),
        ("beside", System.WATER, ((0, -1, 4), (100, -1, 4)), {"diameter_m": 0.1}),
    ):
        for end, at in zip("ab", ends, strict=True):
            drawing.node(f"{name}-{end}", system, NodeKind.JUNCTION, *at)
        drawing.link(name, LinkKind.PIPE, f"{name}-a", f"{name}-b", **more)
    drawing.building("house", (20, 3, 30, 12), residents=7)
    drawing.building("shop", (60, 30, 70, 40), residents=3)
    with drawing.city(tmp_path / "city.gpkg") as made:
        yield made


def test_what_bridges_the_hole_comes_first_and_own_pipes_are_not_other_systems(city: City, network_of: Make) -> None:
    answer = cascade(city, network_of(city), "net:link:main", radius_m=4.0)

    assert [(each.name, each.crosses, each.plan_m) for each in answer.links] == [
        ("gas", True, 0.0),
        ("drain", False, 2.0),
    ]
    assert answer.links[0].rise_m == pytest.approx(0.3)  # 4.3 over 4.0
    assert [(each.name, each.people, each.plan_m) for each in answer.buildings] == [("house", 7, 3.0)]
    assert answer.rests_on.stated == 2


def test_the_place_of_the_burst_narrows_it(city: City, network_of: Make) -> None:
    answer = cascade(city, network_of(city), "net:link:main", radius_m=4.0, at=(90.0, 0.0))

    assert [each.name for each in answer.links] == ["drain"]
    assert answer.buildings == []


def test_the_radius_is_worked_out_from_bore_head_and_cover(city: City, network_of: Make) -> None:
    """1.5 m of cover at 30 degrees, and a jet of ten bores at 20 m of head: the table's own numbers."""
    answer = cascade(city, network_of(city), "net:link:main", head_m=20.0)

    assert answer.radius_m == pytest.approx(1.5 / math.tan(math.radians(30)) + 10 * 0.3, abs=0.006)
    assert answer.assumed == []
    assert not answer.verified


def test_what_nobody_states_is_assumed_and_named(city: City, network_of: Make) -> None:
    answer = cascade(city, network_of(city), "net:link:beside")

    row = read_clearances().washout
    assert list(answer.assumed) == ["head", "cover"]
    assert answer.radius_m == pytest.approx(row.radius_m(0.1, row.head_m, row.cover_m), abs=0.006)


def test_gas_washes_no_ground_out(city: City, network_of: Make) -> None:
    with pytest.raises(InputError, match="washes no ground out"):
        cascade(city, network_of(city), "net:link:gas")
    assert cascade(city, network_of(city), "net:link:gas", radius_m=2.0).links
