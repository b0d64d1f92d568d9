"""InfluxDB 1, and any server that answers InfluxQL, as reading store: ``/write`` and ``/query``.

Sources: InfluxDB v1 documentation, "InfluxDB API reference" (/write, /query), "Explore data using InfluxQL",
"Manage your database using InfluxQL".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import structlog
import urllib3

from ingest.store import Retention
from ingest.store.http import Http, server
from ingest.store.line_store import LineStore
from ingest.store.newest import Rows
from twin.errors import SettingsError, UnavailableError

logger = structlog.get_logger()

_SERIES = '"series"'  # a word of InfluxQL, hence in quotes
_TWO_DAYS_S, _HALF_YEAR_S = 2 * 86_400, 180 * 86_400
# "Manage your database using InfluxQL", shard group duration: what the server would choose itself for a new policy
_BY_SERIES = f"GROUP BY {_SERIES}"


class _Table(msgspec.Struct):
    """A series of an answer: values are (time in ms, then what was selected)."""

    tags: dict[str, str] = {}
    values: list[list[float | int | str | bool | None]] = []


class _Result(msgspec.Struct):
    series: list[_Table] = []
    error: str = ""
    partial: bool = False


class _Answer(msgspec.Struct):
    results: list[_Result] = []
    error: str = ""


class InfluxQLStore(LineStore):
    """Keeps readings in the database of an ``influxql+http://host:8086/DATABASE`` url (or ``influxql+https``).

    The token is ``user:password``, or empty where the server asks for none. With a retention the database is made where
    there is none, and its default retention policy given that duration.
    """

    def __init__(self, url: str, token: str = "", retention: Retention | None = None) -> None:
        super().__init__(retention)
        expected = "influxql+http://host:8086/DATABASE"
        parts = server(url, "influxql", expected)
        self._database = parts.path.strip("/")
        if not self._database or set(self._database) & set('/"\\'):
            raise SettingsError("names no InfluxDB 1 database", where=url, expected=expected)
        headers = urllib3.make_headers(basic_auth=token) if token else {}
        self._http = Http(f"{parts.scheme}://{parts.netloc}", headers, expected="InfluxDB 1")
        self._is_set_up = False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _set_up(self, retention: Retention) -> None:
        if self._is_set_up:
            return
        seconds = 0 if retention.readings is None else round(retention.readings / timedelta(seconds=1))
        group = "7d" if not seconds or seconds > _HALF_YEAR_S else "1d" if seconds >= _TWO_DAYS_S else "1h"
        duration = f"{seconds}s SHARD DURATION {group}" if seconds else f"INF SHARD DURATION {group}"
        self._ask(f'CREATE DATABASE "{self._database}"')  # no error where there is one
        policies = self._ask(f'SHOW RETENTION POLICIES ON "{self._database}"')
        rows = [row for table in policies for row in table.values]  # name, duration, groups, replicas, default
        name, held = next(((row[0], row[1]) for row in rows if row[-1] is True), ("autogen", ""))
        if _seconds(str(held)) != seconds:
            self._ask(f'ALTER RETENTION POLICY "{name}" ON "{self._database}" DURATION {duration} DEFAULT')
            logger.info("retention_set", database=self._database, policy=name, duration=duration)
        self._is_set_up = True

    def _send(self, body: bytes) -> None:
        self._http.post(f"/write?db={quote(self._database)}&precision=ms", body)

    def _rows(self, series: Sequence[int], first: int, last: int) -> Rows:
        where = f"time >= {first}ms AND time < {last}ms AND ({_only(series)})"
        return _joined(self._ask(f"SELECT value, quality FROM reading WHERE {where} {_BY_SERIES}"))  # noqa: S608  # numbers only

    def _last(self, since: int | None, series: Sequence[int] | None) -> Rows:
        limits = [] if since is None else [f"time >= {since}ms"]
        limits += [] if series is None else [f"({_only(series)})"]
        where = f"WHERE {' AND '.join(limits)} " if limits else ""
        return _joined(self._ask(f"SELECT last(value), quality FROM reading {where}{_BY_SERIES}"))  # noqa: S608  # as above

    def _buckets(self, series: Sequence[int], first: int, last: int, step: int) -> list[tuple[Any, ...]]:
        tables = self._ask(
            "SELECT min(value), mean(value), max(value), count(value) FROM reading "  # noqa: S608  # as above
            f"WHERE time >= {first}ms AND time < {last}ms AND ({_only(series)}) "
            f"GROUP BY time({step}ms), {_SERIES} fill(none)"
        )
        return [(int(table.tags["series"]), *row) for table in tables for row in table.values]

    def _ask(self, text: str) -> list[_Table]:
        """Return the tables that answer one statement; UnavailableError for none, or not all of them."""
        fields = {"q": text, "db": self._database, "epoch": "ms"}
        with self._http.understood():
            answer = msgspec.json.decode(self._http.ask("POST", "/query", fields), type=_Answer)
        error = answer.error or next((result.error for result in answer.results if result.error), "")
        if any(result.partial for result in answer.results):
            error = "not all rows were answered: max-row-limit is set"
        if error:
            raise UnavailableError(error[:300], where=self._http.base, expected="InfluxDB 1")
        return [table for result in answer.results for table in result.series]


def _joined(tables: Sequence[_Table]) -> Rows:
    rows = [(int(table.tags["series"]), *row) for table in tables for row in table.values]
    if not rows:
        return Rows.joined([])
    series, time, value, quality = zip(*rows, strict=True)
    kinds = (np.array(series, np.int32), np.array(time, np.int64), np.array(value, np.float64))
    return Rows.joined([Rows(*kinds, np.array(quality, np.uint8))])


def _only(series: Sequence[int]) -> str:
    return " OR ".join(f"{_SERIES} = '{one}'" for one in series)


def _seconds(duration: str) -> int:
    """Return the seconds of a duration as the server shows it: ``9600h0m0s``, ``0s`` for ever."""
    units = {"h": 3600, "m": 60, "s": 1}
    number, seconds = "", 0
    for sign in duration:
        if sign in units:
            seconds, number = seconds + int(number) * units[sign], ""
        else:
            number += sign
    return seconds


__all__ = ["InfluxQLStore"]
