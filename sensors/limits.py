"""Limits and detector settings of a city: one TOML file, every number with its source, checked before it is used.

Numbers stand in the file in the unit of their row and here in SI, except shares of a point's crown or depth.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from sensors.city_calendar import Calendar, check_calendar
from sensors.device import Point
from sensors.quantity import scale
from twin.asset import System
from twin.errors import RefusedError, SettingsError

LevelName: TypeAlias = Literal["red", "orange", "yellow", "blue"]
LEVELS: Mapping[str, int] = {"red": 1, "orange": 2, "yellow": 3, "blue": 4}

Share: TypeAlias = Literal["crown_m", "depth_m"]


class StepRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One limit of a rule: the level that it means, the value, where that comes from, and whether that was checked."""

    level: LevelName
    at: float
    source: str
    verified: bool


class Escalation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a limit that stays passed becomes: after `after_s` its level is `level`, or worse where the value asks."""

    after_s: float
    level: LevelName
    source: str
    verified: bool


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    quantity: str
    unit: str
    source: str
    verified: bool
    system: System | None = None


class LimitRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A safety limit as the file has it; `steps` from the mildest to the worst."""

    rule: str
    side: Literal["high", "low"]
    hysteresis: float
    delay_on_s: float
    delay_off_s: float
    steps: tuple[StepRow, ...]
    share_of: Share | None = None
    escalation: Escalation | None = None

    def at(self, point: Point) -> list[float] | None:
        """Return the limits of this rule at `point`, SI, from the mildest; None where it lacks the dimension."""
        if self.share_of is None:
            factor, offset = scale(self.unit, self.quantity)
            return [step.at * factor + offset for step in self.steps]
        whole = getattr(point, self.share_of)
        return None if whole is None else [step.at * whole for step in self.steps]

    def margin(self, point: Point) -> float:
        """Return the hysteresis at `point`, SI."""
        if self.share_of is None:
            return self.hysteresis * scale(self.unit, self.quantity)[0]
        return self.hysteresis * (getattr(point, self.share_of) or 0.0)

    @property
    def levels(self) -> list[int]:
        """The levels of the steps, from the mildest."""
        return [LEVELS[step.level] for step in self.steps]

    @property
    def escalated(self) -> list[int]:
        """The levels of the steps once the limit has stayed passed for the time of `escalation`."""
        worst = 4 if self.escalation is None else LEVELS[self.escalation.level]
        return [min(level, worst) for level in self.levels]


class FlatLineRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a value of this quantity has not moved for too long."""

    tolerance: float
    readings: int
    duration_s: float
    level: LevelName
    zero_is_normal: bool = False


class RateRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a value of this quantity may move within a minute; `rests`: it may be switched off, to zero, and on."""

    least: float
    level: LevelName
    rests: bool = False
    share: float = 0.0
    side: Literal["both", "rise", "fall"] = "both"


class SeasonalRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How exactly a value of this quantity can be expected to follow its profile; `rests` as in RateRow."""

    least: float
    level: LevelName
    rests: bool = False


class Silence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a device has been silent for too long."""

    intervals: float
    grace_s: float
    level: LevelName
    source: str
    verified: bool


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number that a detector works with, in `unit` (of `UNITS`), with where it comes from."""

    value: float
    unit: str
    source: str
    verified: bool

    @property
    def si(self) -> float:
        """The number in SI."""
        return self.value * UNITS[self.unit]


UNITS: Mapping[str, float] = {
    "1": 1.0,
    "%": 0.01,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86_400.0,
    "m": 1.0,
    "m2": 1.0,
    "mm": 1e-3,
    "mm/h": 1e-3 / 3600,
    "m3/h": 1 / 3600,
    "L/s": 1e-3,
    "Pa": 1.0,
    "kPa": 1e3,
    "MPa": 1e6,
    "K": 1.0,
    "%LEL": 0.01,
    "%vol": 0.01,
    "mg/m3": 1e-6,
    "uS/cm": 1e-4,
    "V": 1.0,
    "mV": 1e-3,
    "mg/L": 1e-3,
    "NTU": 1.0,
}
"""What a `Number` may be in, and what one of it is in SI; differences only, so that K serves for degrees."""

Numbers: TypeAlias = Mapping[str, Mapping[str, Number]]
"""Of each layer, by name."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    silence: Silence
    calendar: Calendar
    limit: tuple[LimitRow, ...] = ()
    flat_line: tuple[FlatLineRow, ...] = ()
    rate_of_change: tuple[RateRow, ...] = ()
    seasonal: tuple[SeasonalRow, ...] = ()
    number: dict[str, dict[str, Number]] = {}


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that a city calls abnormal; made by `load`."""

    limits: tuple[LimitRow, ...]
    silence: Silence
    flat_line: tuple[FlatLineRow, ...]
    rate_of_change: tuple[RateRow, ...]
    seasonal: tuple[SeasonalRow, ...]
    calendar: Calendar
    numbers: Numbers = field(default_factory=dict[str, Mapping[str, Number]])

    def number(self, layer: str, name: str) -> float:
        """Return the number that `layer` works with under `name`, SI: the city's own, or the packaged one.

        >>> load().number("leak", "no such")
        Traceback (most recent call last):
        twin.errors.SettingsError: E_SETTING limits.toml: number.leak.no such: is missing
        """
        found = self.numbers.get(layer, {}).get(name)
        if found is None:
            raise SettingsError("is missing", where=f"limits.toml: number.{layer}.{name}")
        return found.si

    def limits_of(self, quantity: str, system: System) -> list[LimitRow]:
        """Return the safety limits that hold for `quantity` in `system`."""
        return [row for row in self.limits if row.quantity == quantity and row.system in {None, system}]


class Scoped(Protocol):
    """A row of settings that holds for a quantity, in one system or in all."""

    @property
    def quantity(self) -> str:
        """What is measured."""
        ...

    @property
    def system(self) -> System | None:
        """In which system; None: in all that have no row of their own."""
        ...


AnyRow = TypeVar("AnyRow", bound=Scoped)


def row_of(rows: Iterable[AnyRow], quantity: str, system: System) -> AnyRow | None:
    """Return the row for `quantity` in `system`: its own, or the one without a system, or None."""
    found = {row.system: row for row in rows if row.quantity == quantity}
    return found.get(system) or found.get(None)


def load(path: Path | None = None) -> Limits:
    """Return the limits in the file at `path`, or the packaged ones; SettingsError with the file and the place.

    >>> [row.rule for row in load().limits_of("combustible_gas", System.GAS)]
    ['combustible_gas_high']
    """
    packaged = _read((resources.files("sensors") / "limits.toml").read_text("utf-8"), "limits.toml (packaged)")
    read = packaged if path is None else _read(_text(path), str(path))
    if path is not None:
        _check_numbers(read.number, packaged.number, str(path))
    numbers = {layer: {**rows, **read.number.get(layer, {})} for layer, rows in packaged.number.items()}
    return Limits(read.limit, read.silence, read.flat_line, read.rate_of_change, read.seasonal, read.calendar, numbers)


def _read(text: str, where: str) -> _File:
    try:
        read = msgspec.convert(tomllib.loads(text), _File, strict=False)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(error), where=where, expected="a TOML file") from None
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        raise SettingsError(what, where=f"{where}: {place.strip('`$.') or 'top'}") from None
    _check(read, where)
    return read


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise SettingsError("no such file", where=str(path), code="E_MISSING") from None
    except OSError as error:
        raise SettingsError(error.strerror or "cannot be read", where=str(path)) from None
    except UnicodeDecodeError:
        raise SettingsError("is not UTF-8", where=str(path), expected="a TOML file") from None


def _check(read: _File, where: str) -> None:
    tables: Mapping[str, Sequence[_Row]] = {
        "limit": read.limit,
        "flat_line": read.flat_line,
        "rate_of_change": read.rate_of_change,
        "seasonal": read.seasonal,
    }
    for table, rows in tables.items():
        seen: set[Any] = set()
        for number, row in enumerate(rows, start=1):
            place = f"{where}: {table} {number} ({getattr(row, 'rule', row.quantity)})"
            key = row.rule if isinstance(row, LimitRow) else (row.quantity, row.system)
            if key in seen:
                raise SettingsError("stands twice", where=place, expected="each rule, or quantity and system, once")
            seen.add(key)
            _check_row(row, place)
    for layer, numbers in read.number.items():
        for name, number in numbers.items():
            place = f"{where}: number.{layer}.{name}"
            if number.unit not in UNITS:
                raise SettingsError(f"{number.unit!r} is no unit of a number", where=place, expected=", ".join(UNITS))
            if not math.isfinite(number.value):
                raise SettingsError(f"is {number.value}", where=place, expected="a number")
    if not 0 < read.silence.intervals < math.inf or not 0 <= read.silence.grace_s < math.inf:
        raise SettingsError("is not positive", where=f"{where}: silence", expected="intervals > 0, grace_s >= 0")
    check_calendar(read.calendar, where)


def _check_numbers(given: Numbers, known: Numbers, where: str) -> None:
    """Refuse numbers that no layer works with (a misspelt name would change nothing), or in units of another kind."""
    for layer, numbers in given.items():
        for name, number in numbers.items():
            place = f"{where}: number.{layer}.{name}"
            if name not in known.get(layer, {}):
                raise SettingsError(
                    "no layer works with this", where=place, expected=", ".join(known.get(layer, known))
                )
            wanted = known[layer][name].unit
            if number.unit not in _alike(wanted):
                raise SettingsError(f"is in {number.unit}", where=place, expected=wanted)


_ALIKE: Sequence[frozenset[str]] = (
    frozenset({"1", "%"}),
    frozenset({"s", "min", "h", "d"}),
    frozenset({"m", "mm"}),
    frozenset({"m3/h", "L/s"}),
    frozenset({"Pa", "kPa", "MPa"}),
)
"""Units that may stand for one another in `UNITS`; any other stands for itself only."""


def _alike(unit: str) -> frozenset[str]:
    return next((units for units in _ALIKE if unit in units), frozenset({unit}))


def _check_row(row: _Row, place: str) -> None:
    try:
        scale(row.unit, row.quantity)
    except RefusedError as error:
        raise SettingsError(error.what, where=place, expected=error.expected) from None
    for name in ("hysteresis", "delay_on_s", "delay_off_s", "tolerance", "readings", "duration_s", "least", "share"):
        if not 0 <= getattr(row, name, 0.0) < math.inf:  # TOML has nan and inf
            raise SettingsError(f"{name} is {getattr(row, name)}", where=place, expected="0 or more")
    if isinstance(row, RateRow | SeasonalRow) and row.least == 0:
        raise SettingsError("least is 0", where=place, expected="more than 0")
    if isinstance(row, LimitRow):
        _check_steps(row, place)


def _check_steps(row: LimitRow, place: str) -> None:
    """Refuse steps that do not become worse in both level and value: the commonest slip in such a file."""
    if not row.rule.endswith(f"_{row.side}"):
        raise SettingsError(f"is {row.side}", where=place, expected=f"a rule called …_{row.side}")
    if not row.steps or not all(math.isfinite(step.at) for step in row.steps):
        raise SettingsError("has no steps, or one at no number", where=place, expected="at least one, at numbers")
    sign = 1 if row.side == "high" else -1
    for mild, worse in zip(row.steps, row.steps[1:], strict=False):
        if LEVELS[worse.level] >= LEVELS[mild.level] or sign * worse.at <= sign * mild.at:
            raise SettingsError(
                f"{worse.level} at {worse.at:g} stands after {mild.level} at {mild.at:g}",
                where=place,
                expected=f"steps from the mildest to the worst, {'rising' if sign > 0 else 'falling'}",
            )
    if row.escalation is not None:
        if not 0 < row.escalation.after_s < math.inf:
            raise SettingsError(f"escalation after {row.escalation.after_s} s", where=place, expected="more than 0")
        if row.escalated == row.levels:
            raise SettingsError(
                f"escalation to {row.escalation.level}", where=place, expected=f"worse than {row.steps[0].level}"
            )
