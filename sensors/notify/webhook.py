"""The channel ``webhook``: messages posted to a URL, as JSON or CAP, signed.

The signature is that of Standard Webhooks 1.0 (standardwebhooks.com): ``webhook-signature: v1,BASE64`` is the
HMAC-SHA256 of ``{webhook-id}.{webhook-timestamp}.{body}``. The id is the message's and stays the same when it comes
again; a receiver refuses timestamps that are minutes away from its own, and remembers ids.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import urllib3

from sensors.notify import Message, Options, decoded
from sensors.notify.cap import MIME_TYPE, Cap, CapOptions
from sensors.notify.message import encode
from twin.errors import RefusedError, SettingsError, UnavailableError

PREFIX = "whsec_"
"""What a secret in base64 begins with (Standard Webhooks, "Signature scheme"); another is taken as it stands."""

LEAST_SECRET_BYTES = 24
"""No secret is shorter (as there: 24 to 64 bytes)."""

FINAL = frozenset({400, 405, 410, 413, 414, 415, 422, 501, 505})
"""Statuses (RFC 9110, 15.5 and 15.6) that say that this message will never be taken; with 3xx, which is not followed.
Others may be mended while we try: a login, a proxy, a service that is being put up."""


class WebhookOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the channel: where to, the file that holds the secret, what is posted, and how long it may take."""

    url: str
    secret_file: Path | None = None
    format: Literal["json", "cap"] = "json"
    cap: CapOptions | None = None
    ca: Path | None = None
    timeout_s: float = 10.0


class WebhookNotifier:
    """Posts messages; `now_s` is the machine's time in seconds since 1970, for the signature."""

    def __init__(self, options: WebhookOptions, now_s: Callable[[], float] = time.time) -> None:
        parts = urlsplit(options.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError("is no URL of http or https", where="url", expected="https://host/…")
        if options.format == "cap" and options.cap is None:
            raise SettingsError("is missing", where="cap", expected="the section of CAP: who sends")
        if not 0 < options.timeout_s <= 30:
            raise SettingsError(f"is {options.timeout_s}", where="timeout_s", expected="more than 0, at most 30 s")
        self._url = options.url
        self._host = parts.hostname
        self._secret = None if options.secret_file is None else secret(options.secret_file)
        self._cap = None if options.cap is None or options.format == "json" else Cap(options.cap)
        self._now_s = now_s
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(total=options.timeout_s),
            ca_certs=None if options.ca is None else str(options.ca),
        )

    @classmethod
    def build(cls, options: Options) -> WebhookNotifier:
        """Return the channel of `options` (`WebhookOptions`)."""
        return cls(decoded(options, WebhookOptions))

    def send(self, message: Message, to: str) -> None:
        """Post a message; `to` is told in CAP only. Errors as of `Notifier`."""
        body = encode(message) if self._cap is None else self._cap.document(message, to)
        stamp = str(int(self._now_s()))
        headers = {
            "Content-Type": "application/json" if self._cap is None else MIME_TYPE,
            "User-Agent": "chengmai",
            "webhook-id": message.id,
            "webhook-timestamp": stamp,
        }
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, message.id, stamp, body)
        try:
            answer = self._pool.request("POST", self._url, body=body, headers=headers, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnavailableError(_reason(error), where=self._host, expected="an answer") from None
        if 200 <= answer.status < 300:
            return
        if answer.status in FINAL or 300 <= answer.status < 400:
            raise RefusedError(f"answers {answer.status}", where=self._host, expected="2xx")
        after = answer.headers.get("Retry-After", "")
        raise UnavailableError(
            f"answers {answer.status}",
            where=self._host,
            expected="2xx",
            retry_s=float(after) if after.isdecimal() else None,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def signature(secret: bytes, message_id: str, stamp: str, body: bytes) -> str:
    """Return the header ``webhook-signature`` of a body posted at `stamp` (seconds since 1970, as sent).

    >>> key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> body = b'{"test": 2432232314}'
    >>> signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def secret(file: Path) -> bytes:
    """Return the secret that a file holds; SettingsError where it cannot be read or is too short."""
    try:
        text = file.read_text("utf-8").strip()
        found = base64.b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else text.encode()
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(reason, where=f"secret_file {file}", expected="a secret, or whsec_ and base64") from None
    if len(found) < LEAST_SECRET_BYTES:
        raise SettingsError(
            f"holds {len(found)} bytes", where=f"secret_file {file}", expected=f"at least {LEAST_SECRET_BYTES}"
        )
    return found


def _reason(error: Exception) -> str:
    """Return what went wrong in a line, without the URL, which may hold a token."""
    inner = error.__cause__ or error.__context__
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "does not answer in time"
    return getattr(inner, "strerror", None) or type(error).__name__


__all__ = ["WebhookNotifier", "WebhookOptions", "secret", "signature"]
