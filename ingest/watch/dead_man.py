"""The dead man's signal: an outside service is called as long as all is well, and alarms when the calls stop.

It is the one alarm that still works when this machine, its network or its power is gone.
"""

from __future__ import annotations

import threading
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import structlog

from ingest.watch.heartbeats import Heartbeats
from twin.errors import SettingsError

logger = structlog.get_logger()

TIMEOUT_S = 10.0


class DeadMan:
    """Calls `url` (http or https, GET) every `every_s` seconds while the ingest of every district is well.

    Such a URL is a secret, since who knows it can keep a dead city silent: only its host is ever logged, and no
    redirect is followed.
    """

    def __init__(self, url: str, every_s: float, heartbeats: Heartbeats) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError("is no URL of http or https", where="monitor.dead_man_url", expected="https://host/…")
        self._url = url
        self._host = parts.hostname
        self._every_s = every_s
        self._heartbeats = heartbeats
        self._held: str | None = None

    def run(self, stop: threading.Event) -> None:
        """Call until `stop` is set."""
        while not stop.wait(self._every_s):
            self.step()

    def step(self) -> bool:
        """Call once if all is well; whether the call was made and taken."""
        ill = {district: pulse.ill for district, pulse in self._heartbeats.look().items() if pulse.ill}
        if ill:
            self._note("; ".join(f"{district}: {what}" for district, what in ill.items()))
            return False
        try:
            request = Request(self._url, headers={"User-Agent": "chengmai"})  # noqa: S310  # the scheme is checked above
            with _straight().open(request, timeout=TIMEOUT_S) as response:
                response.read(1024)
        except (URLError, OSError, ValueError, HTTPException) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            self._note(f"{self._host} does not take it: {reason}")
            return False
        self._note("")
        return True

    def _note(self, held: str) -> None:
        """Log a change of why no signal goes out."""
        if held != self._held and held:
            logger.error("dead_man_signal_held", why=held)
        elif held != self._held:
            logger.info("dead_man_signal_sent", host=self._host)
        self._held = held


def _straight() -> OpenerDirector:
    """Return what opens a URL and follows no redirect: to this caller that is a refusal like any other."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener


__all__ = ["DeadMan"]
