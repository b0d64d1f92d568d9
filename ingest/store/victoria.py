"""VictoriaMetrics as reading store: line protocol in through influxdb-client, its export and query API out.

A field of line protocol becomes a metric: ``reading_value{series="7"}``, and ``reading_quality`` where the quality is
not GOOD. The server answers 204 to everything, drops what it does not like, and forgets its last seconds when it is
killed; hence `held` (`ingest.read_back`), and what it is known to drop is not even sent. It keeps some twelve digits
of a value, counted from the largest of some thousand neighbours of its series; and two points at one time unless it
runs with -dedup.minScrapeInterval=1ms, without which nothing is written.

Sources: VictoriaMetrics documentation, "How to send data from InfluxDB-compatible agents", "How to export data in
JSON line format", "Deduplication", "Retention", "URL format" (cluster version), "Keyconcepts".
"""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from ingest.store import Retention
from ingest.store.http import Http, server
from ingest.store.influx import LineWriter
from ingest.store.line_store import LineStore
from ingest.store.lines import sparse_lines
from ingest.store.newest import Rows
from ingest.store.sifting import NEVER, same
from sensors.reading import Batch, Quality
from twin.errors import SettingsError, UnavailableError

logger = structlog.get_logger()

SETTLES_S = 20.0
"""So long after a write it is read back, and only then let go of by the spool.

The server keeps what is new in memory, shows it after a second, and puts it on disk within some twelve: measured on
1.79.5 with kill -9, after which nothing of the last 8 s was left, and all that was 12 s old. Asked sooner than after
two seconds it hides a new series for ten, since its answer is cached.
"""

SHOWN_S = 10.0
"""After this long what was written is certainly found: new series appear within a few seconds."""

AHEAD_MS = 2 * 86_400_000
"""Points farther ahead than two days are dropped (documentation, "Retention": by default)."""

LARGEST = 1e12
"""Larger values (SI) are refused: they would leave their neighbours, which share an exponent with them, no digits."""

_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "m": 31 * 86_400, "": 31 * 86_400, "y": 365 * 86_400}
"""Seconds of the units of -retentionPeriod; without a unit it is in months of 31 days."""

FOR_EVER = timedelta(days=36_500)
"""What stands for no retention: the server knows none, and 100y is its longest usual one."""

SETTLED_MS = 60_000
"""Readings newer than this are not asked of the query API: twice the default of -search.latencyOffset."""

POINTS = 10_000
"""Buckets of a series in one query; the server allows 30,000 (-search.maxPointsPerTimeseries)."""

REACHES_S = (3600, 86_400, 30 * 86_400, None)
"""How far back the newest readings are searched for, one after the other: the server reads all that a window holds."""

NEAR_S = 600
"""Readings of devices whose clocks run ahead are within this: admission allows five minutes."""

_NAMES = "/api/v1/label/series/values"
_EVERYTHING_MS = 2**42


class _Metric(msgspec.Struct):
    series: str
    name: str = msgspec.field(name="__name__", default="")


class _Exported(msgspec.Struct):
    """A line of /api/v1/export. Values that JSON has no number for come as null or as text."""

    metric: _Metric
    values: list[float | str | None]
    timestamps: list[int]


class _Sample(msgspec.Struct):
    metric: _Metric
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Samples(msgspec.Struct):
    result: list[_Sample]


class _Answer(msgspec.Struct):
    data: _Samples


class _Names(msgspec.Struct):
    data: list[str]


