"""VictoriaMetrics: what it needs, what it is known to drop, and what it is found not to have (a real server)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest

from ingest.store import Retention
from ingest.store.checks import START, readings
from ingest.store.victoria import LARGEST, VictoriaStore, _period_ms
from sensors.clock import from_ms
from twin.errors import SettingsError, UnavailableError

from .conftest import free_port
from .store_servers import PromptVictoriaStore, emptied, gate, victoria_metrics

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def victoria(tmp_path_factory) -> Iterator[str]:
    with victoria_metrics(tmp_path_factory.mktemp("victoria")) as base:
        yield base


@pytest.mark.parametrize("dedup", ["0s", "5s"])
def test_without_its_deduplication_of_a_millisecond_nothing_is_written(tmp_path, dedup):
    with victoria_metrics(tmp_path, dedup=dedup) as base:
        store = VictoriaStore(f"victoria+{base}", "", Retention())
        with pytest.raises(UnavailableError, match=r"-dedup\.minScrapeInterval=1ms"):
            store.write(readings((1, 0, 1.0)))
        store.close()


def test_what_it_would_drop_without_a_word_is_refused_with_one(tmp_path):
    with victoria_metrics(tmp_path, retention="30d") as base:
        store = PromptVictoriaStore(f"victoria+{base}", "", Retention(timedelta(days=400)))
        now = round(time.time() * 1000) - START
        rows = [(1, now - 31 * DAY_MS, 1.0), (1, now + 3 * DAY_MS, 1.0), (1, now - 1, 10 * LARGEST), (1, now, 4.0)]
        written = store.write(readings(*rows))
        assert written.stored == 1
        reasons = {one.position: one.reason for one in written.rejected}
        assert sorted(reasons) == [0, 1, 2]
        assert "-retentionPeriod" in reasons[0]
        assert "ahead" in reasons[1]
        assert "neighbours" in reasons[2]
        assert list(store.read([1], from_ms(0), from_ms(2**42))["value"]) == [4.0]
        store.close()


def test_held_is_what_the_server_shows_with_that_value(victoria):
    store = emptied(victoria)
    store.write(readings((1, 0, 312_000.123456789), (1, 1000, 2.0), (2, 0, 3.0)))
    asked = readings((1, 0, 312_000.123456789), (1, 1000, 2.5), (2, 0, 3.0), (2, 1, 3.0), (3, 0, 3.0))
    assert list(store.held(asked)) == [True, False, True, False, False]
    store.close()


def test_small_values_beside_large_ones_are_found_and_come_again_as_duplicates(victoria):
    store = emptied(victoria)
    rng = np.random.default_rng(5)
    values = 10 ** rng.uniform(-9, 6, 5000)
    batch = readings(*((1, 1000 * at, float(value)) for at, value in enumerate(values)))
    store.write(batch)
    assert store.held(batch).all()
    store._recent.clear()
    again = store.write(batch)
    assert (again.stored, again.duplicates) == (0, 5000)
    moved = readings(*((1, 1000 * at, float(value) * 1.001 + 1e-3) for at, value in enumerate(values)))
    assert not store.held(moved).any()
    store.close()


def test_a_reading_that_is_not_shown_yet_is_no_new_one(victoria):
    emptied(victoria).close()
    store = VictoriaStore(f"victoria+{victoria}")
    store.write(readings((70, 0, 1.0), (70, 1000, 2.0)))
    written = store.write(readings((70, 0, 1.0), (70, 1000, 9.0)))
    assert (written.stored, written.duplicates, list(written.conflicts)) == (0, 1, [1])
    store.close()


def test_what_has_been_shown_is_not_kept_in_memory(victoria, monkeypatch):
    monkeypatch.setattr("ingest.store.victoria.SHOWN_S", 0.0)
    store = VictoriaStore(f"victoria+{victoria}")
    for after in range(5):  # each newer than the one before: nothing is ever looked up
        store.write(readings((71, after, 1.0)))
        time.sleep(0.001)
    assert len(store._recent) <= 1
    store.close()


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "inf"])
def test_a_time_to_settle_that_is_none_is_refused(seconds):
    with pytest.raises(SettingsError, match="settle_s=20"):
        VictoriaStore(f"victoria+http://127.0.0.1:8428?settle_s={seconds}")


def test_another_process_finds_the_newest_of_all_time_with_its_quality(victoria):
    store = emptied(victoria)
    batch = readings((1, 0, 1.0), (1, 40 * DAY_MS, 2.0), (2, 3, 5.0))
    batch.quality[1] = 3
    store.write(batch)
    other = VictoriaStore(f"victoria+{victoria}")
    latest = other.latest()
    assert list(latest.series) == [1, 2]
    assert list(latest.time) == [START + 40 * DAY_MS, START + 3]
    assert list(latest.value) == [2.0, 5.0]
    assert list(latest.quality) == [3, 1]
    other.close()
    store.close()


def test_ten_thousand_series_at_once(victoria):
    store = emptied(victoria)
    count = 10_000
    batch = readings(*((series, series % 60_000, float(series)) for series in range(count)))
    assert store.write(batch).stored == count
    assert store.held(batch).all()
    assert np.array_equal(store.latest().value, batch.value)
    store.close()


def test_a_server_that_is_away_is_unavailable(victoria):
    store = VictoriaStore(f"victoria+http://127.0.0.1:{free_port()}", "", Retention())
    with pytest.raises(UnavailableError, match="refused"):
        store.write(readings((1, 0, 1.0)))
    store.close()


@pytest.mark.parametrize(
    ("period", "days"), [("1", 31), ("100y", 36_500), ("30d", 30), ("2w", 14), ("36h", 1.5), ("1.5y", 547.5)]
)
def test_the_period_that_the_server_tells_is_understood(period, days):
    assert _period_ms(period) == days * DAY_MS


@pytest.mark.parametrize("period", ["", "abc", "0x5"])
def test_a_period_that_is_none_is_not_guessed(period):
    assert _period_ms(period) is None


def test_behind_a_gate_that_tells_no_flags_readings_are_written_all_the_same(victoria):
    with gate(victoria, closed="/metrics") as before:
        store = PromptVictoriaStore(f"victoria+{before.base}", "the-token", Retention())
        store.server = victoria
        assert store.write(readings((90, 0, 1.0))).stored == 1
        assert store.held(readings((90, 0, 1.0))).all()
        assert before.authorizations == {"Bearer the-token"}
        store.close()


def test_the_two_addresses_of_a_cluster_are_one_store(victoria):
    with gate(victoria, prefix="/insert/0/influx") as inserting, gate(victoria, prefix="/select/0") as selecting:
        url = f"victoria+{inserting.base}/insert/0/influx?read={selecting.base}/select/0"
        store = PromptVictoriaStore(url, "", Retention())
        store.server = victoria
        assert store.write(readings((91, 0, 1.0))).stored == 1
        assert list(store.read([91], from_ms(START), from_ms(START + 1))["value"]) == [1.0]
        store.close()
