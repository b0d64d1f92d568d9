"""The gate in front of everything that is served: only the dashboard's own pages may ask for anything.

The dashboard has no login, so whoever reaches it may acknowledge alarms. On the loopback that is whoever sits at the
machine, and every web page that is open in a browser there. Two tricks of such pages are shut out: a request that a
foreign page sends across (its Origin is not ours), and a foreign name that is made to point at this machine (DNS
rebinding: then Origin and Host agree, but the name is nobody's here).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CLOSE_POLICY = 1008


class OwnPagesOnly:
    """ASGI middleware; `names` are those under which a proxy or a name server leads to the dashboard."""

    def __init__(self, app: ASGIApp, *, names: Collection[str] = ()) -> None:
        self._app = app
        self._names = frozenset({"localhost", *(name.lower() for name in names)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it: 403 in JSON, or a socket that is not opened."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        why = self._why_not(scope)
        if why is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _CLOSE_POLICY})
        else:
            await JSONResponse({"error": "E_ORIGIN", "message": why}, 403)(scope, receive, send)

    def _why_not(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_ours(f"//{host}", self._names):
            return f"this dashboard is not called {host}; add the name to web.names"
        if scope["type"] == "http" and scope["method"] in _READING:
            return None
        origin = headers.get("origin")
        if same_origin(origin, host) or _name_of(origin or "") in self._names - {"localhost"}:
            return None
        return "this request comes from another site"


def is_ours(url: str, names: Collection[str]) -> bool:
    """Say whether a URL leads to one of `names`, or to a plain address, which no foreign name server can give away.

    >>> is_ours("//127.0.0.1:8050", ()), is_ours("//[::1]:8050", ()), is_ours("//evil.example:8050", ["city.example"])
    (True, True, False)
    """
    name = _name_of(url)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def same_origin(origin: str | None, host: str) -> bool:
    """Say whether a request comes from our own pages: browsers send `origin`, programs need not.

    >>> same_origin("http://127.0.0.1:8050", "127.0.0.1:8050"), same_origin("http://evil.example", "127.0.0.1:8050")
    (True, False)
    >>> same_origin(None, "127.0.0.1:8050"), same_origin("http://[", "127.0.0.1:8050")
    (True, False)
    """
    return origin is None or origin.partition("://")[2] == host


def _name_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # brackets without an address in them
        return ""
