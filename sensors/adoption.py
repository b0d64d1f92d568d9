"""Adoption: what an unknown device most likely is, judged by what it sends against the catalogue of quantities.

A guess is made where only one answer fits, and never between two: what is wrong in the registry would turn into wrong
alarms. What is left open is named, for a person to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from sensors.device import NAME, Device, DeviceId, Point
from sensors.quantity import CATALOGUE, scale, usual_unit
from sensors.unknown_device import SeenPoint, Sighting
from twin.asset import AssetId, System
from twin.errors import InputError, RefusedError

DEFAULT_INTERVAL = timedelta(minutes=1)
"""Where neither its birth nor two messages tell how often it reports."""

_LONGEST = timedelta(days=366)

_ALSO: Mapping[str, str] = {
    "ch4": "methane",
    "lel": "combustible_gas",
    "h2s": "hydrogen_sulfide",
    "o2": "oxygen",
    "temp": "temperature",
    "cl2": "free_chlorine",
    "chlorine": "free_chlorine",
    "rain": "rain_intensity",
    "rainfall": "rain_intensity",
    "bat": "battery",
    "vbat": "battery",
    "speed": "velocity",
}
"""What instruments call a quantity besides its name and its Chinese one: formulas and short forms, in small letters."""


_OTHERWISE = frozenset(
    {"alarm", "avg", "command", "delta", "differential", "dissolved", "error", "limit", "max", "mean", "min", "set"}
    | {"setpoint", "sp", "state", "status", "sum", "total"}
)
"""Words beside which the name of a quantity means another thing: a set point of pressure was not measured."""


class _Birth(msgspec.Struct):
    """What a guess is made of in a birth message; the rest of it is not looked at."""

    model: str = ""
    interval_s: float | None = None
    points: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Proposal:
    """What could be registered: the device, and what it sends that is `left_out`, with the reason."""

    device: Device
    left_out: Mapping[str, str]


def propose(
    sighting: Sighting,
    *,
    device: str = "",
    system: System | None = None,
    asset: AssetId | None = None,
    given: Sequence[Point] = (),
    interval: timedelta | None = None,
) -> Proposal:
    """Return the device that `sighting` tells of; what is passed besides stands in place of a guess.

    A point of `given` is taken as it is, for what the device sends under its code or else its name. The unit of a
    guessed point is the one that its messages name, else its birth's, else the usual one of the quantity. InputError
    where nothing tells the system, where no point could be told, or where a name is needed that no topic can carry.
    """
    birth = _birth(sighting)
    system = system or sighting.system
    if system is None:
        raise InputError("nothing tells its system", where=sighting.device, expected="one by --system")
    addressed = "/" in sighting.device
    seen = {name: SeenPoint(unit) for name, unit in birth.points.items()}
    seen |= {name: SeenPoint(point.unit or birth.points.get(name)) for name, point in sighting.points.items()}
    points, left_out = _points(seen, given, system, addressed=addressed)
    if not points:
        raise InputError(
            f"sends {_listed(left_out) or 'nothing'}", where=sighting.device, expected="points by --point NAME=QUANTITY"
        )
    name = device or (_own_name(sighting.device) if addressed else sighting.device)
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} is no device name", where=sighting.device, expected=f"{NAME.pattern} by --id")
    if not addressed and name != sighting.device:
        raise InputError(f"calls itself {sighting.device} in its topic", where=name, expected="the name of its topic")
    return Proposal(
        Device(
            id=DeviceId(name),
            district=sighting.district,
            system=system,
            points=tuple(points),
            interval=interval or _interval(birth, sighting),
            asset=asset,
            model=birth.model,
            address=sighting.device if addressed else "",
        ),
        left_out,
    )


def _birth(sighting: Sighting) -> _Birth:
    """Return what its birth says; one that cannot be read says nothing, which is no reason to refuse the device."""
    try:
        return msgspec.json.decode(sighting.birth or "{}", type=_Birth)
    except msgspec.MsgspecError:
        return _Birth()


def _points(
    seen: Mapping[str, SeenPoint], given: Sequence[Point], system: System, *, addressed: bool
) -> tuple[list[Point], dict[str, str]]:
    points = list(given)
    told = {point.code or point.name for point in given}
    left_out: dict[str, str] = {}
    for sent in (name for name in seen if name not in told):
        quantity = _quantity(sent, seen[sent].unit)
        if not sent:
            left_out[sent] = "has no name"
        elif quantity is None:
            left_out[sent] = "no quantity is told by its name and unit"
        elif addressed:
            name = _free_name(sent, quantity, points)
            points.append(Point(name, quantity, _unit(seen[sent], quantity, system), code=sent if sent != name else ""))
        elif NAME.fullmatch(sent):
            points.append(Point(sent, quantity, _unit(seen[sent], quantity, system)))
        else:
            left_out[sent] = "is no name of a point"
    return points, left_out


def _quantity(sent: str, unit: str | None) -> str | None:
    """Return the one quantity that the name tells and the unit allows, or that the unit alone allows.

    Without a unit the name has to be the quantity's and nothing else.
    """
    fitting = [name for name in CATALOGUE if unit is None or _fits(unit, name)]
    words = _words(sent)
    exact = "_".join(words)
    if exact in CATALOGUE:
        return exact if exact in fitting else None
    if not _OTHERWISE.isdisjoint(words):
        return None
    phrase = f"_{'_'.join(words)}_"
    named = _longest(name for name in fitting if f"_{name}_" in phrase or CATALOGUE[name].zh in words)
    named = named or list(dict.fromkeys(_ALSO[word] for word in words if _ALSO.get(word) in fitting))
    sure = unit is not None or len(words) == 1
    if named:
        return named[0] if sure and len(named) == 1 else None
    return fitting[0] if unit is not None and len(fitting) == 1 else None


def _words(sent: str) -> list[str]:
    """Return the words of a name in small letters, numbers at their ends taken off: InletPressure2 has two.

    >>> _words("PIT-3/InletPressure2 CH4 pH")
    ['pit', 'inlet', 'pressure', 'ch4', 'ph']
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", sent)
    whole = [word for word in re.split(r"[\W_]+", apart.lower()) if word and not word.isdecimal()]
    return [word if word in _ALSO else word.rstrip("0123456789") or word for word in whole]


