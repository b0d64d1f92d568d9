"""What an event touches, as programs ask it: the sample district's burst main and the manhole with gas in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import geopandas as gpd
import networkx as nx
import pytest

from dashboards.answers import MOST_STUCK, Answers
from dashboards.city_view import CityView
from twin.asset import System
from twin.city import City
from twin.network import ValveState
from twin.trace import Question

from ..browser.conftest import DistrictCity, Server, wait_until  # noqa: TID252 - one district for both folders

pytestmark = pytest.mark.slow

MAIN, MANHOLE = "water.inp:link:P128", "drainage.inp:node:WS202"
"""Where the demo's script breaks a main, and where its gas leak is smelt."""

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def ask(demo_folder: Path) -> Iterator[Ask]:
    district = DistrictCity(demo_folder)
    server = Server(district)

    def asking(path: str, **more: Any) -> tuple[int, Any]:
        query = "&".join(f"{name}={quote(each)}" for name, value in more.items() for each in value)
        try:
            with urlopen(f"{server.url}api/v1/{path}?{query}", timeout=300) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    wait_until(lambda: asking("devices")[1])
    yield asking
    server.stop()
    district.close()


def layer(folder: Path, name: str) -> gpd.GeoDataFrame:
    with City.open(folder / "city.gpkg") as city:
        frame = city.table(name)
    assert isinstance(frame, gpd.GeoDataFrame)
    return frame


@pytest.fixture(scope="module")
def links(demo_folder: Path) -> gpd.GeoDataFrame:
    return layer(demo_folder, "links")


def graph_of(links: gpd.GeoDataFrame, system: str, without: set[str] = frozenset()) -> nx.MultiDiGraph:  # pyright: ignore[reportArgumentType]
    graph = nx.MultiDiGraph()
    for link in links[(links["system"] == system) & (links["status"] != "closed")].itertuples():
        if link.asset not in without:
            graph.add_edge(link.start, link.end, link.asset)
    return graph


def assets(answer: Any, role: str) -> set[str]:
    return {f["properties"]["asset"] for f in answer["features"]["features"] if f["properties"]["role"] == role}


def test_closing_the_valves_cuts_the_burst_main_off_and_none_of_them_is_idle(
    ask: Ask, links: gpd.GeoDataFrame, demo_folder: Path
) -> None:
    kinds = layer(demo_folder, "nodes")["kind"]
    sources = set(kinds[kinds.isin(["reservoir", "tank"])].index)
    status, answer = ask(f"assets/{MAIN}/impact")
    assert status == 200
    valves = {valve["asset"] for valve in answer["detail"]["valves"]}
    ends = {links.loc[MAIN, "start"], links.loc[MAIN, "end"]}

    def fed(closed: set[str]) -> bool:
        graph = graph_of(links, "water", closed).to_undirected()
        return any(sources & nx.node_connected_component(graph, end) for end in ends)

    assert fed(set())
    assert not fed(valves)
    assert all(fed(valves - {valve}) for valve in valves)


def test_the_map_draws_what_the_answer_names(ask: Ask) -> None:
    answer = ask(f"assets/{MAIN}/impact")[1]
    told = answer["detail"]
    assert assets(answer, "valve") == {valve["asset"] for valve in told["valves"]}
    assert assets(answer, "next_valve") == {v["asset"] for ring in told["next_ring"] for v in ring["close"]}
    assert assets(answer, "segment") == set(told["links"])
    assert assets(answer, "unsupplied") == set(told["unsupplied_links"]) - set(told["links"])
    assert assets(answer, "building") == {each["building"] for each in told["buildings"]}
    assert assets(answer, "hydrant") == set(told["hydrants"])
    assert told["people"] == sum(each["people"] for each in told["buildings"])
    west, south, east, north = ask("map")[1]["bounds"]
    box = answer["bounds"]
    assert west < box[0] < box[2] < east
    assert south < box[1] < box[3] < north


def test_a_stuck_valve_gives_way_to_the_next_ring(ask: Ask) -> None:
    before = ask(f"assets/{MAIN}/impact")[1]["detail"]
    first = before["valves"][0]["asset"]
    ring = {valve["asset"] for valve in before["next_ring"][0]["close"]}
    after = ask(f"assets/{MAIN}/impact", stuck=[first])[1]["detail"]
    closed = {valve["asset"] for valve in after["valves"]}
    assert before["next_ring"][0]["sticks"] == first
    assert first not in closed
    assert ring <= closed
    assert set(before["unsupplied_links"]) < set(after["unsupplied_links"])


def test_gas_candidates_are_the_gas_pipes_near_the_drains_that_gas_reaches(ask: Ask, links: gpd.GeoDataFrame) -> None:
    status, answer = ask(f"assets/{MANHOLE}/adjacency")
    assert status == 200
    told = answer["detail"]
    drains = links.geometry.loc[[*told["reach_links"]]].union_all()
    gas = links[links["system"] == "gas"].geometry
    ranked = told["candidates"]
    assert ranked
    assert all(gas[each["link"]].distance(drains) < told["search_m"] + 1.5 for each in ranked)  # and half a drain
    assert [each["score"] for each in ranked] == sorted((each["score"] for each in ranked), reverse=True)
    assert ranked[0]["link"] in set(gas.distance(drains).nsmallest(20).index)
    signs = [f["properties"] for f in answer["features"]["features"] if f["properties"]["role"] == "candidate"]
    signed = {sign["rank"]: sign["asset"] for sign in signs if "rank" in sign}
    assert signed == {rank: each["link"] for rank, each in enumerate(ranked[:3], 1)}
    assert assets(answer, "manhole") == set(told["reach_manholes"])


