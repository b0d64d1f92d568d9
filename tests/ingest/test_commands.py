"""`chengmai ingest`, `ledger`, `quarantine` and `replay`, as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dashboards.commands import simulate
from dashboards.settings import clock_of, load
from ingest.mqtt.connection import Address, Connection
from ingest.spool import Spool

from .conftest import free_port, wait_until


def settings(folder: Path, port: int, district: str) -> Path:
    path = folder / "city.toml"
    path.write_text(f'[city]\ndistrict = "{district}"\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n')
    return path


def command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "dashboards", "--settings", str(path), *arguments]


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(path, *arguments), capture_output=True, text=True, timeout=240, check=False)


def test_a_speed_of_the_devices_alone_names_the_clock_that_the_other_parts_need(capsys, monkeypatch):
    clock = simulate._clock(load(), 20.0)
    words = [word.partition("=") for word in capsys.readouterr().err.split() if word.startswith("CHENGMAI_")]
    for name, _, value in words:
        monkeypatch.setenv(name, value)
    shared = clock_of(load())
    assert (shared.epoch, shared.started, shared.speed) == (clock.epoch, clock.started, 20.0)


@pytest.mark.slow
def test_a_second_ingest_on_one_spool_is_one_clear_line(tmp_path):
    with Spool(tmp_path / "spool.sqlite").owned():
        refused = run(settings(tmp_path, free_port(), "twice"), "ingest")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "another ingest has it" in refused.stderr


def test_a_fault_without_a_broker_is_one_clear_line(tmp_path):
    refused = run(settings(tmp_path, free_port(), "nobody"), "fault", "burst", "on")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "expected a broker" in refused.stderr


@pytest.mark.slow
def test_ingest_runs_until_told_to_stop_and_the_ledger_balances(tmp_path, mosquitto):
    path = settings(tmp_path, mosquitto.port, "commanded")
    process = subprocess.Popen(command(path, "ingest"), stderr=subprocess.DEVNULL)
    spool_path = tmp_path / "spool.sqlite"
    try:
        wait_until(spool_path.is_file, 60)
        spool = Spool(spool_path)
        wait_until(lambda: (status := spool.status()) and status.connected, 60)
        sender = Connection(Address("127.0.0.1", mosquitto.port), "stranger", clean=True).start()
        sender.wait(10)
        sender.publish("cim/v1/commanded/gas/GM-1/data", b"not json")
        wait_until(lambda: spool.ledger().received == 1)
        sender.close()
        spool.close()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(10)
    ledger = json.loads(run(path, "ledger", "--json").stdout)
    counts = {"stored": 0, "duplicates": 0, "quarantined": 1, "spooled": 0, "purged": 0, "dropped": 0}
    assert ledger == {"received": 1, **counts, "balance": 0}
    (refused,) = [json.loads(line) for line in run(path, "quarantine", "list", "--json").stdout.splitlines()]
    assert (refused["code"], refused["payload"]) == ("E_JSON", "not json")


@pytest.mark.slow
def test_ledger_without_a_spool_is_one_clear_line(tmp_path):
    done = run(settings(tmp_path, 1, "none"), "ledger")
    assert done.returncode == 1
    assert done.stderr.startswith("E_MISSING")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_month_of_l_town_is_in_the_store_exactly_once(tmp_path, data):
    path = settings(tmp_path, free_port(), "ltown")
    done = run(
        path,
        "replay",
        str(data / "timeseries" / "ltown" / "scada_5min_2018_2019.parquet"),
        *("--register", "--tz", "UTC", "--start", "2018-01-01", "--end", "2018-02-01", "--with-ingest", "--json"),
        *("--unit", "n*=pressure:mH2O", "--unit", "p*=flow:m3/h", "--unit", "PUMP*=flow:m3/h", "--unit", "T*=level:m"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    readings = 37 * 31 * 288
    assert report["readings"] == report["receipted"] == readings
    assert report["store"] == {"expected": readings, "once": readings, "missing": 0, "different": 0}
    assert report["ledger"]["balance"] == 0
    assert report["ledger"]["stored"] == readings
    assert report["alarms"]
