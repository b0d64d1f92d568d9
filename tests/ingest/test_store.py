"""Reading stores: each is held to the contract suite, and to what all stores on servers share."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.store import ReadingStore, Retention, open_store
from ingest.store.checks import CHECKS, START, readings
from ingest.store.line_store import LineStore
from ingest.store.lines import deliver
from ingest.store.sifting import NEVER, sift
from sensors.clock import from_ms
from sensors.reading import Quality
from twin.errors import RefusedError, SettingsError, UnavailableError

from .influx_contract import TOKEN, InfluxContract
from .store_servers import emptied, influxdb1, saying, victoria_metrics

_NUMBERS = itertools.count()


@pytest.fixture
def influx() -> Iterator[InfluxContract]:
    server = InfluxContract()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def influxd(tmp_path_factory) -> Iterator[str]:
    with influxdb1(tmp_path_factory.mktemp("influxd")) as base:
        yield base


@pytest.fixture(scope="module")
def victoria(tmp_path_factory) -> Iterator[str]:
    with victoria_metrics(tmp_path_factory.mktemp("victoria")) as base:
        yield base


@pytest.fixture(params=["sqlite", "influx", "influxql", "victoria"])
def store(request, tmp_path) -> Iterator[ReadingStore]:
    if request.param == "sqlite":
        opened = open_store(f"sqlite:{tmp_path / 'readings.sqlite'}")
    elif request.param == "influx":
        opened = open_store(request.getfixturevalue("influx").url, TOKEN, Retention())
    elif request.param == "influxql":
        base = request.getfixturevalue("influxd")
        opened = open_store(f"influxql+{base}/city{next(_NUMBERS)}", "", Retention())
        opened._set_up(Retention())  # type: ignore[attr-defined]  # to read an empty database, there must be one
    else:
        opened = emptied(request.getfixturevalue("victoria"))
    yield opened
    opened.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_store_keeps_the_contract(store, check):
    check(store)


def test_quality_comes_back(store):
    batch = readings((1, 0, 1.0), (1, 1000, 2.0), (2, 0, 3.0))
    flags = [Quality.GOOD, Quality.SUSPECT, Quality.FAIL]
    store.write(replace(batch, quality=np.array(flags, np.uint8)))
    assert list(store.read([1, 2], from_ms(START), from_ms(START + 2000))["quality"]) == flags
    assert list(store.latest().quality) == [Quality.SUSPECT, Quality.FAIL]


def test_buckets_are_those_of_the_readings_in_the_range(store):
    rng = np.random.default_rng(7)
    times = np.unique(rng.integers(0, 7_200_000, 500))
    batch = readings(*((number % 3, int(after), float(rng.normal())) for number, after in enumerate(times)))
    for part in np.array_split(rng.permutation(len(batch)), 4):
        store.write(batch.take(part))
    # Neither end on a whole minute, and a bucket longer than an hour among the lengths.
    first, last = START + 61_234, START + 7_140_321
    for step in (7_000, 60_000, 300_000, 3_600_000):
        frame = store.read([0, 1, 2], from_ms(first), from_ms(last), timedelta(milliseconds=step))
        inside = batch.take((batch.time >= first) & (batch.time < last))
        by_bucket = pd.DataFrame({"series": inside.series, "at": inside.time // step * step, "value": inside.value})
        wanted = by_bucket.groupby(["series", "at"])["value"].agg(["min", "mean", "max", "count"]).reset_index()
        assert list(frame["series"]) == list(wanted["series"])
        assert list(frame["time"]) == [from_ms(at) for at in wanted["at"]]
        assert np.allclose(frame[["min", "mean", "max", "count"]], wanted[["min", "mean", "max", "count"]], rtol=1e-9)


def test_a_second_reader_sees_what_the_first_wrote_late_and_live(influx, monkeypatch):
    monkeypatch.setattr("ingest.store.line_store.LOOKS", ((60_000, 0.0), (None, 0.2)))
    writer, reader = open_store(influx.url, TOKEN), open_store(influx.url, TOKEN)
    writer.write(readings((1, 3_600_000, 1.0)))
    assert list(reader.latest().value) == [1.0]
    writer.write(readings((1, 3_601_000, 2.0), (2, 0, 5.0)))
    assert list(reader.latest().value) == [2.0]  # the other's came an hour late
    time.sleep(0.25)
    assert list(reader.latest().value) == [2.0, 5.0]
    assert isinstance(reader, LineStore)
    reader.close()
    writer.close()  # type: ignore[attr-defined]


def test_a_store_of_unknown_kind_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"no such kind of store.*influx.*sqlite"):
        open_store("mongo:somewhere")


@pytest.mark.parametrize(
    "url",
    [
        "influx+http://127.0.0.1:8086/only-org",
        "influxql+http://127.0.0.1:8086/",
        "influxql+http://127.0.0.1:notaport/db",
        "victoria+ftp://127.0.0.1",
        "victoria+http://127.0.0.1:8428?read=nonsense",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(SettingsError, match="expected"):
        open_store(url)


@pytest.mark.parametrize("kind", ["influx", "influxql", "victoria"])
def test_a_secret_in_a_url_is_refused_and_not_repeated(kind):
    with pytest.raises(SettingsError, match=r"store\.token") as refused:
        open_store(f"{kind}+http://operator:geheim@127.0.0.1:8086/a/b")
    assert "geheim" not in str(refused.value)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([1.0, 2.0])), max_size=30),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([1.0, 2.0])), max_size=10),
)
def test_sifting_agrees_with_a_dictionary(before, rows):
    known: dict[tuple[int, int], float] = {}
    for series, after, value in before:
        known.setdefault((series, START + after), value)
    batch = readings(*rows) if rows else readings((0, 0, 0.0)).take(np.empty(0, np.intp))
    newest = [max((time for at, time in known if at == series), default=NEVER) for series in batch.series]
    asked = []

    def held(late):
        asked.extend(zip(late.series.tolist(), late.time.tolist(), strict=True))
        return np.array([known.get(key, np.nan) for key in zip(late.series.tolist(), late.time.tolist(), strict=True)])

    sifted = sift(batch, np.array(newest, np.int64), held)
    there, fresh, conflicts = dict(known), [], []
    for at, key in enumerate(zip(batch.series.tolist(), batch.time.tolist(), strict=True)):
        if key not in there:
            fresh.append(at)
        elif there[key] != batch.value[at]:
            conflicts.append(at)
        there.setdefault(key, float(batch.value[at]))
    assert list(sifted.fresh) == fresh
    assert list(sifted.conflicts) == conflicts
    assert sifted.duplicates == len(batch) - len(fresh) - len(conflicts)
    assert all(time <= max(t for s, t in known if s == series) for series, time in asked)


@given(st.sets(st.integers(0, 199), max_size=12), st.integers(1, 60))
def test_halving_finds_exactly_the_refused_lines(poison, at_once):
    taken: set[str] = set()

    def send(body):
        sent = body.decode().split("\n")
        good = [line for line in sent if int(line) not in poison]
        taken.update(good)
        if len(good) < len(sent):
            raise RefusedError("partial write: one of them", code="E_STORE")

    refused = deliver([str(number) for number in range(200)], send, at_once)
    assert {at for at, _ in refused} == poison
    assert len(refused) == len(poison)
    assert taken == {str(number) for number in range(200) if number not in poison}


def test_a_request_whose_lines_were_all_dropped_is_not_halved():
    sent = []

    def send(body):
        sent.append(body)
        raise RefusedError("partial write: points beyond retention policy dropped=50", code="E_STORE")

    assert len(deliver(["line"] * 50, send, 50)) == 50
    assert len(sent) == 1


@pytest.mark.parametrize("kind", ["influx", "influxql", "victoria"])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (422, b'{"error":"the number of matching timeseries exceeds 300000"}'),
        (400, b'{"error":"unable to parse: limit"}'),
        (200, b"<html>one moment, please</html>"),
    ],
)
def test_a_question_that_is_not_answered_is_an_outage_and_nobody_s_reading_is_to_blame(kind, status, said):
    with saying(status, said) as base:
        store = open_store(f"{kind}+{base}{'' if kind == 'victoria' else '/readings'}{'/b' * (kind == 'influx')}")
        with pytest.raises(UnavailableError):
            store.write(readings((1, 0, 1.0)))
        store.close()  # type: ignore[attr-defined]
