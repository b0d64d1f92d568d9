"""InfluxDB: what its answers mean (contract server of InfluxDB 2.7; a real InfluxDB 1), and its set-up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ingest.store import Retention
from ingest.store.checks import START, readings
from ingest.store.influx import InfluxStore
from ingest.store.influxql import InfluxQLStore
from sensors.clock import from_ms, to_ms
from twin.errors import UnavailableError

from .conftest import free_port
from .influx_contract import TOKEN, WRITE_TOKEN, InfluxContract
from .store_servers import influxdb1


@pytest.fixture
def influx() -> Iterator[InfluxContract]:
    server = InfluxContract()
    yield server
    server.stop()


@pytest.fixture
def store(influx) -> Iterator[InfluxStore]:
    opened = InfluxStore(influx.url, TOKEN)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def influxd(tmp_path_factory) -> Iterator[str]:
    with influxdb1(tmp_path_factory.mktemp("influxd")) as base:
        yield base


def thousand(poison: int, start: int = 0):
    """Return 1,000 readings of one series, and in their midst one of another."""
    rows = [(1, start + 1000 * number, float(number)) for number in range(1000)]
    rows[617] = (poison, start, 5.0)
    return readings(*rows)


def test_a_server_that_refuses_is_unavailable_and_nothing_is_assumed_written(influx, store):
    influx.refuse = 503
    with pytest.raises(UnavailableError, match="503"):
        store.write(readings((1, 0, 1.0)))
    influx.refuse = 0
    assert store.write(readings((1, 0, 1.0))).stored == 1


@pytest.mark.parametrize(("status", "after", "wanted_s"), [(429, "7", 7), (503, "http-date", 30)])
def test_how_long_it_asks_to_be_left_alone_is_told(influx, store, status, after, wanted_s):
    if after == "http-date":
        moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=30)
        after = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    influx.refuse, influx.retry_after = status, after
    with pytest.raises(UnavailableError, match=str(status)) as refused:
        store.write(readings((1, 0, 1.0)))
    assert refused.value.retry_s == pytest.approx(wanted_s, abs=10)


@pytest.mark.parametrize("after", ["soon", "", "-5", "Wed, 99 Foo 2026"])
def test_a_wait_that_makes_no_sense_is_none(influx, store, after):
    influx.refuse, influx.retry_after = 503, after
    with pytest.raises(UnavailableError) as refused:
        store.write(readings((1, 0, 1.0)))
    assert not refused.value.retry_s


def test_one_refused_line_in_a_thousand_is_named_and_the_others_are_kept(influx, store):
    influx.poison = {666}
    written = store.write(thousand(666))
    assert (written.stored, written.duplicates) == (999, 0)
    assert [one.position for one in written.rejected] == [617]
    assert "partial write" in written.rejected[0].reason
    assert len(influx.points) == 999


def test_a_line_it_cannot_parse_costs_no_neighbour_though_it_refuses_them_with_it(influx, store):
    influx.malformed = {666}
    written = store.write(thousand(666))
    assert (written.stored, [one.position for one in written.rejected]) == (999, [617])
    assert len(influx.points) == 999


def test_what_is_refused_for_good_does_not_pass_for_the_newest(influx, store):
    influx.poison = {666}
    store.write(readings((666, 0, 1.0)))
    influx.poison = set()
    assert store.write(readings((666, 0, 1.0))).stored == 1


def test_a_request_that_is_too_large_is_sent_in_parts(influx, store):
    influx.largest = 4000
    assert store.write(thousand(2)).stored == 1000


def test_a_bucket_is_made_with_its_retention_and_given_another(influx):
    influx.retention_s = None
    now = to_ms(datetime.now(UTC)) - START
    for days in (400, 30):
        store = InfluxStore(influx.url, TOKEN, Retention(timedelta(days=days)))
        store.write(replace(readings((1, now + days, 1.0)), now=START + now))
        assert influx.retention_s == days * 86_400
        store.close()
    assert influx.requests.count("POST /api/v2/buckets") == 1
    assert influx.requests.count("PATCH /api/v2/buckets/00000000000000bb") == 1


def test_a_bucket_that_nobody_made_is_unavailable_and_says_so(influx, store):
    influx.retention_s = None
    with pytest.raises(UnavailableError, match=r'404.*"readings" not found'):
        store.write(readings((1, 0, 1.0)))


def test_whoever_only_reads_sets_nothing_up(influx, store):
    store.latest()
    assert influx.requests == ["POST /api/v2/query"]


def test_a_token_that_may_only_write_is_told_at_the_first_look(influx):
    store = InfluxStore(influx.url, WRITE_TOKEN, Retention())
    with pytest.raises(UnavailableError, match=r"401.*store\.token") as refused:
        store.write(readings((1, 0, 1.0)))
    assert WRITE_TOKEN not in str(refused.value)
    store.close()


def test_what_is_past_the_bucket_s_retention_is_refused_with_one_request(influx, store):
    influx.retention_s = 3600
    written = store.write(readings(*((1, number, 1.0) for number in range(500))))
    assert written.stored == 0
    assert len(written.rejected) == 500
    assert influx.requests.count("POST /api/v2/write") == 1


def test_newer_readings_are_written_without_a_look_up(influx, store):
    store.write(readings((1, 0, 1.0)))
    influx.requests.clear()
    store.write(readings((1, 1000, 2.0)))
    assert influx.requests == ["POST /api/v2/write"]


def test_a_device_that_sends_what_it_kept_costs_a_look_up_of_its_own_span_only(influx, store):
    store.write(readings(*((series, 100 * 3_600_000, 1.0) for series in range(20))))
    influx.requests.clear()
    rows = [(series, 100 * 3_600_000, 1.0) for series in range(20)] + [(7, 3_600_000 * hour, 2.0) for hour in range(50)]
    written = store.write(readings(*rows))
    assert (written.stored, written.duplicates) == (50, 20)
    assert influx.requests == ["POST /api/v2/query", "POST /api/v2/query", "POST /api/v2/write"]


def test_nobody_there_is_unavailable():
    store = InfluxStore(f"influx+http://127.0.0.1:{free_port()}/water/readings", TOKEN)
    with pytest.raises(UnavailableError, match="refused"):
        store.latest()
    store.close()


def test_influxdb_1_is_set_up_with_its_retention_and_given_another(influxd):
    for days in (4000, 3000):
        store = InfluxQLStore(f"influxql+{influxd}/set-up", "", Retention(timedelta(days=days)))
        store.write(readings((1, days, 1.0)))
        (policy,) = (row for table in store._ask('SHOW RETENTION POLICIES ON "set-up"') for row in table.values)
        assert policy[1] == f"{24 * days}h0m0s"
        store.close()


def test_influxdb_1_refuses_what_is_past_its_retention_and_keeps_the_rest(influxd):
    setting = InfluxQLStore(f"influxql+{influxd}/short", "", Retention(timedelta(days=2)))
    setting._set_up(Retention(timedelta(days=2)))
    store = InfluxQLStore(f"influxql+{influxd}/short")
    now = round(time.time() * 1000) - START
    written = store.write(readings((1, now, 1.0), (1, 0, 2.0), (1, now + 1, 3.0)))
    assert written.stored == 2
    assert [one.position for one in written.rejected] == [1]
    assert "beyond retention policy" in written.rejected[0].reason
    assert len(store.read([1], from_ms(0), from_ms(2**42))) == 2
    store.close()
    setting.close()


def test_influxdb_1_names_the_database_that_is_missing(influxd):
    store = InfluxQLStore(f"influxql+{influxd}/nowhere")
    with pytest.raises(UnavailableError, match="database not found"):
        store.write(readings((1, 0, 1.0)))
    store.close()


def test_influxdb_1_keeps_neighbours_of_a_field_of_another_type(influxd):
    store = InfluxQLStore(f"influxql+{influxd}/typed", "", Retention())
    store.write(readings((1, 0, 1.0)))
    store._http.post("/write?db=typed&precision=ms", f"reading,series=9 other=1i {START}".encode())
    original = store._lines

    def with_one_of_another_type(batch):
        return [line.replace("value=4.0", "value=4i") for line in original(batch)]

    store._lines = with_one_of_another_type
    written = store.write(readings((1, 10, 3.0), (1, 20, 4.0), (1, 30, 5.0)))
    assert (written.stored, [one.position for one in written.rejected]) == (2, [1])
    assert list(store.read([1], from_ms(START), from_ms(START + 100))["value"]) == [1.0, 3.0, 5.0]
    assert np.isfinite(store.latest().value).all()
    store.close()
