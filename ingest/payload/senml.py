"""SenML packs in JSON (RFC 8428): the same readings as the native payload, named and timed the SenML way.

A record's name is the point, alone or behind the device's own name (``WP-0001/pressure``,
``urn:dev:ops:…:WP-0001:pressure``). Two fields of our own may stand in the first record, where every other receiver
passes over them (RFC 8428, 4.4): ``boot`` and ``seq`` name the pack for receipts, as in the native payload; ``hist``
marks readings that are not live.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from ingest.payload import MAX_READINGS, WHOLE, Count, Measurement, Message, Refusal, check_size
from ingest.payload.native import check_depth, check_text, values_of
from sensors.clock import Clock, to_ms
from twin.errors import RefusedError

VERSION = 10
"""The newest base version that there is (RFC 8428, 4.4); one above it cannot be read."""

RELATIVE_BELOW_S = 2**28
"""A time below this counts from the moment of receipt (RFC 8428, 4.5.3)."""

_FARTHEST_S = 2**53 / 1000
"""Farthest time that fits whole milliseconds; the clock's limits are far inside."""

_SYMBOLS = {"/": "1"}
"""Units that RFC 8428 (12.1) spells in a way of its own; its others are UCUM's or in the catalogue as they are."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]*")
"""What a resolved name may be (RFC 8428, 4.5.1)."""

_KNOWN = frozenset({"bn", "bt", "bu", "bv", "n", "u", "v", "vs", "vb", "vd", "s", "t"})
_VALUES = frozenset({"v", "vs", "vb", "vd", "s"})


class _First(msgspec.Struct):
    boot: Count | None = None
    seq: Count | None = None
    hist: bool = False
    bver: Annotated[int, msgspec.Meta(ge=0)] = VERSION


class _Record(msgspec.Struct):
    """One record; the base fields hold for it and those after it (RFC 8428, 4.1)."""

    bn: str | None = None
    bt: float | None = None
    bu: str | None = None
    bv: float | None = None
    n: str = ""
    u: str | None = None
    v: float | None = None
    vs: Any = None
    vb: bool | None = None
    vd: Any = None
    s: Any = None
    t: float = 0.0


class _Base(NamedTuple):
    name: str = ""
    time: float = 0.0
    unit: str | None = None
    value: float = 0.0

    def after(self, record: _Record) -> _Base:
        """Return the base values that hold from `record` on."""
        return _Base(
            self.name if record.bn is None else record.bn,
            self.time if record.bt is None else record.bt,
            self.unit if record.bu is None else record.bu,
            self.value if record.bv is None else record.bv,
        )


class SenmlDecoder:
    """Decodes packs; `clock` is the city's, for times that count from the moment of receipt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def decode(self, topic: str, payload: bytes) -> Message:
        """Return the message, or raise RefusedError: E_SIZE, E_UTF8, E_DEPTH, E_JSON, E_FIELD or E_COUNT.

        A record that cannot be taken is refused alone; one that names another device than the topic, by E_IDENTITY.
        A pack that has a name (boot, seq) and wrong contents is returned, refused as a whole.
        """
        check_size(payload)
        check_text(payload)
        check_depth(payload)
        records = _pack(payload)
        first = _first(records[0])
        device = topic.split("/")[4] if topic.count("/") >= 5 else ""
        try:
            taken, refused = self._resolved(records, first, device)
        except RefusedError as error:
            if first.boot is None:
                raise
            taken, refused = [], [Refusal(WHOLE, error.code, str(error))]
        return Message(first.boot, first.seq, first.hist, len(taken) + len(refused), taken, refused)

    def memory(self) -> bytes | None:
        """Return None: every pack stands by itself."""
        return None

    def recall(self, memory: bytes) -> None:
        """Take nothing over."""
        del memory

    def _resolved(
        self, records: list[dict[str, Any]], first: _First, device: str
    ) -> tuple[list[Measurement], list[Refusal]]:
        if first.bver > VERSION:
            raise RefusedError(f"bver {first.bver}", expected=f"at most {VERSION}", code="E_FIELD")
        now = to_ms(self._clock.now())
        base = _Base()
        taken: list[Measurement] = []
        refused: list[Refusal] = []
        place = 0
        for values in records:
            _check_labels(values, first.bver)
            try:
                record = _record(values)
                base = base.after(record)
                if values.keys().isdisjoint(_VALUES):
                    continue  # it only sets base values
                taken.append(_reading(place, record, base, device, now))
            except RefusedError as error:
                refused.append(Refusal(place, error.code, error.what))
            place += 1
        if not 0 < place <= MAX_READINGS:
            raise RefusedError(f"{place} readings", expected=f"1 to {MAX_READINGS}", code="E_COUNT")
        return taken, refused


