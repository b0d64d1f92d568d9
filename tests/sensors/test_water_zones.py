"""Metered zones: what hangs together between meters and shut valves, with which way water passes each meter."""

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from sensors.detection.scope import Scope
from sensors.detection.water.zone_flow import HOUR_MS, CityHours, ZoneFlow
from sensors.detection.water.zones import zones_of
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.reading import Batch
from twin.asset import AssetId, System
from twin.errors import UnavailableError
from twin.network import ValveState
from twin.network.graph import Network

from .test_detectors import checks

LIMITS = load()


def network(links, kinds=None, operated=None):
    """Return a water network of `links` (name, start, end); nodes are junctions but those in `kinds`."""
    names = sorted({end for _, *ends in links for end in ends})
    unsaid = {"status": None, "properties": None, "feature": None, "geometry": None}
    nodes = pd.DataFrame({"asset": [f"n:node:{name}" for name in names]}).assign(**unsaid)
    nodes["kind"] = [(kinds or {}).get(name, "junction") for name in names]
    table = pd.DataFrame(
        [(f"n:link:{name}", f"n:node:{start}", f"n:node:{end}") for name, start, end in links],
        columns=["asset", "start", "end"],
    )
    table = table.assign(kind="pipe", system="water", basis="stated", length_m=10.0, **unsaid)
    return Network.of(nodes, table, operated=operated)


def meter(name, series, asset=None, quantity="flow"):
    unit = "m3/h" if quantity == "flow" else "m"
    point = Point(quantity, quantity, unit, series)
    bound = AssetId(asset or f"n:link:{name}")
    return Device(DeviceId(name), "t", System.WATER, (point,), timedelta(hours=1), asset=bound)


def zones(links, devices, **more):
    return zones_of(Scope(devices, LIMITS, graph=network(links, **more)))


LINE = [("in", "r", "a"), ("p", "a", "b"), ("on", "b", "c"), ("q", "c", "d")]
"""A reservoir, a main to a zone, and one beyond it."""
RESERVOIR = {"r": "reservoir"}


def test_water_enters_one_zone_and_leaves_it_for_the_next():
    first, second = zones(LINE, [meter("in", 0), meter("on", 1)], kinds=RESERVOIR)
    assert [(zone.name, zone.pipes) for zone in (first, second)] == [("in", ["n:link:p"]), ("on", ["n:link:q"])]
    assert {(each.series, each.sign) for each in first.meters} == {(0, 1.0), (1, -1.0)}
    assert [(each.series, each.sign) for each in second.meters] == [(1, 1.0)]


def test_meter_that_water_can_pass_beside_is_none():
    beside = [*LINE, ("loop", "b", "c")]
    [zone] = zones(beside, [meter("in", 0), meter("on", 1)], kinds=RESERVOIR)
    assert [each.series for each in zone.meters] == [0]
    assert set(zone.pipes) == {"n:link:p", "n:link:q", "n:link:loop", "n:link:on"}


def test_closed_pipe_parts_zones():
    beside = [*LINE, ("loop", "b", "c")]
    shut = {AssetId("n:link:loop"): ValveState.CLOSED}
    found = zones(beside, [meter("in", 0), meter("on", 1)], kinds=RESERVOIR, operated=shut)
    assert [zone.name for zone in found] == ["in", "on"]


def test_part_with_a_supply_that_nobody_measures_has_no_balance():
    found = zones([*LINE, ("well", "w", "b")], [meter("in", 0), meter("on", 1)], kinds=RESERVOIR | {"w": "reservoir"})
    assert [zone.name for zone in found] == ["on"]


def test_tank_without_a_level_leaves_its_zone_without_a_balance():
    found = zones(LINE, [meter("in", 0), meter("on", 1)], kinds=RESERVOIR | {"b": "tank"})
    assert [zone.name for zone in found] == ["on"]


def test_flow_that_is_measured_without_a_network_is_told():
    with pytest.raises(UnavailableError, match="no network is known"):
        zones_of(Scope([meter("in", 0)], LIMITS))


def test_city_without_flow_meters_has_no_zones():
    assert zones_of(Scope(checks.sample_devices(), LIMITS)) == []


def test_retired_meters_and_meters_of_other_systems_bound_no_zone():
    gone = replace(meter("in", 0), retired=True)
    sewer = replace(meter("on", 1), system=System.DRAINAGE)
    assert zones(LINE, [gone, sewer], kinds=RESERVOIR) == []


def test_candidates_are_the_pipes_of_the_zone_by_their_length():
    [zone] = zones(LINE, [meter("in", 0)], kinds=RESERVOIR)
    assert {each.asset for each in zone.candidates} == {"n:link:p", "n:link:q", "n:link:on"}
    assert sum(each.weight for each in zone.candidates) == pytest.approx(1.0)


def test_sample_district_has_three_zones_and_a_trunk_with_its_tank(district, tmp_path):
    import shutil

    from sensors.evaluation import Options
    from sensors.evaluation.district import District

    shutil.copytree(district, tmp_path / "district")
    found = {zone.name: zone for zone in zones_of(District(Options()).scope(tmp_path / "district"))}
    assert set(found) == {"WF-DMA1", "WF-DMA2", "WF-DMA3", "WF-PS1"}
    assert len(found["WF-PS1"].tanks) == 1
    assert sorted(each.sign for each in found["WF-PS1"].meters) == [-1.0, -1.0, -1.0, 1.0]


def hours_of(flow, rows):
    """Feed (hour, series, value) in time order and return the hours that are over."""
    found = []
    for hour, series, value in rows:
        found += flow.take(checks.sample_batch([series], [hour * 3600 + 60], [value]))
    return found


def test_inflow_of_an_hour_is_what_enters_less_what_leaves():
    flow = ZoneFlow(zones(LINE, [meter("in", 0), meter("on", 1)], kinds=RESERVOIR))
    rows = [(hour, series, value) for hour in range(4) for series, value in ((0, 5.0 + hour), (1, 2.0))]
    first, second, *_ = hours_of(flow, rows)
    assert first.inflow.tolist() == [3.0, 2.0]
    assert second.inflow.tolist() == [4.0, 2.0]
    assert second.hour == first.hour + 1


def test_hour_in_which_a_meter_is_missing_has_no_balance():
    flow = ZoneFlow(zones(LINE, [meter("in", 0), meter("on", 1)], kinds=RESERVOIR))
    rows = [(hour, series, 3.0) for hour in range(4) for series in (0, 1) if (hour, series) != (0, 1)]
    first, second, *_ = hours_of(flow, rows)
    assert str(first.inflow[0]) == "nan"
    assert second.inflow.tolist() == [0.0, 3.0]


def test_hours_of_a_holiday_are_those_of_a_sunday():
    hours = CityHours(LIMITS.calendar)
    first = LIMITS.calendar.holiday[0].first
    noon = pd.Timestamp(first).timestamp() / 3600 + 12 - LIMITS.calendar.utc_offset_h
    assert hours.of(int(noon)) == (12, 6)


def test_empty_batch_closes_no_hour():
    flow = ZoneFlow(zones(LINE, [meter("in", 0)], kinds=RESERVOIR))
    assert flow.take(Batch.empty(HOUR_MS)) == []
