"""Replay: a recorded table arrives reading by reading, on the recording's clock, exactly once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ingest.replay.recording import Measure, device_name, devices_of, read_recording
from ingest.replay.replay import Replay, compare
from sensors.clock import ManualClock, from_ms
from twin.asset import System
from twin.errors import InputError, UnavailableError

from .conftest import City, wait_until


@pytest.fixture
def table(tmp_path):
    """Five hours of minutes, with a hole, a text column and a column whose name no topic can carry."""
    index = pd.date_range("2018-01-01", periods=1300, freq="min")
    values = np.random.default_rng(7).normal(30.0, 1.0, (len(index), 2))
    values[10, 0] = np.nan
    frame = pd.DataFrame(values, index=index, columns=["n1", "出口 1"])
    frame["note"] = "text"
    path = tmp_path / "table.csv"
    frame.to_csv(path)
    return path


def test_every_reading_of_a_recording_is_in_the_store_exactly_once(tmp_path, mosquitto, table):
    recording = read_recording(table, zone="Asia/Shanghai")
    city = City(tmp_path, mosquitto.address, clock=ManualClock(from_ms(0)), district="replayed")
    devices = devices_of(
        recording, [Measure.parse("pressure:mH2O")], district="replayed", system=System.WATER, place=None
    )
    city.registry.put(devices.values())
    devices = {column: city.registry.get(device.id) for column, device in devices.items()}
    with city.worker():
        done = Replay(mosquitto.address, "replayed", recording, devices).run()
        city.settled(recording.readings)
        wait_until(lambda: city.detector.readings == recording.readings)
    assert done.readings == done.receipted == recording.readings == 2 * 1300 - 1
    assert (done.refused, recording.left_out) == ({}, ["note"])
    kept = compare(recording, devices, city.store)
    assert (kept.once, kept.missing, kept.different) == (recording.readings, 0, 0)
    assert city.spool.ledger().duplicates == 0
    city.close()


def test_detection_gets_whole_stretches_of_time_in_order(tmp_path, mosquitto, table):
    recording = read_recording(table, zone="UTC")
    city = City(tmp_path, mosquitto.address, clock=ManualClock(from_ms(0)), district="stretches")
    devices = devices_of(
        recording, [Measure.parse("pressure:mH2O")], district="stretches", system=System.WATER, place=None
    )
    city.registry.put(devices.values())
    with city.worker():
        Replay(mosquitto.address, "stretches", recording, devices).run()
        wait_until(lambda: city.detector.readings == recording.readings)
    given = [batch for batch in city.detector.batches if len(batch)]
    assert [len(set(batch.series.tolist())) for batch in given] == [2, 2, 2]
    assert all(np.all(np.diff(batch.time) >= 0) for batch in given)
    assert [batch.now for batch in given] == [int(recording.time[row]) for row in (499, 999, 1299)]
    assert not any(batch.history.any() for batch in given)
    city.close()


def test_replay_without_ingest_says_that_no_receipt_comes(mosquitto, table, monkeypatch):
    monkeypatch.setattr("ingest.replay.replay.PATIENCE_S", 0.5)
    recording = read_recording(table, zone="UTC")
    devices = devices_of(
        recording, [Measure.parse("pressure:mH2O")], district="nobody", system=System.WATER, place=None
    )
    with pytest.raises(UnavailableError, match="no receipt"):
        Replay(mosquitto.address, "nobody", recording, devices).run()


def test_times_are_taken_in_the_zone_that_is_named(table):
    recording = read_recording(table, zone="Asia/Shanghai")
    assert from_ms(int(recording.time[0])).isoformat() == "2017-12-31T16:00:00+00:00"


@pytest.mark.parametrize(
    ("content", "zone", "message"),
    [
        ("", "UTC", "E_EMPTY"),
        ("time,a\n2018-01-01,1\n", None, "--tz"),
        ("time,a\n2018-01-01,1\n", "Asia/Nowhere", "no time zone"),
        ("a,b\n1,2\n", "UTC", "E_FORMAT"),
        ("time,a\nyesterday or so,1\n", "UTC", "E_FORMAT"),
        ("time,a\n2018-01-01,text\n", "UTC", "E_EMPTY"),
    ],
)
def test_a_table_that_cannot_be_replayed_is_refused(tmp_path, content, zone, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_recording(path, zone=zone)


def test_a_missing_or_truncated_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="E_MISSING"):
        read_recording(tmp_path / "none.parquet")
    path = tmp_path / "half.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="E_FORMAT"):
        read_recording(path)


def test_device_names_fit_topics_and_differ():
    taken: set[str] = set()
    for column in ("a b", "a_b", "a/b", "x" * 100, ""):
        taken.add(device_name(column, taken))
    assert taken == {"a_b", "a_b-2", "a_b-3", "x" * 58, "_"}


@pytest.mark.parametrize("text", ["speeed", "pressure:m3/h", "n*=flow:MPa"])
def test_a_measure_that_does_not_exist_is_refused(text):
    with pytest.raises(InputError, match="--unit"):
        Measure.parse(text)