def _pack(payload: bytes) -> list[dict[str, Any]]:
    values = values_of(payload, "one JSON array")
    if not isinstance(values, list) or not values or not all(isinstance(record, dict) for record in values):
        raise RefusedError("is no pack", expected="an array of at least one record", code="E_FIELD")
    return values


def _first(values: Mapping[str, Any]) -> _First:
    try:
        first = msgspec.convert(values, _First)
    except msgspec.ValidationError as error:
        raise RefusedError(str(error), expected="the fields of a pack", code="E_FIELD") from None
    if (first.boot is None) != (first.seq is None):
        raise RefusedError("only one of boot and seq", expected="both, or neither", code="E_FIELD")
    return first


def _check_labels(values: Mapping[str, Any], version: int) -> None:
    """Refuse the pack for a field that has to be understood, or a second version (RFC 8428, 4.4)."""
    if strange := next((label for label in values if label.endswith("_")), None):
        raise RefusedError(f"{strange[:40]} has to be understood, and is not", expected="RFC 8428", code="E_FIELD")
    if values.get("bver", version) != version:
        raise RefusedError("two base versions in one pack", expected="one", code="E_FIELD")


def _record(values: Mapping[str, Any]) -> _Record:
    try:
        return msgspec.convert({label: value for label, value in values.items() if label in _KNOWN}, _Record)
    except (msgspec.ValidationError, OverflowError) as error:  # the latter for a whole number past every float
        code = "E_NAN" if "$.v`" in str(error) or "$.bv`" in str(error) else "E_FIELD"
        raise RefusedError(str(error), code=code) from None


def _reading(place: int, record: _Record, base: _Base, device: str, now: int) -> Measurement:
    name = base.name + record.n
    if not _NAME.fullmatch(name):
        raise RefusedError(f"name {name[:64]!r} is none that RFC 8428 allows", code="E_FIELD")
    prefix, point = _split(name)
    if prefix and _split(prefix)[1] != device:
        raise RefusedError(f"{name[:64]} names another device than {device}", code="E_IDENTITY")
    value = _value(record, base, name)
    seconds = base.time + record.t
    if not abs(seconds) < _FARTHEST_S:
        raise RefusedError(f"{name[:64]}: time {seconds} is none", code="E_FIELD")
    unit = base.unit if record.u is None else record.u
    time, quality = _time(seconds, now)
    return Measurement(place, time, point, value, _SYMBOLS.get(unit, unit) if unit else None, quality)


def _value(record: _Record, base: _Base, name: str) -> float:
    given = [value for value in (record.v, record.vs, record.vb, record.vd) if value is not None]
    if len(given) > 1:
        raise RefusedError(f"{name[:64]}: more than one value", code="E_FIELD")
    if record.vb is not None:
        return float(record.vb)
    if record.v is None:
        raise RefusedError(f"{name[:64]}: neither a number nor true or false", code="E_NAN")
    value = record.v + base.value  # bv adds to numbers (RFC 8428, 4.1)
    if not math.isfinite(value):
        raise RefusedError(f"{name[:64]}: {value} is not a number", code="E_NAN")
    return value


def _time(seconds: float, now: int) -> tuple[int | None, int]:
    """Return ms since 1970 UTC and the flag: what counts from the receipt is no better than having no clock."""
    if seconds >= RELATIVE_BELOW_S:
        return round(seconds * 1000), 0
    return (now + round(seconds * 1000), 1) if seconds else (None, 0)


def _split(name: str) -> tuple[str, str]:
    """Return what stands before the last separator of a name, and what after it."""
    at = max(name.rfind("/"), name.rfind(":"))
    return name[: max(at, 0)], name[at + 1 :]


__all__ = ["RELATIVE_BELOW_S", "VERSION", "SenmlDecoder"]
