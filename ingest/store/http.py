"""HTTP to a time-series server: time limits, and what its refusals mean.

Sources: RFC 9110, 10.2.3 (Retry-After); InfluxDB v2.7 documentation, "Troubleshoot issues writing data" and API
reference, POST /api/v2/write; InfluxDB v1 documentation, "InfluxDB API reference", /write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import urllib3

from twin.errors import RefusedError, SettingsError, UnavailableError

CONNECT_S = 3.0
READ_S = 10.0
LONGEST_RETRY_S = 3600.0

_LINES = ("partial write", "unable to parse")
"""In a 400: some lines of the request are refused, and not the request."""


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

        UnavailableError when it does not answer well, RefusedError when it refuses lines (`refusal`).
        """
        options: dict[str, Any] = {"encode_multipart": False} if method == "POST" else {}
        return self._answer(method, path, fields=dict(fields), **options)

    def post(self, path: str, body: bytes) -> None:
        """Send `body`; errors as of `ask`."""
        self._answer("POST", path, body=body)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _answer(self, method: str, path: str, **what: Any) -> bytes:
        try:
            answer = self._pool.request(method, f"{self.base}{path}", headers=self._headers, **what)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise silent(error, self.base, self._expected) from error
        if answer.status >= 300:
            raise refusal(answer.status, answer.headers, answer.data, self.base, self._expected)
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
    """Return what a status of 300 or more means: lines, or the size of a request, refused for good; else unavailable.

    422 and a 400 that names lines: "some or all of the data has been rejected"; 413: the request is too large;
    429 and 503 say in Retry-After when to try again.
    """
    said = _said(body)
    if status in {413, 422} or (status == 400 and any(words in said for words in _LINES)):
        return RefusedError(f"HTTP {status} {said}", where=where, expected=expected, code="E_STORE")
    hint = "; is store.token right?" if status in {401, 403} else ""
    after = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    return UnavailableError(
        f"HTTP {status} {said}{hint}",
        where=where,
        expected=expected,
        retry_s=None if after is None else _seconds(after),
    )


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


__all__ = ["Http", "refusal", "server", "silent"]