class VictoriaStore(LineStore):
    """Keeps readings on the server of a ``victoria+http://host:8428`` url (or ``victoria+https``).

    Of a cluster the url is vminsert's, and `read` vmselect's:
    ``victoria+http://vminsert:8480/insert/0/influx?read=http://vmselect:8481/select/0/prometheus``. The token is a
    bearer token. `settle_s` in the query stands for another `SETTLES_S`. How long readings stay is the server's to say
    (-retentionPeriod); a shorter time than wished is told.
    """

    precision: ClassVar[float] = 1e-11  # twelve digits, of the largest of some thousand neighbours
    at_once: ClassVar[int] = 20_000
    series_at_once: ClassVar[int] = 2000

    def __init__(self, url: str, token: str = "", retention: Retention | None = None) -> None:
        super().__init__(retention)
        expected = "victoria+http://host:8428"
        parts = server(url, "victoria", expected)
        base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        options = parse_qs(parts.query)
        reading = options.get("read", [base])[0]
        self.settles_s = _number(options.get("settle_s", [f"{SETTLES_S:g}"])[0], url)
        server(reading, "", expected)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._writer = LineWriter(base, token, "-", "-", expected="VictoriaMetrics", scheme="Bearer")
        self._http = Http(reading, headers, expected="VictoriaMetrics")
        self._root = Http("/".join(reading.split("/")[:3]), headers, expected="VictoriaMetrics")
        self._keeps_ms: int | None = None
        self._is_set_up = False
        self._recent: deque[tuple[float, Batch]] = deque()
        self._largest = np.zeros(0)

    def held(self, batch: Batch) -> NDArray[np.bool_]:
        """Return which readings of the batch the server shows, with their values."""
        return same(super()._values(batch), batch.value, self._tolerance(batch))

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._http.close()
        self._root.close()

    def _set_up(self, retention: Retention) -> None:
        if self._is_set_up:
            return
        try:
            flags = _flags(self._root.ask("GET", "/metrics", {}).decode("utf-8", "replace"))
        except UnavailableError as error:
            if not error.what.startswith("HTTP 4"):
                raise
            flags = {}
        interval = flags.get("dedup.minScrapeInterval")
        if interval is None:  # a cluster's gate tells its own flags, or none
            logger.warning("flags_not_checked", server=self._root.base, wanted="-dedup.minScrapeInterval=1ms")
        if interval not in {None, "1ms"}:
            raise UnavailableError(
                f"runs with -dedup.minScrapeInterval={interval}",
                where=self._root.base,
                expected="-dedup.minScrapeInterval=1ms: otherwise it keeps readings twice, or drops close ones",
            )
        self._keeps_ms = _period_ms(flags.get("retentionPeriod", ""))
        wished = FOR_EVER if retention.readings is None else retention.readings
        if self._keeps_ms is not None and self._keeps_ms < wished / timedelta(milliseconds=1):
            kept, wanted = self._keeps_ms / 86_400_000, wished / timedelta(days=1)
            logger.warning("store_keeps_less", days=kept, wanted_days=wanted, set_by="-retentionPeriod")
        self._is_set_up = True

    def _admitted(self, batch: Batch) -> tuple[NDArray[np.intp], list[tuple[int, str]]]:
        now = round(time.time() * 1000)  # the server's own measure, whatever the city's clock says
        old = batch.time < (now - self._keeps_ms if self._keeps_ms is not None else NEVER)
        ahead = batch.time > now + AHEAD_MS
        refused = [(int(at), "older than the server's -retentionPeriod") for at in np.flatnonzero(old)]
        refused += [(int(at), "more than two days ahead of the server's clock") for at in np.flatnonzero(ahead)]
        huge = np.abs(batch.value) > LARGEST
        refused += [
            (int(at), f"beyond {LARGEST:g}: the server would blur its neighbours") for at in np.flatnonzero(huge)
        ]
        return np.flatnonzero(~(old | ahead | huge)), refused

    def _tolerance(self, batch: Batch) -> NDArray[np.float64]:
        missing = int(batch.series.max(initial=-1)) + 1 - len(self._largest)
        self._largest = np.append(self._largest, np.zeros(max(0, missing)))
        np.maximum.at(self._largest, batch.series, np.abs(batch.value))
        return self.precision * self._largest[batch.series]

    def _lines(self, batch: Batch) -> list[str]:
        return sparse_lines(batch)

    def _send(self, body: bytes) -> None:
        self._writer.send(body)

    def _note(self, kept: Batch) -> None:
        super()._note(kept)
        self._recent.append((time.monotonic(), kept))
        self._forget_shown()

    def _forget_shown(self) -> None:
        while self._recent and time.monotonic() - self._recent[0][0] > SHOWN_S:
            self._recent.popleft()

    def _values(self, batch: Batch) -> NDArray[np.float64]:
        """Return what is held of a batch: what the server shows, and what it has just been given."""
        values = super()._values(batch)
        self._forget_shown()
        for _, given in self._recent:
            here = np.flatnonzero(np.isin(given.series, batch.series) & np.isin(given.time, batch.time))
            if len(here):
                found = given.take(here)
                keys = zip(found.series.tolist(), found.time.tolist(), strict=True)
                known = dict(zip(keys, found.value.tolist(), strict=True))
                sought = zip(batch.series.tolist(), batch.time.tolist(), values.tolist(), strict=True)
                values = np.array([known.get((series, moment), value) for series, moment, value in sought])
        return values

    def _rows(self, series: Sequence[int], first: int, last: int) -> Rows:
        return self._exported(f'{{__name__=~"reading_(value|quality)",{_only(series)}}}', first, last)

    def _last(self, since: int | None, series: Sequence[int] | None) -> Rows:
        if since is not None:
            rows = self._exported('{__name__=~"reading_(value|quality)"}', since, _EVERYTHING_MS)
            return rows.take(np.flatnonzero(np.append(np.diff(rows.series) != 0, True)[: len(rows.series)]))
        missing = set(self._named() if series is None else series)
        parts: list[Rows] = []
        for reach_s in REACHES_S:
            if not missing:
                break
            # Few are named, so that those alone are searched far back; of many, all are.
            chosen = sorted(missing) if len(missing) <= self.series_at_once else None
            found = self._newest_within(reach_s, chosen)
            found = found.take(np.flatnonzero(np.isin(found.series, list(missing))))
            missing -= set(found.series.tolist())
            parts.append(found)
        return Rows.joined(parts)

    def _named(self) -> list[int]:
        """Return every series that the server knows of."""
        fields = {"match[]": "reading_value", "start": "1", "end": f"{_EVERYTHING_MS // 1000}"}
        with self._http.understood():
            return [int(name) for name in msgspec.json.decode(self._http.ask("POST", _NAMES, fields), type=_Names).data]

    def _newest_within(self, reach_s: int | None, series: Sequence[int] | None) -> Rows:
        """Return the newest readings of the last `reach_s` seconds, or of all time: one sample a series each."""
        now = time.time()
        at, window = (now + AHEAD_MS / 1000, round(now)) if reach_s is None else (now + NEAR_S, reach_s)
        fields = {"time": f"{at:.3f}", "nocache": "1"}
        some = "" if series is None else f"{{{_only(series)}}}"
        found: list[dict[int, float]] = []
        for name, of in (("tlast", "value"), ("last", "value"), ("tlast", "quality"), ("last", "quality")):
            query = f"{name}_over_time(reading_{of}{some}[{window}s])"
            samples = self._samples("/api/v1/query", {**fields, "query": query})
            found.append({int(sample.metric.series): float(sample.value[1]) for sample in samples if sample.value})
        return _newest_of(*found)

    def _buckets(self, series: Sequence[int], first: int, last: int, step: int) -> list[tuple[Any, ...]]:
        """Return whole buckets as the server adds them up, and the ends of the range out of their readings.

        A query hides the newest readings for a while (-search.latencyOffset), so that those are added up here too.
        """
        begin = -(-first // step) * step
        end = min(last, round(time.time() * 1000) - SETTLED_MS) // step * step
        if begin >= end:
            return _added_up(self._rows(series, first, last), step)
        found = _added_up(Rows.joined([self._rows(series, first, begin), self._rows(series, end, last)]), step)
        for middle in range(begin, end, POINTS * step):
            found += self._ranged(series, middle, min(middle + POINTS * step, end), step)
        return found

    def _ranged(self, series: Sequence[int], begin: int, end: int, step: int) -> list[tuple[Any, ...]]:
        # A window is open on its left and closed on its right: that of [t, t + step) is asked for at t + step - 1 ms.
        span = {"start": f"{(begin + step - 1) / 1000:.3f}", "end": f"{(end - 1) / 1000:.3f}", "step": f"{step}ms"}
        rows: dict[tuple[int, int], list[float]] = defaultdict(list)
        for function in ("min", "avg", "max", "count"):
            query = f"{function}_over_time(reading_value{{{_only(series)}}}[{step}ms])"
            for sample in self._samples("/api/v1/query_range", {**span, "query": query, "nocache": "1"}):
                for moment, value in sample.values:
                    rows[int(sample.metric.series), round(moment * 1000) + 1 - step].append(float(value))
        return [(*key, low, mean, high, round(count)) for key, (low, mean, high, count) in rows.items()]

    def _samples(self, path: str, fields: Mapping[str, str]) -> list[_Sample]:
        with self._http.understood():
            return msgspec.json.decode(self._http.ask("POST", path, fields), type=_Answer).data.result

    def _exported(self, selector: str, first: int, last: int) -> Rows:
        """Return the readings of [first, last) ms that a selector finds."""
        if first >= last:
            return Rows.joined([])  # the server would answer with what lies around
        fields = {"match[]": selector, "start": f"{first / 1000:.3f}", "end": f"{(last - 1) / 1000:.3f}"}
        decoder = msgspec.json.Decoder(_Exported)
        with self._http.understood():
            answer = [decoder.decode(line) for line in self._http.ask("POST", "/api/v1/export", fields).splitlines()]
        marks = _flat([one for one in answer if one.metric.name == "reading_quality"])
        return _marked(_flat([one for one in answer if one.metric.name != "reading_quality"]), marks)


def _flat(exported: Sequence[_Exported]) -> Rows:
    """Return exported series as rows of good quality, ordered by series and time."""
    series = np.array([int(one.metric.series) for one in exported], np.int32)
    times = np.array([moment for one in exported for moment in one.timestamps], np.int64)
    values = np.array([value for one in exported for value in one.values], np.float64)  # null becomes NaN
    counts = [len(one.timestamps) for one in exported]
    return Rows.joined([Rows(np.repeat(series, counts), times, values, np.full(len(times), Quality.GOOD, np.uint8))])


def _marked(rows: Rows, marks: Rows) -> Rows:
    """Return readings with the quality that `marks` have as their values at the same series and time."""
    if not len(marks.series) or not len(rows.series):
        return rows
    quality = rows.quality.copy()
    known = dict(zip(zip(marks.series.tolist(), marks.time.tolist(), strict=True), marks.value.tolist(), strict=True))
    for at in np.flatnonzero(np.isin(rows.series, marks.series) & np.isin(rows.time, marks.time)):
        quality[at] = known.get((int(rows.series[at]), int(rows.time[at])), quality[at])
    return rows._replace(quality=quality)


def _newest_of(
    times: dict[int, float], values: dict[int, float], marked: dict[int, float], marks: dict[int, float]
) -> Rows:
    """Return the newest readings out of four answers: times (s) and values of the newest values, and of the marks."""
    series = sorted(times.keys() & values.keys())
    good = int(Quality.GOOD)
    return Rows(
        np.array(series, np.int32),
        np.array([round(1000 * times[one]) for one in series], np.int64),
        np.array([values[one] for one in series], np.float64),
        np.array([marks.get(one, good) if marked.get(one) == times[one] else good for one in series], np.uint8),
    )


def _added_up(rows: Rows, step: int) -> list[tuple[Any, ...]]:
    """Return (series, bucket's beginning, min, mean, max, count) of readings ordered by series and time."""
    if not len(rows.series):
        return []
    bucket = rows.time // step * step
    begins = np.flatnonzero(np.append(True, (np.diff(rows.series) != 0) | (np.diff(bucket) != 0)))
    count = np.diff(np.append(begins, len(bucket)))
    low, total, high = (function.reduceat(rows.value, begins) for function in (np.minimum, np.add, np.maximum))
    parts = (rows.series[begins], bucket[begins], low, total / count, high, count)
    return list(zip(*(part.tolist() for part in parts), strict=True))


def _only(series: Sequence[int]) -> str:
    return f'series=~"{"|".join(str(one) for one in series)}"'


def _number(text: str, url: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise SettingsError("settle_s is no number of seconds", where=url, expected="seconds, such as settle_s=20")
    return seconds


def _flags(metrics: str) -> dict[str, str]:
    """Return the command-line flags that the server tells among its metrics."""
    return dict(re.findall(r'^flag\{name="([^"]+)", value="([^"]*)"', metrics, re.MULTILINE))


def _period_ms(period: str) -> int | None:
    """Return the milliseconds of -retentionPeriod; None where it is not known."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([hdwmy]?)", period)
    return None if parts is None else round(float(parts[1]) * _UNITS[parts[2]] * 1000)


__all__ = ["VictoriaStore"]