def _longest(names: Iterable[str]) -> list[str]:
    """Return the names that stand in no other one: absolute_pressure, not pressure."""
    every = list(names)
    return [name for name in every if not any(name != other and name in other for other in every)]


def _fits(unit: str, quantity: str) -> bool:
    try:
        scale(unit, quantity)
    except RefusedError:
        return False
    return True


def _unit(seen: SeenPoint, quantity: str, system: System) -> str:
    return seen.unit or usual_unit(quantity, system)


def _free_name(sent: str, quantity: str, points: Sequence[Point]) -> str:
    """Return a name for what the device's protocol calls `sent`: the quantity's, or its own where that is taken."""
    taken = {point.name for point in points}
    own = _own_name(sent)
    free = [name for name in (quantity, own, *(f"{quantity}_{n}" for n in range(2, len(points) + 3))) if name]
    return next(name for name in free if name not in taken)


def _own_name(address: str) -> str:
    """Return the last part of an address or metric as a name of the contract, as far as it goes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", address.rpartition("/")[2]).strip("_")[:64]


def _interval(birth: _Birth, sighting: Sighting) -> timedelta:
    if birth.interval_s is not None and 0.001 <= birth.interval_s <= _LONGEST.total_seconds():
        return timedelta(seconds=birth.interval_s)
    observed = sighting.interval
    if observed is None or not timedelta(0) < observed <= _LONGEST:
        return DEFAULT_INTERVAL
    return timedelta(seconds=max(1, round(observed.total_seconds())))


def _listed(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{name[:64]} ({reason})" for name, reason in left_out.items())


__all__ = ["DEFAULT_INTERVAL", "Proposal", "propose"]
