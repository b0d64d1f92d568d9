"""InfluxDB 2 as reading store: line protocol in, Flux out, through influxdb-client.

Measurement ``reading``, tag ``series``, fields ``value`` and ``quality``. A point is named by measurement, tags and
time, so that writing again changes nothing; but another value at the same time would overwrite. Hence readings that
are not newer than all before of their series are looked up first; the usual ones are not.

Writes are synchronous: the client's batching API drops what it cannot deliver. Sources: InfluxDB v2.7 documentation,
"Line protocol", "Write data with the InfluxDB API", "Flux data scripting language".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import urllib3
from influxdb_client import InfluxDBClient, WritePrecision  # pyright: ignore[reportPrivateImportUsage]  # its documented import
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from ingest.store import Latest, Written, columns
from sensors.clock import from_ms, to_ms
from sensors.reading import Batch
from twin.errors import SettingsError, UnavailableError

TIMEOUT_MS = 10_000
CHUNK_LINES = 5000
"""Lines a request: the size that the documentation recommends ("Optimize writes to InfluxDB")."""

_Key = tuple[int, int]


class InfluxStore:
    """Keeps readings in the bucket of an ``influx+http://host:8086/ORG/BUCKET`` url (or ``influx+https``)."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url.removeprefix("influx+"))
        names = parts.path.strip("/").split("/")
        if parts.scheme not in {"http", "https"} or not parts.hostname or len(names) != 2 or not all(names):
            raise SettingsError("is no InfluxDB bucket", where=url, expected="influx+http://host:8086/ORG/BUCKET")
        self._org, self._bucket = names
        self._where = f"{parts.scheme}://{parts.netloc}"
        self._client = InfluxDBClient(self._where, token, org=self._org, timeout=TIMEOUT_MS)
        self._newest: dict[int, int] | None = None

    def write(self, batch: Batch) -> Written:
        """Keep the batch before returning; UnavailableError when the server does not take it (nothing is assumed)."""
        newest = self._newest_times()
        known = self._known(batch, newest)
        fresh: dict[_Key, float] = {}
        lines: list[str] = []
        conflicts: list[int] = []
        rows = zip(*(c.tolist() for c in (batch.series, batch.time, batch.value, batch.quality)), strict=True)
        for at, (series, time, value, quality) in enumerate(rows):
            held = known.get((series, time), fresh.get((series, time)))
            if held is None:
                fresh[series, time] = value
                lines.append(f"reading,series={series} value={value!r},quality={quality}i {time}")
            elif held != value:
                conflicts.append(at)
        api = self._client.write_api(write_options=SYNCHRONOUS)
        for first in range(0, len(lines), CHUNK_LINES):
            with self._told():
                body = "\n".join(lines[first : first + CHUNK_LINES])
                precision: Any = WritePrecision.MS  # a str, though the client declares its own class
                api.write(self._bucket, self._org, body, precision)
        for series, time in fresh:
            newest[series] = max(time, newest.get(series, time))
        return Written(len(lines), len(batch) - len(lines) - len(conflicts), np.array(conflicts, np.intp))

    def read(
        self, series: Sequence[int], start: datetime, end: datetime, every: timedelta | None = None
    ) -> pd.DataFrame:
        """Return readings of [start, end), or buckets of the length `every`; columns as of the protocol."""
        names = ["value", "quality"] if every is None else ["min", "mean", "max", "count"]
        wanted = sorted(set(series))
        if not wanted or end <= start:
            return columns([], names)
        source = f"{self._source(start, end)}{_only(wanted)}"
        if every is None:
            found = self._records(f"{source}{_PIVOT}")
            rows = [(int(r["series"]), to_ms(r["_time"]), r["value"], r["quality"]) for r in found]
        else:
            rows = self._buckets(source, round(every / timedelta(milliseconds=1)))
        return columns(sorted(rows), names)

    def latest(self) -> Latest:
        """Return the newest reading of every series."""
        source = self._source(from_ms(0), from_ms(2**42))
        rows = sorted(
            (int(r["series"]), to_ms(r["_time"]), r["value"], r["quality"])
            for r in self._records(f"{source} |> last(){_PIVOT}")
        )
        series, time, value, quality = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Latest(
            np.array(series, np.int32), np.array(time, np.int64), np.array(value), np.array(quality, np.uint8)
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _newest_times(self) -> dict[int, int]:
        if self._newest is None:
            latest = self.latest()
            self._newest = dict(zip(latest.series.tolist(), latest.time.tolist(), strict=True))
        return self._newest

    def _known(self, batch: Batch, newest: dict[int, int]) -> dict[_Key, float]:
        """Return what the bucket holds of readings that are not newer than everything before of their series."""
        late = [
            (series, time)
            for series, time in zip(batch.series.tolist(), batch.time.tolist(), strict=True)
            if time <= newest.get(series, -1)
        ]
        if not late:
            return {}
        times = [time for _, time in late]
        frame = self.read(sorted({series for series, _ in late}), from_ms(min(times)), from_ms(max(times) + 1))
        held = zip(frame["series"], frame["time"].dt.as_unit("ms").astype("int64"), frame["value"], strict=True)
        return {(int(series), int(time)): float(value) for series, time, value in held}

    def _buckets(self, source: str, step_ms: int) -> list[tuple[Any, ...]]:
        rows: dict[_Key, dict[str, Any]] = defaultdict(dict)
        for name in ("min", "mean", "max", "count"):
            window = f'aggregateWindow(every: {step_ms}ms, fn: {name}, createEmpty: false, timeSrc: "_start")'
            for r in self._records(f'{source} |> filter(fn: (r) => r._field == "value") |> {window}'):
                # A first window that the range cuts begins where the range does; its bucket began before.
                rows[int(r["series"]), to_ms(r["_time"]) // step_ms * step_ms][name] = r["_value"]
        return [(*key, row["min"], row["mean"], row["max"], row["count"]) for key, row in rows.items()]

    def _source(self, start: datetime, end: datetime) -> str:
        span = f"start: {_rfc3339(start)}, stop: {_rfc3339(end)}"
        return f'from(bucket: "{self._bucket}") |> range({span}) |> filter(fn: (r) => r._measurement == "reading")'

    def _records(self, flux: str) -> list[dict[str, Any]]:
        with self._told():
            tables = self._client.query_api().query(flux, org=self._org)
        return [record.values for table in tables for record in table.records]  # noqa: PD011  # Flux, not pandas

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except ApiException as error:
            what = f"HTTP {error.status} {str(error.body or error.reason)[:200]}"
            raise UnavailableError(what, where=self._where, expected="InfluxDB 2") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(str(error), where=self._where, expected="InfluxDB 2") from error


_PIVOT = ' |> pivot(rowKey: ["_time", "series"], columnKey: ["_field"], valueColumn: "_value")'


def _only(series: Sequence[int]) -> str:
    wanted = " or ".join(f'r.series == "{one}"' for one in series)
    return f" |> filter(fn: (r) => {wanted})"


def _rfc3339(moment: datetime) -> str:
    return from_ms(to_ms(moment)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["InfluxStore"]
