"""InfluxDB 2 as reading store: line protocol in, Flux out, through influxdb-client.

Writes are synchronous: the client's batching API drops what it cannot deliver. Sources: InfluxDB v2.7 documentation,
"Write data with the InfluxDB API", "Manage buckets", "Flux data scripting language", "Annotated CSV".
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import structlog
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.dialect import Dialect
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from numpy.typing import NDArray

from ingest.store import Retention
from ingest.store.http import CONNECT_S, READ_S, Meaning, outage, refusal, server, silent, understood
from ingest.store.line_store import LineStore
from ingest.store.newest import Rows
from sensors.clock import from_ms
from twin.errors import SettingsError, UnavailableError

logger = structlog.get_logger()

_EVERYTHING = 2**42
"""A time in ms past all readings: the year 2109."""


class LineWriter:
    """Writes line protocol into a bucket with influxdb-client: of InfluxDB 2, and of whoever takes the same requests.

    `scheme` is the word before the token in the Authorization header.
    """

    def __init__(self, base: str, token: str, org: str, bucket: str, *, expected: str, scheme: str = "Token") -> None:
        timeout_ms: Any = (1000 * CONNECT_S, 1000 * READ_S)  # declared an int, documented as either
        self.client = InfluxDBClient(base, token, org=org, timeout=timeout_ms)
        if token and scheme != "Token":
            headers: Any = self.client.api_client
            headers.default_headers["Authorization"] = f"{scheme} {token}"
        self._org, self._bucket = org, bucket
        self._where, self._expected = base, expected
        self._api = self.client.write_api(write_options=SYNCHRONOUS)

    def send(self, body: bytes) -> None:
        """Write lines, on whose times stand ms; RefusedError where some are refused, else UnavailableError."""
        precision: Any = WritePrecision.MS  # a str, though the client declares its own class
        with self.told(refusal):
            self._api.write(self._bucket, self._org, body, precision)

    @contextmanager
    def told(self, meaning: Meaning = outage) -> Generator[None]:
        """Turn the client's errors into the project's; only lines that are written can be refused for good."""
        try:
            yield
        except ApiException as error:
            said = error.body or error.reason or ""
            raise meaning(error.status or 0, error.headers or {}, said, self._where, self._expected) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise silent(error, self._where, self._expected) from error

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
        self.client.close()


class InfluxStore(LineStore):
    """Keeps readings in the bucket of an ``influx+http://host:8086/ORG/BUCKET`` url (or ``influx+https``).

    With a retention the bucket is made where there is none, and given that retention where it has another; that takes
    a token that may do so. A token that may only write is enough for a bucket that is set up.
    """

    def __init__(self, url: str, token: str = "", retention: Retention | None = None) -> None:
        super().__init__(retention)
        expected = "influx+http://host:8086/ORG/BUCKET"
        parts = server(url, "influx", expected)
        names = parts.path.strip("/").split("/")
        if len(names) != 2 or not all(names):
            raise SettingsError("is no InfluxDB bucket", where=url, expected=expected)
        self._org, self._bucket = names
        self._where = f"{parts.scheme}://{parts.netloc}"
        self._writer = LineWriter(self._where, token, self._org, self._bucket, expected="InfluxDB 2")
        self._is_set_up = False

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()

    def _set_up(self, retention: Retention) -> None:
        if self._is_set_up:
            return
        seconds = 0 if retention.readings is None else round(retention.readings / timedelta(seconds=1))
        rules = [BucketRetentionRules(type="expire", every_seconds=seconds)]
        api = self._writer.client.buckets_api()
        try:
            bucket = self._found()
            with self._writer.told():
                if bucket is None:
                    api.create_bucket(bucket_name=self._bucket, org=self._org, retention_rules=rules)
                    logger.info("bucket_created", bucket=self._bucket, retention_s=seconds)
                elif sum(rule.every_seconds or 0 for rule in bucket.retention_rules) != seconds:
                    bucket.retention_rules = rules
                    api.update_bucket(bucket)
                    logger.info("bucket_retention_set", bucket=self._bucket, retention_s=seconds)
        except UnavailableError as error:
            if not error.what.startswith(("HTTP 401", "HTTP 403")):
                raise
            # A token that may only write sees no buckets; the write itself tells whether there is one.
            logger.warning("bucket_not_checked", bucket=self._bucket, error=str(error))
        self._is_set_up = True

    def _found(self) -> Any:
        """Return the bucket, or None where there is none."""
        try:
            with self._writer.told():
                found = self._writer.client.buckets_api().find_buckets(name=self._bucket, org=self._org)
        except UnavailableError as error:
            if error.what.startswith("HTTP 404"):
                return None
            raise
        return next(iter(found.buckets or ()), None)

    def _send(self, body: bytes) -> None:
        self._writer.send(body)

    def _rows(self, series: Sequence[int], first: int, last: int) -> Rows:
        return self._pivoted(f"{self._source(first, last)}{_only(series)}")

    def _last(self, since: int | None, series: Sequence[int] | None) -> Rows:
        some = "" if series is None else _only(series)
        return self._pivoted(f"{self._source(since or 0, _EVERYTHING)}{some} |> last()")

    def _buckets(self, series: Sequence[int], first: int, last: int, step: int) -> list[tuple[Any, ...]]:
        source = f'{self._source(first, last)}{_only(series)} |> filter(fn: (r) => r._field == "value")'
        rows: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
        for name in ("min", "mean", "max", "count"):
            window = f'aggregateWindow(every: {step}ms, fn: {name}, createEmpty: false, timeSrc: "_start")'
            frame = self._table(f"{source} |> {window}", "_value")
            for series_number, moment, value in zip(frame["series"], _ms(frame), frame["_value"], strict=True):
                # A first window that the range cuts begins where the range does; its bucket began before.
                rows[int(series_number), int(moment) // step * step][name] = value
        return [(*key, row["min"], row["mean"], row["max"], row["count"]) for key, row in rows.items()]

    def _source(self, first: int, last: int) -> str:
        span = f"start: {_rfc3339(first)}, stop: {_rfc3339(last)}"
        return f'from(bucket: "{self._bucket}") |> range({span}) |> filter(fn: (r) => r._measurement == "reading")'

    def _pivoted(self, flux: str) -> Rows:
        pivot = 'pivot(rowKey: ["_time", "series"], columnKey: ["_field"], valueColumn: "_value")'
        frame = self._table(f"{flux} |> {pivot}", "value", "quality")
        numbers = (frame["series"].to_numpy(np.int32), _ms(frame), frame["value"].to_numpy(np.float64))
        return Rows.joined([Rows(*numbers, frame["quality"].to_numpy(np.uint8))])

    def _table(self, flux: str, *fields: str) -> pd.DataFrame:
        """Return the answer as one table: series, _time and `fields`."""
        names = ["series", "_time", *fields]
        kept = ", ".join(f'"{name}"' for name in names)
        text = f"{flux} |> keep(columns: [{kept}]) |> group()"
        with self._writer.told():
            answer = self._writer.client.query_api().query_raw(text, self._org, Dialect(annotations=[], header=True))
        body = answer.data
        if not body.strip():
            return pd.DataFrame(columns=pd.Index(names))
        with understood(self._where, "annotated CSV"):
            return pd.read_csv(io.BytesIO(body), usecols=names)


def _ms(frame: pd.DataFrame) -> NDArray[np.int64]:
    times = pd.to_datetime(frame["_time"], utc=True, format="ISO8601")
    return times.dt.as_unit("ms").to_numpy("datetime64[ms]").astype(np.int64)


def _only(series: Sequence[int]) -> str:
    wanted = " or ".join(f'r.series == "{one}"' for one in series)
    return f" |> filter(fn: (r) => {wanted})"


def _rfc3339(moment: int) -> str:
    return from_ms(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["InfluxStore", "LineWriter"]
