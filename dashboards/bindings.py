"""Devices and the assets they watch, over revisions of the city: which follow their asset, which have lost it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from dashboards.settings import Settings
from sensors.device import Device
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import AssetId
from twin.city import City
from twin.diff import Difference, difference


@dataclass(frozen=True, slots=True)
class Rebound:
    """A device whose asset has another id now."""

    device: str
    before: AssetId
    after: AssetId


@dataclass(frozen=True, slots=True)
class Lost:
    """A device whose asset is gone: nobody knows what it watches until it is bound anew."""

    device: str
    asset: AssetId


@dataclass(frozen=True, slots=True)
class Bindings:
    """What became of the devices that are bound to one source; `error` says why they could not be bound anew."""

    rebound: tuple[Rebound, ...] = ()
    lost: tuple[Lost, ...] = ()
    error: str = ""

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        known = {
            "rebound": [{"device": each.device, "from": each.before, "to": each.after} for each in self.rebound],
            "lost": [{"device": each.device, "asset": each.asset} for each in self.lost],
        }
        return {**known, "error": self.error} if self.error else known

    def lines(self) -> list[str]:
        """Return one line a device for a person."""
        return [
            *(f"device {each.device} follows {each.before} to {each.after}" for each in self.rebound),
            *(f"E_BINDING device {each.device} has lost {each.asset}" for each in self.lost),
            *([f"E_BINDING devices did not follow (load the file again): {self.error}"] if self.error else []),
        ]


def registry_of(settings: Settings) -> Registry | None:
    """Return the registry of the city's devices, None where the operations database was never made."""
    url = make_url(settings.operations_url())
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).is_file()):
        return None
    return Registry(connect(settings.operations_url()))


def follow(registry: Registry, city: City, source: str) -> Bindings:
    """Bind devices of `source` whose asset is gone to what the newest revision calls it; idempotent.

    Called after every load of a source: one that was interrupted before this is made good by the next.
    """
    here = city.ids(source)
    strayed = [each for each in _bound(registry.devices(), source) if each.asset not in here]
    rows = city.revisions(source)
    if not strayed or len(rows) == 1:
        return _split(strayed, {})
    changes = difference(city.model(source, revision=rows[-2].revision), city.model(source))
    bindings = _split(strayed, changes.reidentified)
    registry.rebind({each.before: each.after for each in bindings.rebound})
    return bindings


def concerned(devices: Iterable[Device], changes: Difference) -> Bindings:
    """Return which devices follow an asset with a new id, and which are bound to one that was removed."""
    gone = {item.asset for item in changes.removed}
    before = {new: old for old, new in changes.reidentified.items()}
    bound = list(_bound(devices, changes.source))
    follows = tuple(
        Rebound(each.id, before.get(each.asset, each.asset), changes.reidentified.get(each.asset, each.asset))
        for each in bound
        if each.asset and (each.asset in before or each.asset in changes.reidentified)
    )
    return Bindings(follows, tuple(Lost(each.id, each.asset) for each in bound if each.asset and each.asset in gone))


def _split(strayed: Iterable[Device], renamed: Mapping[AssetId, AssetId]) -> Bindings:
    """Tell devices whose asset is gone by whether it is there under another id."""
    rebound: list[Rebound] = []
    lost: list[Lost] = []
    for device in strayed:
        assert device.asset is not None
        if device.asset in renamed:
            rebound.append(Rebound(device.id, device.asset, renamed[device.asset]))
        else:
            lost.append(Lost(device.id, device.asset))
    return Bindings(tuple(rebound), tuple(lost))


def _bound(devices: Iterable[Device], source: str) -> Iterable[Device]:
    return (each for each in devices if not each.retired and each.asset and each.asset.startswith(f"{source}:"))
