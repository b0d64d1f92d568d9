"""Reading stores: each is held to the contract suite, and then to what is its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from ingest.store import ReadingStore, open_store
from ingest.store.checks import CHECKS, START, readings
from ingest.store.influx import InfluxStore
from ingest.store.sqlite import SqliteStore
from sensors.clock import from_ms
from twin.errors import InputError, SettingsError, UnavailableError

from .influx_contract import TOKEN, InfluxContract


@pytest.fixture
def influx() -> Iterator[InfluxContract]:
    server = InfluxContract()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "influx"])
def store(request, tmp_path) -> Iterator[ReadingStore]:
    if request.param == "sqlite":
        opened = open_store(f"sqlite:{tmp_path / 'readings.sqlite'}")
    else:
        opened = open_store(request.getfixturevalue("influx").url, TOKEN)
    yield opened
    opened.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_store_keeps_the_contract(store, check):
    check(store)


def test_a_store_of_unknown_kind_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"no such kind of store.*influx.*sqlite"):
        open_store("mongo:somewhere")


def test_a_file_that_is_no_store_is_refused(tmp_path):
    path = tmp_path / "readings.sqlite"
    path.write_text("this is no database, but long enough to be read as one\n" * 100)
    with pytest.raises(InputError) as refused:
        SqliteStore(f"sqlite:{path}")
    assert refused.value.code == "E_FORMAT"


def test_another_process_reads_while_this_one_writes(tmp_path):
    url = f"sqlite:{tmp_path / 'readings.sqlite'}"
    store = SqliteStore(url)
    store.write(readings((1, 0, 1.0)))
    code = f"from ingest.store import open_store; print(len(open_store({url!r}).latest().series))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split() == [b"1"]
    store.write(readings((2, 0, 1.0)))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split() == [b"2"]
    store.close()


def test_a_locked_file_is_unavailable_and_goes_on_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.store.sqlite.BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "readings.sqlite"
    store, other = SqliteStore(f"sqlite:{path}"), SqliteStore(f"sqlite:{path}")
    other._writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        store.write(readings((1, 0, 1.0)))
    other._writer.execute("ROLLBACK")
    assert store.write(readings((1, 0, 1.0))).stored == 1
    store.close()
    other.close()


def test_threads_share_a_store(tmp_path):
    store = SqliteStore(f"sqlite:{tmp_path / 'readings.sqlite'}")
    failures: list[BaseException] = []

    def write(series: int) -> None:
        try:
            for number in range(20):
                store.write(readings((series, number, float(number))))
                store.latest()
        except BaseException as error:  # noqa: BLE001  # shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(series,)) for series in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store.read(range(4), from_ms(START), from_ms(START + 1000))) == 80
    store.close()


def test_influx_that_refuses_is_unavailable_and_nothing_is_assumed_written(influx):
    store = InfluxStore(influx.url, TOKEN)
    influx.refuse = 503
    with pytest.raises(UnavailableError, match="503"):
        store.write(readings((1, 0, 1.0)))
    influx.refuse = 0
    assert store.write(readings((1, 0, 1.0))).stored == 1
    store.close()


def test_influx_with_a_wrong_token_says_so(influx):
    store = InfluxStore(influx.url, "wrong")
    with pytest.raises(UnavailableError, match="401"):
        store.latest()
    store.close()


def test_newer_readings_are_written_to_influx_without_a_look_up(influx):
    store = InfluxStore(influx.url, TOKEN)
    store.write(readings((1, 0, 1.0)))
    influx.requests.clear()
    store.write(readings((1, 1000, 2.0)))
    assert influx.requests == ["POST /api/v2/write"]
    store.close()


def test_an_address_that_is_no_bucket_is_refused():
    with pytest.raises(SettingsError, match="ORG/BUCKET"):
        InfluxStore("influx+http://127.0.0.1:8086/only-org")
