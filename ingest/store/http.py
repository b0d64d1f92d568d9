"""HTTP to a time-series server: time limits, and what its refusals mean.

Sources: RFC 9110, 10.2.3 (Retry-After); InfluxDB v2.7 documentation, "Troubleshoot issues writing data" and API
reference, POST /api/v2/write; InfluxDB v1 documentation, "InfluxDB API reference", /write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec
import urllib3

from twin.errors import RefusedError, SettingsError, UnavailableError

CONNECT_S = 3.0
READ_S = 10.0
LONGEST_RETRY_S = 3600.0

_LINES = ("partial write", "unable to parse")
"""In a 400: some lines of the request are refused, and not the request."""

Meaning: TypeAlias = Callable[[int, Mapping[str, str], bytes | str, str, str], RefusedError | UnavailableError]
"""What a status of 300 or more means: `refusal` of what was written, `outage` of what was asked."""


class Http:
    """Requests to the server at `base` (scheme, host, path); `headers` go with each, and are told to nobody."""

    def __init__(self, base: str, headers: Mapping[str, str], *, expected: str) -> None:
        self.base = base.rstrip("/")
        self._headers = dict(headers)
        self._expected = expected
        # No retries of its own: the forwarder knows when to try again, and what may be sent twice.
        self._pool = urllib3.PoolManager(
            maxsize=4, retries=False, timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S)
        )

    def ask(self, method: str, path: str, fields: Mapping[str, str]) -> bytes:
        """Return what the server answers; `fields` are sent in the body of a POST, else in the address.

        UnavailableError when it does not answer well.
        """
        options: dict[str, Any] = {"encode_multipart": False} if method == "POST" else {}
        return self._answer(outage, method, path, fields=dict(fields), **options)

    def post(self, path: str, body: bytes) -> None:
        """Send lines; RefusedError when some are refused (`refusal`), UnavailableError when none were taken."""
        self._answer(refusal, "POST", path, body=body)

    @contextmanager
    def understood(self) -> Generator[None]:
        """Call it an outage when an answer of the server cannot be read."""
        with understood(self.base, self._expected):
            yield

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _answer(self, meaning: Meaning, method: str, path: str, **what: Any) -> bytes:
        try:
            answer = self._pool.request(method, f"{self.base}{path}", headers=self._headers, **what)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise silent(error, self.base, self._expected) from error
        if answer.status >= 300:
            raise meaning(answer.status, answer.headers, answer.data, self.base, self._expected)
        return answer.data


def server(url: str, kind: str, expected: str) -> SplitResult:
    """Return the address of a ``KIND+http://…`` url; SettingsError for another, and for one that holds a secret."""
    parts = urlsplit(url.removeprefix(f"{kind}+"))
    try:
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "a URL holds no secrets", where=f"{kind}+{parts.scheme}://{parts.hostname}", expected="store.token"
        )
    if not good:
        raise SettingsError("is no address of a server", where=url, expected=expected)
    return parts


def refusal(
    status: int, headers: Mapping[str, str], body: bytes | str, where: str, expected: str
) -> RefusedError | UnavailableError:
    """Return what a status of 300 or more means of a write: lines, or its size, refused for good; else an `outage`.

    422 and a 400 that names lines: "some or all of the data has been rejected"; 413: the request is too large.
    """
    said = _said(body)
    if status in {413, 422} or (status == 400 and any(words in said for words in _LINES)):
        return RefusedError(f"HTTP {status} {said}", where=where, expected=expected, code="E_STORE")
    return outage(status, headers, body, where, expected)


def outage(status: int, headers: Mapping[str, str], body: bytes | str, where: str, expected: str) -> UnavailableError:
    """Return what a status of 300 or more means of a question; 429 and 503 say in Retry-After when to try again.

    VictoriaMetrics answers 422 to a query that passes one of its limits: nobody's readings are to blame for that.
    """
    said = _said(body)
    hint = "; is store.token right?" if status in {401, 403} else ""
    after = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    return UnavailableError(
        f"HTTP {status} {said}{hint}",
        where=where,
        expected=expected,
        retry_s=None if after is None else _seconds(after),
    )


@contextmanager
def understood(where: str, expected: str) -> Generator[None]:
    """Call it an outage when an answer cannot be read: a proxy's page, or half a table."""
    try:
        yield
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        said = f"its answer cannot be read: {type(error).__name__}: {error}"
        raise UnavailableError(said[:300], where=where, expected=expected) from error


def silent(error: Exception, where: str, expected: str) -> UnavailableError:
    """Return what it means that no answer came."""
    reason = getattr(error, "reason", None) or error
    return UnavailableError(f"{type(reason).__name__}: {reason}"[:300], where=where, expected=expected)


def _said(body: bytes | str) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    with suppress(ValueError):  # a proxy's page, then
        answer = json.loads(text)
        if isinstance(answer, dict):
            text = str(answer.get("message") or answer.get("error") or text)
    return " ".join(text.split())[:300]


def _seconds(after: str) -> float | None:
    """Return how long Retry-After asks to wait: it gives seconds, or a date."""
    try:
        wait_s = (
            float(after)
            if after.strip().isdigit()
            else (parsedate_to_datetime(after) - datetime.now(UTC)).total_seconds()
        )
    except (TypeError, ValueError):
        return None
    return min(max(wait_s, 0.0), LONGEST_RETRY_S)


__all__ = ["Http", "Meaning", "outage", "refusal", "server", "silent", "understood"]
