import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sensors.device import DeviceId
from sensors.simulation.faults import FaultKind, parse
from sensors.simulation.field import FieldModel
from sensors.simulation.places import blockable, choose, name_of
from sensors.simulation.site import Site, read_site
from twin.errors import InputError, UnknownError

START = datetime(2026, 3, 2, 1, 20, tzinfo=UTC)
SHOWN = dict[tuple[DeviceId, str], float]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(district: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the district: the dry-weather day is kept in it."""
    return Path(shutil.copytree(district, tmp_path_factory.mktemp("field") / "district"))


@pytest.fixture(scope="module")
def site(folder: Path) -> Site:
    return read_site(folder)


@pytest.fixture
def field(site: Site, folder: Path) -> Iterator[Callable[..., FieldModel]]:
    opened: list[FieldModel] = []

    def make(*faults: str, seed: int = 7) -> FieldModel:
        for old in opened:
            old.close()
        opened.append(FieldModel(site, START, folder, seed=seed, faults=[parse(text) for text in faults]))
        return opened[-1]

    yield make
    for last in opened[-1:]:
        last.close()


def after(model: FieldModel, seconds: float) -> SHOWN:
    return model.values(START + timedelta(seconds=seconds))


def test_every_point_of_every_device_shows_something_within_its_span(site: Site, field: Callable[..., FieldModel]):
    shown = after(field(), 0)
    for device in site.devices:
        for point in device.points:
            value = shown[device.id, point.name]
            assert np.isfinite(value), (device.id, point.name)
            assert point.low is None or value >= point.low
            assert point.high is None or value <= point.high


def test_an_undisturbed_district_is_within_what_is_normal(site: Site, field: Callable[..., FieldModel]):
    shown = after(field(), 60)
    points = {(d.id, p.name): (d, p) for d in site.devices for p in d.points}
    for key, value in shown.items():
        device, point = points[key]
        if point.quantity == "pressure" and device.system == "water":
            assert value > 0.14e6, key
        if point.quantity == "combustible_gas":
            assert value < 0.10, key
        if point.crown_m:
            assert value < 0.8 * point.crown_m, key


def test_history_is_a_day_every_five_minutes_and_ends_where_live_begins(field: Callable[..., FieldModel]):
    model = field()
    times, values = zip(*model.history(DeviceId("WP-0001")), strict=True)
    assert (len(times), times[0]) == (288, START - timedelta(days=1))
    assert {b - a for a, b in pairwise(times)} == {timedelta(minutes=5)}
    pressures = np.array([row["pressure"] for row in values])
    assert np.ptp(pressures) > 5e3
    assert after(model, 0)[DeviceId("WP-0001"), "pressure"] == pytest.approx(pressures[-1], abs=8e3)


def test_one_seed_shows_the_same_and_another_does_not(field: Callable[..., FieldModel]):
    script = ("burst@10", "gas_leak@10")
    first, again = after(field(*script), 30), after(field(*script), 30)
    assert first == again
    assert after(field(*script, seed=8), 30) != first


def test_a_scripted_burst_takes_a_quarter_of_the_pressure_near_it(field: Callable[..., FieldModel]):
    model = field("burst@10")
    before, since = after(model, 5), after(model, 25)
    fallen = [key for key in since if key[0].startswith("WP-") and since[key] < 0.78 * before[key]]
    assert fallen
    model.mend(FaultKind.BURST)
    healed = after(model, 60)
    assert all(healed[key] > 0.9 * before[key] for key in fallen)


def test_a_scripted_blockage_takes_a_level_past_four_fifths_of_the_crown_within_two_minutes(
    site: Site, field: Callable[..., FieldModel]
):
    model = field("blockage@10")
    crowns = {(d.id, p.name): p.crown_m for d in site.devices for p in d.points if p.crown_m}
    before, since = after(model, 0), after(model, 100)
    assert not [key for key, crown in crowns.items() if before[key] > 0.82 * crown]
    assert [key for key, crown in crowns.items() if since[key] > 0.8 * crown]


def test_a_scripted_leak_is_measured_in_its_manhole_within_a_minute(site: Site, field: Callable[..., FieldModel]):
    model = field("gas_leak@10:drainage.inp:node:WS-10")
    device = next(d.id for d in site.devices if d.asset == "drainage.inp:node:WS-10" and d.system == "gas")
    since = after(model, 70)
    assert since[device, "combustible_gas"] > 0.25
    assert all(since[d.id, "combustible_gas"] < 0.05 for d in site.devices if d.id.startswith("GB-"))


def test_a_stuck_sensor_holds_its_value_and_a_silent_device_shows_nothing(field: Callable[..., FieldModel]):
    model = field("stuck@10:WP-0001", "silent@10:WP-0002")
    assert (DeviceId("WP-0002"), "pressure") in after(model, 5)
    held = [after(model, seconds)[DeviceId("WP-0001"), "pressure"] for seconds in range(10, 60, 5)]
    assert len(set(held)) == 1
    assert (DeviceId("WP-0002"), "pressure") not in after(model, 60)
    model.mend(FaultKind.STUCK)
    model.mend(FaultKind.SILENT)
    free = [after(model, seconds) for seconds in range(65, 100, 5)]
    assert len({shown[DeviceId("WP-0001"), "pressure"] for shown in free}) > 1
    assert all((DeviceId("WP-0002"), "pressure") in shown for shown in free)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_on_command_finds_its_place_and_an_unknown_place_is_refused(
    kind: FaultKind, field: Callable[..., FieldModel]
):
    model = field()
    with pytest.raises(UnknownError):
        model.break_(kind, "nowhere:node:X")
    place = model.break_(kind)
    assert model.mend(kind) == [place]


def test_places_are_where_a_device_can_notice(site: Site):
    watched = {name_of(d.asset) for d in site.devices}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert name_of(choose(FaultKind.GAS_LEAK, site, lambda _: 1.0, rng)) in watched
        conduit = name_of(choose(FaultKind.BLOCKAGE, site, lambda _: 1.0, rng))
        assert [b for b in blockable(site) if b.conduit.name == conduit and b.watched in watched]


def test_a_folder_without_a_district_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"district\.json"):
        read_site(tmp_path)


@pytest.mark.parametrize(
    "fault", ["burst@30:water.inp:link:NONE", "blockage@30:NONE", "gas_leak@30:NONE", "silent@30:NONE", "stuck@30:NONE"]
)
def test_a_scripted_place_that_does_not_exist_is_refused_at_the_start(field: Callable[..., FieldModel], fault: str):
    with pytest.raises(UnknownError, match="NONE"):
        field(fault)
