"""The set bwdf: what its truth puts into the inflows, how it counts, and what a run sees of it."""

import numpy as np
import pandas as pd
import pytest

from sensors.detection import Subject
from sensors.detection.water.zones import zones_of
from sensors.evaluation import Claim, Options
from sensors.evaluation.bwdf import SET
from sensors.evaluation.bwdf_files import TABLE, WORKBOOK, milliseconds, read_table, read_workbook, training_hours
from sensors.evaluation.truth import bwdf as truth
from twin.errors import InputError

HOURS = 24 * 7 * 20
NONE = {"train": None, "test": None, "shared": None}
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A workbook as published, of two DMAs over twenty weeks, the second with a gap."""
    rng = np.random.default_rng(2)
    times = pd.date_range("2022-01-01", periods=HOURS, freq="h")
    flows = pd.DataFrame({f"DMA {n} (L/s)": rng.normal(10.0 * n, 0.1, HOURS) for n in (1, 2)})
    flows.loc[2000:2300, "DMA 2 (L/s)"] = np.nan
    flows.insert(0, "Date-time CET-CEST (DD/MM/YYYY HH:mm)", times.strftime("%d/%m/%Y %H:%M"))
    folder = tmp_path_factory.mktemp("bwdf")
    flows.to_excel(folder / WORKBOOK, index=False)
    return folder


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("prepared")
    truth.prepare(folder, made, seed=3, **NONE)
    return made


def claim(zone, start):
    return Claim(Subject(f"zone:{zone}"), "zone_burst", "balance", start, None, 3, 3.0)


def test_bursts_are_of_three_sizes_in_the_scored_part_only(folder, prepared):
    added = (read_table(prepared) - read_workbook(folder)).to_numpy()
    first = training_hours(HOURS)
    assert np.nanmax(np.abs(added[:first])) == pytest.approx(0, abs=1e-12)
    found = np.unique(np.round(added[first:, 0] / 0.01, 2))
    assert found.tolist() == [0.0, 0.05, 0.1, 0.2]


def test_another_seed_draws_other_bursts(folder):
    flows = read_workbook(folder)
    assert truth.draw(flows, 3) == truth.draw(flows, 3)
    assert truth.draw(flows, 3) != truth.draw(flows, 4)


def test_no_burst_begins_in_a_gap(folder):
    flows = read_workbook(folder)
    there = np.isfinite(flows.to_numpy())
    for seed in range(5):
        assert all(there[b.row : b.row + 24, b.zone].sum() >= truth.LEAST for b in truth.draw(flows, seed))


def test_burst_is_found_by_a_claim_within_a_day_and_by_no_later_one(folder):
    flows = read_workbook(folder)
    time = milliseconds(flows)
    bursts = truth.draw(flows, 3)
    prompt = [claim(flows.columns[b.zone], int(time[b.row]) + 24 * HOUR_MS) for b in bursts]
    late = [claim(flows.columns[b.zone], int(time[b.row]) + 25 * HOUR_MS) for b in bursts]
    assert truth.score(folder, prompt, None, seed=3, **NONE)["found_10pct_24h"] == 1.0
    found = truth.score(folder, late, None, seed=3, **NONE)
    assert (found["found_5pct_24h"], found["found_10pct_24h"], found["false_alarms"]) == (0.0, 0.0, 0)


def test_claim_beside_all_bursts_is_false(folder):
    flows = read_workbook(folder)
    time = milliseconds(flows)
    bursts = [b for b in truth.draw(flows, 3) if b.zone == 0]
    before = [claim("DMA-1", int(time[b.row]) - HOUR_MS) for b in bursts]
    scored = truth.score(folder, before, None, seed=3, **NONE)
    assert scored["false_alarms"] == len(bursts)
    assert scored["false_per_dma_month"] > 0
    assert truth.score(folder, [], None, seed=3, **NONE)["false_per_dma_month"] == 0.0


def test_run_sees_a_zone_a_dma_and_the_first_half_as_history(prepared):
    run = SET(Options())
    assert [zone.name for zone in zones_of(run.scope(prepared))] == ["DMA-1", "DMA-2"]
    seen = list(run.batches(prepared))
    assert sum(not scored for scored, _ in seen) == training_hours(HOURS)
    assert all(batch.history.all() != scored for scored, batch in seen if len(batch))
    assert np.all(np.isfinite(np.concatenate([batch.value for _, batch in seen])))


def test_folder_without_the_workbook_is_told(tmp_path):
    with pytest.raises(InputError, match=WORKBOOK):
        read_workbook(tmp_path)
    (tmp_path / WORKBOOK).write_bytes(b"no workbook")
    with pytest.raises(InputError, match=WORKBOOK):
        read_workbook(tmp_path)
    with pytest.raises(InputError, match=TABLE):
        read_table(tmp_path)
