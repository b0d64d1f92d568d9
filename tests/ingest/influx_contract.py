"""A strict HTTP server with the documented contract of InfluxDB 2.7, for what the store uses of it.

No InfluxDB 2 can be had from the package sources of the tests, so this stands in for it: it refuses whatever the
documentation does not allow, and keeps points in memory. Each rule names its page of docs.influxdata.com/influxdb/v2.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ORG, BUCKET, TOKEN, WRITE_TOKEN = "water", "readings", "secret-token", "token-that-may-only-write"

# reference/syntax/line-protocol: measurement,tag_set field_set timestamp; integers end in i; NaN and Inf are no floats.
LINE = re.compile(r"reading,series=(\d+) value=(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?),quality=(\d+)i (\d+)")

Point = dict[str, Any]


class InfluxContract(ThreadingHTTPServer):
    """Listens on a free loopback port from construction on.

    `refuse` is an HTTP status to answer writes with, `retry_after` its header; `poison` are the series whose points
    conflict with the bucket's schema; `malformed` those whose lines it cannot parse; `largest` is the size in bytes
    past which a request is too large; `retention_s` the bucket's, None where there is no bucket.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.points: dict[tuple[int, int], Point] = {}
        self.refuse = 0
        self.retry_after = ""
        self.poison: set[int] = set()
        self.malformed: set[int] = set()
        self.largest = 50_000_000
        self.retention_s: int | None = 0
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
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
    wbufsize = -1  # headers and body in one segment: the client's delayed acknowledgement would cost 40 ms

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        del format, args

    def do_GET(self) -> None:
        parts = self._begun()
        query = parse_qs(parts.query)
        if parts.path == "/health":  # api/v2, GET /health: needs no token
            self._json(200, {"name": "influxdb", "status": "pass", "message": "ready for queries and writes"})
        elif not self._may("read"):
            return
        elif parts.path == "/api/v2/buckets":
            # api/v2, GET /api/v2/buckets: name and org narrow the list.
            there = self.server.retention_s is not None and query.get("name") == [BUCKET] and query.get("org") == [ORG]
            self._json(200, {"buckets": [self._bucket()] if there else []})
        elif parts.path == "/api/v2/orgs" and query.get("org") == [ORG]:
            self._json(200, {"orgs": [{"id": "00000000000000aa", "name": ORG}]})
        else:
            self._error(404, "not found", "path not found")

    def do_POST(self) -> None:
        parts, body = self._begun(), self._body()
        if parts.path == "/api/v2/write":
            if self._may("write"):
                self._write(parse_qs(parts.query), body.decode())
        elif not self._may("read"):
            return
        elif parts.path == "/api/v2/query":
            self._query(parse_qs(parts.query), json.loads(body))
        elif parts.path == "/api/v2/buckets":
            # api/v2, POST /api/v2/buckets: orgID, name and retentionRules; 201 with the bucket.
            asked = json.loads(body)
            if asked.get("orgID") != "00000000000000aa" or asked.get("name") != BUCKET:
                self._error(400, "invalid", "orgID or name")
                return
            self.server.retention_s = _every(asked)
            self._json(201, self._bucket())
        else:
            self._error(404, "not found", "path not found")

    def do_PATCH(self) -> None:
        parts, body = self._begun(), self._body()
        if not self._may("read"):
            return
        if parts.path != "/api/v2/buckets/00000000000000bb":
            self._error(404, "not found", "bucket not found")
            return
        self.server.retention_s = _every(json.loads(body))
        self._json(200, self._bucket())

    def _begun(self) -> Any:
        parts = urlsplit(self.path)
        self.server.requests.append(f"{self.command} {parts.path}")
        return parts

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # write-data/best-practices/optimize-writes: use gzip compression
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _may(self, right: str) -> bool:
        # api-guide/api_intro, Authentication: "Authorization: Token YOUR_API_TOKEN"; else 401 unauthorized.
        # admin/tokens: a token has the rights it was made with, and is refused what is not among them.
        given = self.headers.get("Authorization")
        if given == f"Token {TOKEN}" or (given == f"Token {WRITE_TOKEN}" and right == "write"):
            return True
        self._body() if self.command == "PATCH" else None
        self._error(401, "unauthorized", "unauthorized access")
        return False

    def _bucket(self) -> dict[str, Any]:
        rules = [{"type": "expire", "everySeconds": self.server.retention_s, "shardGroupDurationSeconds": 604_800}]
        return {
            "id": "00000000000000bb",
            "orgID": "00000000000000aa",
            "type": "user",
            "name": BUCKET,
            "retentionRules": rules if self.server.retention_s else [],
        }

    def _write(self, query: dict[str, list[str]], body: str) -> None:
        # api/v2, POST /api/v2/write: org and bucket are required; precision is one of ms, s, us, ns (default ns).
        if query.get("org") != [ORG] or query.get("bucket") != [BUCKET] or query.get("precision") != ["ms"]:
            self._error(400, "invalid", "org, bucket or precision")
            return
        if self.server.retention_s is None:  # write-data/troubleshoot: 404, the bucket is not found
            self._error(404, "not found", f'bucket "{BUCKET}" not found')
            return
        if self.server.refuse:  # write-data/troubleshoot: 429 and 503 say in Retry-After when to try again
            self._error(self.server.refuse, "unavailable", "try again", self.server.retry_after)
            return
        if len(body) > self.server.largest:  # write-data/troubleshoot: 413, "all request data was rejected"
            self._error(413, "request too large", "payload exceeds the size limit")
            return
        points: list[Point] = []
        for line in body.split("\n"):
            match = LINE.fullmatch(line)
            if not match or int(match[1]) in self.server.malformed:
                # write-data/troubleshoot: 400, "contains the first malformed line", and nothing was written
                self._error(400, "invalid", f"unable to parse '{line}': invalid")
                return
            series, value, quality, moment = match.groups()
            points.append({"series": int(series), "value": float(value), "quality": int(quality), "time": int(moment)})
        self._keep(points)

    def _keep(self, points: list[Point]) -> None:
        # write-data/troubleshoot: 422, "some or all of the data has been rejected. Data that has not been rejected is
        # ingested": points past the bucket's retention, and points whose field has another type in the bucket.
        retention_ms = 1000 * (self.server.retention_s or 0)
        oldest = time.time() * 1000 - retention_ms if retention_ms else 0
        taken = [p for p in points if p["time"] >= oldest and p["series"] not in self.server.poison]
        for point in taken:  # reference/syntax/line-protocol, Duplicate points: fields of the newest write hold
            self.server.points[point["series"], point["time"]] = point
        if len(taken) < len(points):
            what = f"partial write: points beyond retention policy or conflicting dropped={len(points) - len(taken)}"
            self._error(422, "unprocessable entity", f"failure writing points to database: {what}")
        else:
            self._answer(204, "", b"")

    def _query(self, query: dict[str, list[str]], body: dict[str, Any]) -> None:
        # api/v2, POST /api/v2/query: {"query": flux, "type": "flux", "dialect": {…}}, answered as CSV; with no
        # annotations asked for, header row and data rows.
        if query.get("org") != [ORG] or body.get("type", "flux") != "flux":
            self._error(400, "invalid", "org or type")
            return
        dialect = body.get("dialect", {})
        if dialect.get("annotations") != [] or dialect.get("header") is not True:
            self._error(400, "invalid", "only answers without annotations are served here")
            return
        try:
            text = _flux(body["query"], list(self.server.points.values()))
        except ValueError as error:
            self._error(400, "invalid", f"error @1: {error}")
            return
        self._answer(200, "text/csv; charset=utf-8", text.encode())

    def _error(self, status: int, code: str, message: str, retry_after: str = "") -> None:
        self._json(status, {"code": code, "message": message}, retry_after)  # api/v2, Error

    def _json(self, status: int, what: dict[str, Any], retry_after: str = "") -> None:
        self._answer(status, "application/json", json.dumps(what).encode(), retry_after)

    def _answer(self, status: int, kind: str, body: bytes, retry_after: str = "") -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _every(bucket: dict[str, Any]) -> int:
    return sum(rule["everySeconds"] for rule in bucket.get("retentionRules", ()) if rule["type"] == "expire")


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
    # universe/group: without columns, all tables become one; universe/keep: only these columns stay.
    _match(r"group\(\)", rest.pop())
    kept = _match(r'keep\(columns: \["series", "_time", (.+)\]\)', rest.pop()).group(1)
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
        _match('"value", "quality"', kept)
        rows = [f"{_rfc3339(p['time'])},{p['quality']},{p['series']},{p['value']!r}" for p in points]
        return _csv("_time,quality,series,value", rows)
    if len(rest) == 2:
        _match(r'filter\(fn: \(r\) => r._field == "value"\)', rest[0])
        _match('"_value"', kept)
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
    rows = [f"{_rfc3339(moment)},{functions[name](values)!r},{series}" for (series, moment), values in windows.items()]
    return _csv("_time,_value,series", rows)


def _csv(names: str, rows: list[str]) -> str:
    # reference/syntax/annotated-csv: a header row, CRLF line ends, an empty answer for no rows; without annotations
    # the first column is empty, result and table follow.
    if not rows:
        return "\r\n"
    return "\r\n".join([f",result,table,{names}", *(f",_result,0,{row}" for row in rows), "", ""])


def _match(pattern: str, text: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text)
    if not match:
        raise ValueError(f"{text} is not {pattern}")
    return match


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _rfc3339(ms: int) -> str:
    # reference/syntax/annotated-csv, dateTime:RFC3339: no more digits of the second than it needs
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
