"""A strict HTTP server with the documented contract of InfluxDB 2.7, for what the store uses of it.

No InfluxDB 2 can be had from the package sources of the tests, so this stands in for it: it refuses whatever the
documentation does not allow, and keeps points in memory. Each rule names its page of docs.influxdata.com/influxdb/v2.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ORG, BUCKET, TOKEN = "water", "readings", "secret-token"

# reference/syntax/line-protocol: measurement,tag_set field_set timestamp; integers end in i; NaN and Inf are no floats.
LINE = re.compile(r"reading,series=(\d+) value=(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?),quality=(\d+)i (\d+)")

Point = dict[str, Any]


class InfluxContract(ThreadingHTTPServer):
    """Listens on a free loopback port from construction on; `refuse` is an HTTP status to answer writes with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.points: dict[tuple[int, int], Point] = {}
        self.refuse = 0
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"influx+http://127.0.0.1:{self.server_address[1]}/{ORG}/{BUCKET}"

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: InfluxContract
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        del format, args

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)  # write-data/best-practices/optimize-writes: use gzip compression
        self.server.requests.append(parts.path)
        # api-guide/api_intro, Authentication: "Authorization: Token YOUR_API_TOKEN"; else 401 unauthorized.
        if self.headers.get("Authorization") != f"Token {TOKEN}":
            self._error(401, "unauthorized", "unauthorized access")
        elif parts.path == "/api/v2/write":
            self._write(parse_qs(parts.query), body.decode())
        elif parts.path == "/api/v2/query":
            self._query(parse_qs(parts.query), json.loads(body))
        else:
            self._error(404, "not found", "path not found")

    def _write(self, query: dict[str, list[str]], body: str) -> None:
        # api/v2, POST /api/v2/write: org and bucket are required; precision is one of ms, s, us, ns (default ns).
        if query.get("org") != [ORG] or query.get("bucket") != [BUCKET] or query.get("precision") != ["ms"]:
            self._error(400, "invalid", "org, bucket or precision")
            return
        if self.server.refuse:
            self._error(self.server.refuse, "unavailable", "try again")
            return
        points: list[Point] = []
        for line in body.split("\n"):
            match = LINE.fullmatch(line)
            if not match:  # api/v2, POST /api/v2/write, 400: "line protocol poorly formed and no points were written"
                self._error(400, "invalid", f"unable to parse '{line}'")
                return
            series, value, quality, time = match.groups()
            points.append({"series": int(series), "value": float(value), "quality": int(quality), "time": int(time)})
        for point in points:  # reference/syntax/line-protocol, Duplicate points: fields of the newest write hold
            self.server.points[point["series"], point["time"]] = point
        self._answer(204, "", b"")

    def _query(self, query: dict[str, list[str]], body: dict[str, Any]) -> None:
        # api/v2, POST /api/v2/query: {"query": flux, "type": "flux", "dialect": {…}}, answered as annotated CSV.
        if query.get("org") != [ORG] or body.get("type", "flux") != "flux":
            self._error(400, "invalid", "org or type")
            return
        try:
            text = _flux(body["query"], list(self.server.points.values()))
        except ValueError as error:
            self._error(400, "invalid", f"error @1: {error}")
            return
        self._answer(200, "text/csv; charset=utf-8", text.encode())

    def _error(self, status: int, code: str, message: str) -> None:
        # api/v2, Error: {"code", "message"}
        self._answer(status, "application/json", json.dumps({"code": code, "message": message}).encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _flux(text: str, points: list[Point]) -> str:
    """Answer a query made of the stages below, in this order; anything else is refused."""
    source, span, measurement, *rest = text.split(" |> ")
    # query-data/flux/query-influxdb: from() needs a bucket, and range() must follow before anything else.
    _match(rf'from\(bucket: "{BUCKET}"\)', source)
    # reference/flux/stdlib/universe/range: start is inclusive, stop exclusive.
    start, stop = (_ms(text) for text in _match(r"range\(start: (\S+), stop: (\S+)\)", span).groups())
    _match(r'filter\(fn: \(r\) => r._measurement == "reading"\)', measurement)
    if stop <= start:
        raise ValueError("cannot query an empty range")
    points = sorted((p for p in points if start <= p["time"] < stop), key=lambda p: (p["series"], p["time"]))
    if rest and rest[0].startswith("filter(fn: (r) => r.series"):
        condition = _match(r"filter\(fn: \(r\) => (.+)\)", rest.pop(0)).group(1)
        # get-started/query: string tags compare with quoted strings
        wanted = {int(_match(r'r\.series == "(\d+)"', part).group(1)) for part in condition.split(" or ")}
        points = [p for p in points if p["series"] in wanted]
    if rest[:1] == ["last()"]:  # universe/last: the last record of each table, a table being a series
        points = list({p["series"]: p for p in points}.values())
        rest.pop(0)
    pivot = r'pivot\(rowKey: \["_time", "series"\], columnKey: \["_field"\], valueColumn: "_value"\)'
    if len(rest) == 1 and re.fullmatch(pivot, rest[0]):  # universe/pivot: one row a rowKey, one column a field
        rows = [f"{_rfc3339(p['time'])},{p['series']},{p['value']!r},{p['quality']}" for p in points]
        return _csv("dateTime:RFC3339,string,double,long", "_time,series,value,quality", rows)
    if len(rest) == 2:
        _match(r'filter\(fn: \(r\) => r._field == "value"\)', rest[0])
        return _windows(rest[1], points, start)
    raise ValueError(f"stages {rest}")


def _windows(stage: str, points: list[Point], start: int) -> str:
    # universe/aggregateWindow: windows lie on multiples of every since 1970, the first is cut by the range's start;
    # timeSrc "_start" names them; empty ones are dropped with createEmpty: false. count gives integers.
    found = _match(r'aggregateWindow\(every: (\d+)ms, fn: (\w+), createEmpty: false, timeSrc: "_start"\)', stage)
    every, name = int(found.group(1)), found.group(2)
    functions: dict[str, Callable[[list[float]], float]] = {
        "min": min,
        "max": max,
        "mean": lambda values: sum(values) / len(values),
        "count": len,
    }
    windows: dict[tuple[int, int], list[float]] = defaultdict(list)
    for point in points:
        windows[point["series"], max(point["time"] // every * every, start)].append(point["value"])
    rows = [f"{_rfc3339(time)},{series},{functions[name](values)!r}" for (series, time), values in windows.items()]
    kind = "long" if name == "count" else "double"
    return _csv(f"dateTime:RFC3339,string,{kind}", "_time,series,_value", rows)


def _csv(kinds: str, names: str, rows: list[str]) -> str:
    # reference/syntax/annotated-csv: annotation rows, a header row, CRLF line ends, an empty answer for no rows
    if not rows:
        return "\r\n"
    count = names.count(",") + 1
    lines = [
        f"#datatype,string,long,{kinds}",
        "#group" + ",false" * (count + 2),
        "#default,_result" + "," * (count + 1),
        f",result,table,{names}",
        *(f",,0,{row}" for row in rows),
    ]
    return "\r\n".join([*lines, "", ""])


def _match(pattern: str, text: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text)
    if not match:
        raise ValueError(f"{text} is not {pattern}")
    return match


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
