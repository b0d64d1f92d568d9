"""What the broker's log tells of those who tried what they may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.broker import log as broker_log
from ingest.broker.log import Attempt, Attempts, Kind, LogReader, may_hear

DENIED = b"2026-01-01T00:00:00+0000: Denied PUBLISH from A (d0, q1, r0, m1, 'cim/v1/d/water/B/data', ... (1 bytes))"


def test_a_burst_is_told_at_once_and_then_once_a_minute():
    attempts = Attempts()
    attempts.read([DENIED])
    assert attempts.due(0.0) == [Attempt(Kind.PUBLISH, "A", "cim/v1/d/water/B/data", 1)]
    attempts.read([DENIED] * 5000)
    assert attempts.due(59.0) == []
    attempts.read([DENIED])
    assert [attempt.times for attempt in attempts.due(60.0)] == [5001]
    assert attempts.due(180.0) == []


def test_a_flood_of_strangers_is_counted_together():
    attempts = Attempts()
    attempts.read(b"t: Sending CONNACK to 10.0.%d.%d (0, 135)" % (n // 250, n % 250) for n in range(3000))
    told = attempts.due(0.0)
    assert len(told) == broker_log.MAX_KNOWN + 1
    assert told[-1] == Attempt(Kind.LOGIN, "others", "CONNACK 135", 3000 - broker_log.MAX_KNOWN)


def test_a_topic_that_looks_like_a_log_line_accuses_nobody_else():
    attempts = Attempts()
    forged = b"x', ... (1 bytes)) Denied PUBLISH from B (d0, q1, r0, m1, 'y"
    attempts.read([b"t: Denied PUBLISH from A (d0, q1, r0, m1, '" + forged + b"', ... (1 bytes))"])
    assert [attempt.who for attempt in attempts.due(0.0)] == ["A"]


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        ("cim/v1/hewan/water/A/ack", True),
        ("cim/v1/+/+/A/cmd", True),
        ("spBv1.0/g/NCMD/A", True),
        ("spBv1.0/STATE/city", True),
        ("#", False),
        ("cim/v1/#", False),
        ("cim/v1/hewan/water/+/ack", False),
        ("cim/v1/hewan/water/B/ack", False),
        ("cim/v1/hewan/water/A/#", False),
        ("cim/v1/hewan/water/A/data", False),
    ],
)
def test_a_filter_is_held_against_the_access_list(wanted: str, *, allowed: bool):
    assert may_hear("A", wanted) is allowed


@given(st.lists(st.binary(max_size=80)))
def test_no_line_of_any_kind_is_a_trouble(lines: list[bytes]):
    attempts = Attempts()
    attempts.read([b"t: Received SUBSCRIBE from A", *lines, *(b"t: \t" + line for line in lines)])
    assert all(attempt.times for attempt in attempts.due(0.0))


def test_reading_goes_on_where_it_stopped_and_half_a_line_waits(tmp_path: Path):
    log, place = tmp_path / "log", tmp_path / "place"
    assert LogReader(log, place).lines() == []
    log.write_bytes(b"one\ntwo\nhal")
    reader = LogReader(log, place)
    assert reader.lines() == [b"one", b"two"]
    reader.done()
    with log.open("ab") as more:
        more.write(b"f\n")
    assert LogReader(log, place).lines() == [b"half"]


def test_a_log_begun_anew_is_read_from_its_beginning(tmp_path: Path):
    log = tmp_path / "log"
    log.write_bytes(b"one\ntwo\n")
    reader = LogReader(log, tmp_path / "place")
    reader.lines()
    log.write_bytes(b"new\n")
    assert reader.lines() == [b"new"]
    log.rename(tmp_path / "log.1")
    log.write_bytes(b"other\nfile\n")
    assert reader.lines() == [b"other", b"file"]


def test_a_long_log_is_emptied_once_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(broker_log, "MAX_LOG_BYTES", 10)
    log = tmp_path / "log"
    writer = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)  # as Mosquitto has it open
    reader = LogReader(log, tmp_path / "place")
    os.write(writer, b"one two three\n")
    assert reader.lines() == [b"one two three"]
    reader.done()
    assert log.stat().st_size == 0
    os.write(writer, b"four\n")
    assert reader.lines() == [b"four"]
    os.close(writer)
