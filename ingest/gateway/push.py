"""HTTP push: ``POST /api/v1/readings`` takes messages of many devices, and answers with the receipt of each.

::

    {"messages": [{"device": "GM-0044", "data": {"v": 1, "boot": 17, "seq": 4821, "m": {…}}},
                  {"device": "WP-0001", "senml": [{"boot": 3, "seq": 9, "n": "pressure", "v": 0.3}]}]}

``data`` is the native payload, ``senml`` a pack; the bytes go on as they stand in the body. A message needs boot and
seq, since nothing else can name it in a receipt. The answer lists them in their order, each with its receipt or error;
200 says that none is left, 503 with Retry-After that some have neither yet and the whole is to be sent again, which
stores nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.gateway.doorkeeper import Doorkeeper
from ingest.gateway.relay import ANSWER_S, RETRY_S, Relay
from ingest.payload import Decoder
from ingest.payload.native import NativeDecoder
from ingest.payload.senml import SenmlDecoder
from ingest.receipt import Receipt
from ingest.topic import Channel
from sensors.clock import Clock
from sensors.credentials import Credential, Secret
from sensors.device import DeviceId
from twin.errors import BusyError, ChengmaiError, RefusedError, UnavailableError

MAX_BODY = 4 * 1024 * 1024
MAX_MESSAGES = 1_000
BODY_S = 30.0
"""How long a body may take to come."""

_AWAY = "E_UNAVAILABLE"
_LATER = {"retry-after": f"{RETRY_S:.0f}"}
_Headers: TypeAlias = Mapping[str, str]


class Pushed(msgspec.Struct):
    """One message: `data` or `senml`, as it stands in the body."""

    device: str
    data: msgspec.Raw = msgspec.Raw(b"")
    senml: msgspec.Raw = msgspec.Raw(b"")


class Push(msgspec.Struct):
    """The body of a request."""

    messages: list[Pushed]


class Result(msgspec.Struct, omit_defaults=True):
    """What became of one message: its receipt, or an error and its one line."""

    device: str
    receipt: Receipt | None = None
    error: str = ""
    message: str = ""


class Pushing:
    """The application. `clock` is the machine's; `answer_s` is how long a receipt may take."""

    def __init__(self, relay: Relay, doorkeeper: Doorkeeper, clock: Clock, *, answer_s: float = ANSWER_S) -> None:
        self._relay = relay
        self._doorkeeper = doorkeeper
        self._answer_s = answer_s
        self._decoders: dict[Channel, Decoder] = {Channel.DATA: NativeDecoder(), Channel.SENML: SenmlDecoder(clock)}

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/api/v1/readings", self.take, methods=["POST"]),
                Route("/health", self.health, methods=["GET"]),
            ]
        )

    async def health(self, _request: Request) -> Response:
        """Say whether the broker is there."""
        ready = self._relay.connected
        body = {"status": "ok" if ready else "broker away", "waiting": self._relay.waiting}
        return _answer(body, 200 if ready else 503)

    async def take(self, request: Request) -> Response:
        """Take the messages of one request, and answer once each has its receipt or its error."""
        token = _bearer(request)
        try:
            login = await self._doorkeeper.who(token.login, token.secret) if token.login else None
            if login is None:
                return self._unproved(token.login)
            pushed = parse_push(await _body(request))
        except RefusedError as error:
            return _error(error.code, str(error), 413 if error.code == "E_SIZE" else 422)
        except (UnavailableError, BusyError) as error:
            return _error(_AWAY, str(error), 503, _LATER)
        except (TimeoutError, ClientDisconnect):
            return _error("E_TIMEOUT", "the body did not come", 408)
        results = await asyncio.gather(*(self._deliver(login, one) for one in pushed))
        if any(result.error == _AWAY for result in results):
            return _answer({"results": results}, 503, _LATER)
        return _answer({"results": results}, 403 if all(one.error == "E_IDENTITY" for one in results) else 200)

    def _unproved(self, login: str) -> Response:
        if login:
            self._doorkeeper.refuse(login, login)
        what = "the bearer token is not right" if login else "no bearer token"
        return _error("E_IDENTITY", what, 401, {"www-authenticate": 'Bearer realm="chengmai"'})

    async def _deliver(self, login: Credential, one: Pushed) -> Result:
        try:
            if not login.speaks_for(DeviceId(one.device)):
                self._doorkeeper.refuse(login.login, one.device)
                raise RefusedError(f"this token does not speak for {one.device[:64]}", code="E_IDENTITY")
            return Result(one.device, await self._receipt(one))
        except ChengmaiError as error:
            code = _AWAY if isinstance(error, UnavailableError) else error.code
            return Result(one.device, error=code, message=str(error))

    async def _receipt(self, one: Pushed) -> Receipt:
        native, pack = bytes(one.data), bytes(one.senml)
        if bool(native) == bool(pack):
            raise RefusedError("data and senml are both given, or both missing", expected="one of them", code="E_FIELD")
        channel, payload = (Channel.DATA, native) if native else (Channel.SENML, pack)
        topic = self._doorkeeper.topic(one.device, channel)
        if topic is None:
            raise RefusedError(f"device {one.device[:64]} is not in the registry", code="E_DEVICE")
        try:
            message = self._decoders[channel].decode(str(topic), payload)
        except RefusedError:
            self._relay.publish(topic, payload)  # for the quarantine, as it came
            raise
        if message.boot is None or message.seq is None:
            raise RefusedError("no boot and seq", expected="both: without a name there is no receipt", code="E_FIELD")
        return await self._relay.deliver(topic, payload, (message.boot, message.seq), self._answer_s)


def _bearer(request: Request) -> Secret:
    """Return login and secret of the request's bearer token (RFC 6750, 2.1); both empty where there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return Secret.of_bearer(token.strip()) if scheme.lower() == "bearer" else Secret("", "")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(BODY_S):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise RefusedError(f"more than {MAX_BODY} bytes", expected="a smaller batch", code="E_SIZE")
    return bytes(body)


def parse_push(body: bytes) -> list[Pushed]:
    """Return the messages of a request's body, unread; RefusedError E_FIELD, E_JSON or E_COUNT."""
    try:
        pushed = msgspec.json.decode(body, type=Push).messages
    except msgspec.ValidationError as error:
        raise RefusedError(
            str(error), expected='{"messages": [{"device", "data" or "senml"}, …]}', code="E_FIELD"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(str(error), expected="one JSON object", code="E_JSON") from None
    if not 0 < len(pushed) <= MAX_MESSAGES:
        raise RefusedError(f"{len(pushed)} messages", expected=f"1 to {MAX_MESSAGES}", code="E_COUNT")
    return pushed


def _error(code: str, message: str, status: int, headers: _Headers | None = None) -> Response:
    return _answer({"error": code, "message": message}, status, headers)


def _answer(body: Any, status: int, headers: _Headers | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")


__all__ = ["MAX_BODY", "MAX_MESSAGES", "Pushed", "Pushing", "parse_push"]
