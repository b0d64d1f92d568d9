"""The contract's own payload: JSON, straight from bytes into structs.

A message that the strict structs refuse is read again slowly and loosely, so that one bad reading does not take its
neighbours with it, and so that a refusal can still name the message (boot, seq).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
import numpy as np

from ingest.payload import MAX_READINGS, WHOLE, Count, Measurement, Message, Refusal, check_size
from twin.errors import RefusedError

VERSION = 1
MAX_DEPTH = 16
"""Nesting of unknown fields; the contract's own go five deep."""

_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]


class _Value(msgspec.Struct, gc=False):
    v: float
    u: str | None = None
    q: int = 0


class _Envelope(msgspec.Struct, kw_only=True):
    v: int
    boot: Count | None = None
    seq: Count | None = None
    hist: bool = False


class _Strict(_Envelope):
    ts: _Time | None = None
    m: dict[str, _Value] | None = None
    r: list[tuple[_Time, dict[str, _Value]]] | None = None


class _Loose(_Envelope):
    ts: Any = None
    m: dict[str, Any] | None = None
    r: list[Any] | None = None


_AnyMessage = TypeVar("_AnyMessage", _Strict, _Loose)

_strict = msgspec.json.Decoder(_Strict)


class NativeDecoder:
    """Decodes version 1 of the contract's JSON."""

    def decode(self, topic: str, payload: bytes) -> Message:
        """Return the message, or raise RefusedError: E_SIZE, E_UTF8, E_DEPTH, E_JSON, E_FIELD or E_COUNT.

        A message that has a name (boot, seq) and wrong contents is returned, refused as a whole: its receipt has to
        say so, or the device would send it for ever.
        """
        del topic
        check_size(payload)
        check_text(payload)
        check_depth(payload)
        try:
            strict = _strict.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return _named(_loose(payload), _read_loosely)
        return _named(strict, _read)

    def memory(self) -> bytes | None:
        """Return None: every message stands by itself."""
        return None

    def recall(self, memory: bytes) -> None:
        """Take nothing over."""
        del memory


def check_text(payload: bytes) -> None:
    """Refuse what is not UTF-8 (E_UTF8); every JSON format asks."""
    if payload.isascii():
        return
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"byte {error.start} is not UTF-8", code="E_UTF8") from None


def values_of(payload: bytes, expected: str) -> Any:
    """Return what a JSON text says, with NaN and Infinity, which are then refused by name; RefusedError E_JSON, E_UTF8.

    Half a surrogate pair is E_UTF8 (RFC 8259, 8.2: "unpredictable"): no file and no database takes such a text.
    """
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"is not JSON: {error}", expected=expected, code="E_JSON") from None
    if b"\\u" in payload:
        try:
            json.dumps(values, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise RefusedError("half a surrogate pair is no text", code="E_UTF8") from None
    return values


def check_depth(payload: bytes) -> None:
    """Refuse deep nesting before a parser recurses into it (E_DEPTH); every JSON format asks."""
    if payload.count(b"{") + payload.count(b"[") <= MAX_DEPTH:
        return
    if _depth(payload) > MAX_DEPTH and _depth(_STRING.sub(b"", payload)) > MAX_DEPTH:
        raise RefusedError("is nested too deep", expected=f"at most {MAX_DEPTH} levels", code="E_DEPTH")


def _depth(text: bytes) -> int:
    """Return how deep brackets nest, those in strings with them."""
    return int(_STEPS[np.frombuffer(text, np.uint8)].cumsum(dtype=np.int32).max(initial=0))


def _named(message: _AnyMessage, read: Callable[[_AnyMessage], Message]) -> Message:
    """Return what `read` makes of a message, or its refusal as a whole if it has a name."""
    _check_envelope(message)
    try:
        return read(message)
    except RefusedError as error:
        if message.boot is None:
            raise
        refusal = Refusal(WHOLE, error.code, str(error))
        return Message(message.boot, message.seq, message.hist, 1, [], [refusal])


def _read(message: _Strict) -> Message:
    _check_contents(message)
    if message.m is not None:
        time = message.ts
        measurements = [
            Measurement(place, time, point, value.v, value.u, value.q)
            for place, (point, value) in enumerate(message.m.items())
        ]
    else:
        values = [(time, point, value) for time, values in message.r or () for point, value in values.items()]
        measurements = [
            Measurement(place, time, point, value.v, value.u, value.q)
            for place, (time, point, value) in enumerate(values)
        ]
    _check_count(len(measurements))
    return Message(message.boot, message.seq, message.hist, len(measurements), measurements)


def _check_envelope(message: _Envelope) -> None:
    if message.v != VERSION:
        raise RefusedError(f"version {message.v}", expected=f"v = {VERSION}", code="E_FIELD")
    if (message.boot is None) != (message.seq is None):
        raise RefusedError("only one of boot and seq", expected="both, or neither", code="E_FIELD")


def _check_contents(message: _Strict | _Loose) -> None:
    if (message.m is None) == (message.r is None):
        raise RefusedError("m and r are both given, or both missing", expected="one of them", code="E_FIELD")


def _check_count(readings: int) -> None:
    if not 0 < readings <= MAX_READINGS:
        raise RefusedError(f"{readings} readings", expected=f"1 to {MAX_READINGS}", code="E_COUNT")


def _loose(payload: bytes) -> _Loose:
    """Return what the strict structs refuse with its contents unread; RefusedError where that is no message."""
    values = values_of(payload, "one JSON object")
    try:
        return msgspec.convert(values, _Loose)
    except msgspec.ValidationError as error:
        raise RefusedError(str(error), expected="the contract's fields", code="E_FIELD") from None


def _read_loosely(loose: _Loose) -> Message:
    """Find out what is wrong: with the whole (raises), or with single readings (which are then refused alone)."""
    _check_contents(loose)
    rows: list[Any] = [[loose.ts, loose.m]] if loose.m is not None else loose.r or []
    taken: list[Measurement] = []
    refused: list[Refusal] = []
    place = 0
    for row in rows:
        time, point_values = _row(row)
        for point, value in point_values.items():
            reading = _reading(place, time, point, value)
            if isinstance(reading, Measurement):
                taken.append(reading)
            else:
                refused.append(reading)
            place += 1
    _check_count(place)
    return Message(loose.boot, loose.seq, loose.hist, place, taken, refused)


def _row(row: Any) -> tuple[Any, dict[str, Any]]:
    if isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[1], dict):  # pyright: ignore[reportUnknownArgumentType]
        return row[0], row[1]
    raise RefusedError("a row is not [time, {point: {…}}]", expected="r = [[ts, {…}], …]", code="E_FIELD")


def _reading(place: int, time: Any, point: str, value: Any) -> Measurement | Refusal:
    if time is not None and (isinstance(time, bool) or not isinstance(time, int) or not 0 <= time < 2**53):
        return Refusal(place, "E_FIELD", f"time {time!r:.40} is not milliseconds since 1970")
    try:
        measured = msgspec.convert(value, _Value)
    except msgspec.ValidationError as error:
        code = "E_NAN" if "$.v" in str(error) else "E_FIELD"
        return Refusal(place, code, f"{point[:64]}: {error}")
    if not math.isfinite(measured.v):
        return Refusal(place, "E_NAN", f"{point[:64]}: {measured.v} is not a number")
    return Measurement(place, time, point, measured.v, measured.u, measured.q)


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"{[")], _STEPS[list(b"}]")] = 1, -1

__all__ = ["MAX_DEPTH", "NativeDecoder", "check_depth", "check_text", "values_of"]