def test_a_device_stands_for_its_asset(ask: Ask) -> None:
    devices = ask("devices")[1]
    nose = next(each["device"] for each in devices if each["asset"] == MANHOLE and each["system"] == "gas")
    asked = ask(f"assets/{MANHOLE}/adjacency")
    assert ask(f"devices/{nose}/adjacency") == asked
    assert ask(f"assets/{nose}/adjacency") == asked


def test_downstream_of_a_manhole_ends_at_the_outfall(ask: Ask, links: gpd.GeoDataFrame) -> None:
    status, answer = ask(f"assets/{MANHOLE}/trace", kind=["downstream"])
    assert status == 200
    expected = nx.descendants(nx.DiGraph(graph_of(links, "drainage")), MANHOLE) | {MANHOLE}
    assert set(answer["nodes"]) == expected
    assert assets(answer, "drain") == set(answer["links"])


def test_a_path_is_a_chain_from_one_end_to_the_other(ask: Ask, links: gpd.GeoDataFrame) -> None:
    downstream = ask(f"assets/{MANHOLE}/trace", kind=["downstream"])[1]["nodes"]
    outfall = next(node for node in downstream if node not in set(links["start"]))
    answer = ask(f"assets/{MANHOLE}/trace", kind=["path"], to=[outfall])[1]
    assert (answer["nodes"][0], answer["nodes"][-1]) == (MANHOLE, outfall)
    ends = [{links.loc[link, "start"], links.loc[link, "end"]} for link in answer["links"]]
    assert [set(pair) for pair in pairwise(answer["nodes"])] == ends


def test_a_burst_washes_out_what_lies_within_its_radius(ask: Ask, links: gpd.GeoDataFrame) -> None:
    answer = ask(f"assets/{MAIN}/cascade")[1]
    radius = answer["detail"]["radius_m"]
    others = links[links["system"] != "water"].geometry
    near = others[others.distance(links.geometry[MAIN]) <= radius]
    assert {each["link"] for each in answer["detail"]["links"]} == set(near.index)
    assert assets(answer, "washed") == set(near.index)
    assert assets(answer, "radius") == {MAIN}


@pytest.mark.parametrize(
    ("path", "more", "status", "code"),
    [
        ("assets/water.inp:link:nowhere/impact", {}, 404, "E_UNKNOWN"),
        ("assets/split.inp:link:P1/1/impact", {}, 404, "E_UNKNOWN"),
        (f"assets/{MAIN}/trace", {"kind": ["sideways"]}, 422, "E_INPUT"),
        (f"assets/{MAIN}/trace", {"kind": ["upstream"], "to": [MANHOLE]}, 422, "E_INPUT"),
        (f"assets/{MAIN}/impact", {"stuck": [f"V{n}" for n in range(MOST_STUCK + 1)]}, 422, "E_INPUT"),
        (f"assets/{MAIN}/adjacency", {}, 404, "E_UNKNOWN"),
    ],
)
def test_what_cannot_be_answered_is_one_line_with_a_code(
    ask: Ask, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    got, body = ask(path, **more)
    assert (got, body["error"]) == (status, code)
    assert "\n" not in body["message"]


def test_an_answer_is_kept_until_the_city_or_a_valve_changes(demo_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "city.gpkg"
    shutil.copy(demo_folder / "city.gpkg", path)
    view = CityView(path)
    answers = Answers(view, lambda name: (name, None))
    first = answers.ask(MAIN, Question.IMPACT)
    assert answers.ask(MAIN, Question.IMPACT) is first
    valve = first.answer.detail.valves[0].asset
    with City.open(path) as city:
        city.operate(valve, ValveState.STUCK, at=datetime.now(UTC), by="张建国")
    closed = {each.asset for each in answers.ask(MAIN, Question.IMPACT).answer.detail.valves}
    assert valve not in closed
    view.close()


def test_a_device_in_a_building_asks_of_the_service_that_it_measures(demo_folder: Path) -> None:
    view = CityView(demo_folder / "city.gpkg")
    house = "buildings.geojson:building:B034"  # it has gas, water and a drain
    stands_on = {"WM-1": (house, System.WATER), "GM-1": (house, System.GAS), "RG-1": (house, System.RAIN)}
    answers = Answers(view, lambda name: stands_on.get(name, (name, None)))
    asked = {name: answers.ask(name, Question.IMPACT).answer.detail.system for name in stands_on}
    assert asked == {"WM-1": System.WATER, "GM-1": System.GAS, "RG-1": System.GAS}  # of no service: the most dangerous
    view.close()
