"""Questions to a city: each has an answer that says what it rests on, and valves stand as they were operated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from shapely import LineString, Point

from twin.asset import AssetId, Basis, Link, LinkKind, Node, NodeKind, System
from twin.city import City
from twin.errors import InputError, UnknownError
from twin.model import Decision, Model, Placement
from twin.network import ValveState
from twin.network.closure import Closure
from twin.network.profile import Profile
from twin.trace import Loss, Question, Ring, Tracer

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def model(*kinds: LinkKind, system: System = System.WATER, basis: Basis = Basis.STATED) -> Model:
    """Return a row of links from a source (or to an outfall), 10 m each; a hydrant, a customer come last."""
    last = NodeKind.OUTFALL if system is System.DRAINAGE else NodeKind.CUSTOMER
    middle = [NodeKind.HYDRANT if i == len(kinds) - 1 else NodeKind.JUNCTION for i in range(1, len(kinds))]
    first = NodeKind.MANHOLE if system is System.DRAINAGE else NodeKind.RESERVOIR
    at = [Point(500_000 + 10 * i, 3_350_000, 0) for i in range(len(kinds) + 1)]
    nodes = [
        Node(AssetId(f"t:node:n{i}"), f"n{i}", system, kind, at[i], ground_m=10.0, invert_m=8.0 - i)
        for i, kind in enumerate((first, *middle, last))
    ]
    links = [
        Link(
            *(AssetId(f"t:link:l{i}"), f"l{i}", system, kind, LineString([at[i], at[i + 1]])),
            start=nodes[i].id,
            end=nodes[i + 1].id,
            diameter_m=0.3,
            start_level_m=8.0 - i,
            end_level_m=7.0 - i,
            basis=basis if i == 0 else Basis.STATED,
        )
        for i, kind in enumerate(kinds)
    ]
    return Model("t", "gis", Placement(Decision.PLACED, "t", "EPSG:4549"), nodes=nodes, links=links)


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    pipe, valve = LinkKind.PIPE, LinkKind.VALVE
    with City.create(tmp_path / "c.gpkg", "EPSG:4549") as opened:
        opened.replace(model(valve, pipe, valve, pipe, basis=Basis.REPAIRED), NOW)
        yield opened


def test_isolation_names_the_valves_where_they_stand_and_the_next_ring(city: City) -> None:
    answer = Tracer(city).ask("t:link:l3", Question.ISOLATION)
    assert answer.links == ["t:link:l3"]
    closure = answer.detail
    assert isinstance(closure, Closure)
    assert [(valve.asset, valve.easting) for valve in closure.close] == [("t:link:l2", 500_025.0)]
    (ring,) = closure.next_rings
    assert (ring.sticks, [valve.asset for valve in ring.close]) == ("t:link:l2", ["t:link:l0"])


def test_stuck_valve_is_passed_over_where_asked(city: City) -> None:
    closure = Tracer(city).ask("t:link:l3", Question.ISOLATION, stuck=["t:link:l2"]).detail
    assert [valve.asset for valve in closure.close] == ["t:link:l0"]
    assert closure.passed == ["t:link:l2"]


def test_valve_operated_now_changes_the_next_answer(city: City) -> None:
    tracer = Tracer(city)
    before = tracer.network
    assert tracer.network is before
    city.operate("t:link:l2", ValveState.STUCK, at=NOW, by="王")
    closure = tracer.ask("t:link:l3", Question.ISOLATION).detail
    assert [valve.asset for valve in closure.close] == ["t:link:l0"]
    city.operate("t:link:l2", ValveState.CLOSED, at=NOW, by="王")
    closure = tracer.ask("t:link:l3", Question.ISOLATION).detail
    assert closure.close == []
    assert [valve.asset for valve in closure.shut] == ["t:link:l2"]
    assert tracer.ask("t:link:l3", Question.CONNECTED).links == ["t:link:l3"]


def test_network_follows_what_is_loaded(city: City) -> None:
    tracer = Tracer(city)
    assert len(tracer.ask("t:link:l0", Question.CONNECTED).links) == 4
    city.replace(model(LinkKind.PIPE, LinkKind.PIPE), NOW)
    assert len(tracer.ask("t:link:l0", Question.CONNECTED).links) == 2


def test_unsupplied_of_a_valve_is_what_lies_behind_it(city: City) -> None:
    answer = Tracer(city).ask("t:link:l2", Question.UNSUPPLIED)
    assert (answer.links, answer.nodes) == (["t:link:l3"], ["t:node:n3", "t:node:n4"])
    assert answer.detail == Loss(was_supplied=True, hydrants=["t:node:n3"], customers=["t:node:n4"])


def test_answer_says_what_it_rests_on_and_whose_direction_it_follows(city: City) -> None:
    answer = Tracer(city).ask("t:node:n4", Question.UPSTREAM)
    assert answer.direction is Basis.INFERRED
    assert (answer.rests_on.stated, answer.rests_on.repaired, answer.rests_on.share) == (3, 1, 0.25)
    assert answer.length_m == pytest.approx(40.0)
    assert Tracer(city).ask("t:node:n4", Question.CONNECTED).direction is None


def test_profile_of_a_drain_goes_to_its_outfall_by_itself(city: City) -> None:
    city.replace(model(LinkKind.CONDUIT, LinkKind.CONDUIT, system=System.DRAINAGE), NOW)
    answer = Tracer(city).ask("t:node:n0", Question.PROFILE)
    assert answer.direction is Basis.STATED
    profile = answer.detail
    assert isinstance(profile, Profile)
    assert [station.node for station in profile.stations] == ["t:node:n0", "t:node:n1", "t:node:n2"]
    assert [reach.from_top_m for reach in profile.reaches] == [8.3, 7.3]


def test_no_way_has_no_length(city: City) -> None:
    city.operate("t:link:l2", ValveState.CLOSED, at=NOW, by="王")
    answer = Tracer(city).ask("t:node:n0", Question.PATH, to="t:node:n4")
    assert (answer.length_m, answer.links) == (None, [])


def test_every_answer_goes_into_json(city: City) -> None:
    tracer = Tracer(city)
    for question in Question:
        if question not in {Question.IMPACT, Question.ADJACENCY, Question.CASCADE}:
            told = msgspec.json.decode(msgspec.json.encode(tracer.ask("t:link:l1", question)))
            assert told["question"] == question
    ring = tracer.ask("t:link:l1", Question.LOOPS).detail
    assert ring == Ring(independent=0, shortest=[], shortest_m=None)


def test_burst_names_what_lies_within_its_hole(city: City) -> None:
    near = model(LinkKind.PIPE)
    gas = [replace(each, id=AssetId(f"g:{each.id}"), system=System.GAS) for each in near.nodes]
    ends = {"start": gas[0].id, "end": gas[1].id}
    pipe = replace(near.links[0], id=AssetId("g:link:l0"), system=System.GAS, **ends)
    city.replace(replace(near, source="g", nodes=gas, links=[pipe]), NOW)
    answer = Tracer(city).ask("t:link:l1", Question.CASCADE, radius_m=20.0)
    assert "g:link:l0" in answer.links
    assert answer.rests_on.stated == len(answer.links)


def test_argument_that_a_question_does_not_have_is_refused(city: City) -> None:
    tracer = Tracer(city)
    with pytest.raises(InputError, match="goes nowhere"):
        tracer.ask("t:link:l1", Question.UPSTREAM, to="t:node:n0")
    with pytest.raises(InputError, match="closes no valves"):
        tracer.ask("t:link:l1", Question.LOOPS, stuck=["t:link:l0"])
    with pytest.raises(UnknownError, match="no link"):
        tracer.ask("t:link:l9", Question.LOOPS)
