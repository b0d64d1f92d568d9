"""Truth of `district`: a field that is simulated here, with faults that overlap, and what of them was found.

A seed has a fortnight of history, ten quiet hours live, and then within six hours a burst, a blockage, a gas leak, a
stuck and a silent device; every other seed has a second burst and a second gas leak. All stand side by side until the
last, and some are mended before the day ends. What a claim is about is its first candidate, or else the asset of its
subject; claims are assigned to the nearest fault of their system that stands (or stood until an hour ago).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sensors.clock import to_ms
from sensors.detection import DetectionKind
from sensors.evaluation import Claim, Flagged
from sensors.evaluation.truth.web import Web
from sensors.simulation.drainage import DryDay, dry_day
from sensors.simulation.faults import Fault, FaultKind
from sensors.simulation.field import BUILD_UP, FieldModel
from sensors.simulation.places import blockable, choose, source_of
from sensors.simulation.site import Site, read_site
from twin.asset import System, asset_id
from twin.readers.inp import read_inp

EPOCH = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)
"""Midnight in the sample district, on a Sunday night; each seed starts so many days later."""
HISTORY = timedelta(days=14)
LIVE = timedelta(days=1)
STEP = timedelta(minutes=1)
"""Devices that report more often are played at this interval."""
FAULTS_FROM, FAULTS_UNTIL = timedelta(hours=10), timedelta(hours=16)
LEAST, MOST = timedelta(hours=3), timedelta(hours=10)
"""How long a fault stands; one that would outlast the day is not mended."""
GRACE = timedelta(hours=1)
"""After a repair: what the network does until it is as before is the fault's doing."""

LEAK_M = 150.0
HOPS = 1
"""Within what a leak counts as located (along the pipes), and a blockage or a gas leak (manholes)."""
REACH_M = {FaultKind.BURST: math.inf, FaultKind.BLOCKAGE: 1000.0, FaultKind.GAS_LEAK: 300.0}
"""Beyond this (in plan) a claim has nothing to do with a fault: a burst is felt everywhere, the pool above a blockage
and the wave when it goes as far as the drain is flat, gas two or three manholes on."""
ALIKE_M = 300.0
"""Two faults of one kind are at least so far apart: nearer ones are one job for one crew."""
APART_M = 200.0
"""No device fails so near to a fault in the networks: it might be its only witness."""
LEAST_FLOW_M3S = 1e-3
"""A drain that carries less at noon takes longer than a day to back up."""
_TRIES = 100
_DEVICE_KINDS = {DetectionKind.SILENCE, DetectionKind.FLAT_LINE, DetectionKind.QUALITY}
_SYSTEM = {
    FaultKind.BURST: {System.WATER},
    FaultKind.BLOCKAGE: {System.DRAINAGE, System.RAIN},
    FaultKind.GAS_LEAK: {System.GAS},
}


@dataclass(frozen=True, slots=True)
class Scripted:
    """A fault of a seed: where, and from when to when after the live start (`until` None: not mended)."""

    kind: FaultKind
    place: str
    after: timedelta
    until: timedelta | None

    def stands(self, at: timedelta) -> bool:
        """Say whether what is claimed `at` may be its doing."""
        early = BUILD_UP if self.kind is FaultKind.BLOCKAGE else timedelta(0)
        return self.after - early <= at and (self.until is None or at <= self.until + GRACE)


def start_of(seed: int) -> datetime:
    """Return the live start of a seed: midnight of another day for each, round the week."""
    return EPOCH + timedelta(days=seed % 28)


@cache
def script(data: Path, seed: int) -> list[Scripted]:
    """Return the faults of `seed` in the district of the folder `data`."""
    site, where = _site(data)
    rng = np.random.default_rng([seed, 20_260_301])
    local = start_of(seed).astimezone(site.time_zone)
    dry = dry_day(site.drainage, local.date(), site.time_zone, _cache(data))
    twice = [FaultKind.BURST, FaultKind.GAS_LEAK] * (seed % 2)
    kinds = [FaultKind.BURST, FaultKind.BLOCKAGE, FaultKind.GAS_LEAK, *twice, FaultKind.STUCK, FaultKind.SILENT]
    found: list[Scripted] = []
    for kind in kinds:
        taken = [each.place for each in found]
        apart = [each.place for each in found if kind.of_device or each.kind is kind]
        place = ""
        for _ in range(_TRIES):
            place = _place(kind, site, dry, rng, taken)
            if where.apart(place, apart, kind):
                break
        after = FAULTS_FROM + float(rng.uniform()) * (FAULTS_UNTIL - FAULTS_FROM)
        until = after + LEAST + float(rng.uniform()) * (MOST - LEAST)
        found.append(Scripted(kind, place, after, until if until < LIVE else None))
    return found


def prepare(data: Path, folder: Path, *, seed: int, **others: Any) -> None:
    """Simulate the seed; write what its devices showed (``readings.npz``) beside the files of the district."""
    del others
    for path in data.iterdir():
        if not path.name.startswith(".") and path.name != "city.gpkg":
            (folder / path.name).symlink_to(path.resolve())
    if (data / "city.gpkg").is_file():
        (folder / "city.gpkg").write_bytes((data / "city.gpkg").read_bytes())
    site = _site(data)[0]
    faults = script(data, seed)
    scripted = [Fault(each.kind, each.after, each.place) for each in faults]
    model = FieldModel(site, start_of(seed), _cache(data), seed=seed, faults=scripted, history=HISTORY)
    try:
        columns = [np.array(column) for column in zip(*_readings(model, faults), strict=True)]
    finally:
        model.close()
    series, time, value, history = columns
    np.savez(folder / "readings.npz", series=series.astype(np.int32), time=time, value=value, history=history)


def score(
    data: Path, claims: Sequence[Claim], flagged: Flagged | None, *, seed: int, **others: Any
) -> Mapping[str, Any]:
    """Return what of the seed's faults was found, how late and how far off, and how many claims were about nothing."""
    del flagged, others
    where = _site(data)[1]
    faults = script(data, seed)
    begin = to_ms(start_of(seed))
    told: dict[int, list[Claim]] = {number: [] for number in range(len(faults))}
    false = 0
    for claim in claims:
        number = where.fault_of(claim, faults, timedelta(milliseconds=claim.start - begin))
        if number is None:
            false += 1
        else:
            told[number].append(claim)
    outcomes = [_outcome(fault, told[number], begin, where) for number, fault in enumerate(faults)]
    found: dict[str, Any] = {
        "faults": len(faults),
        "found": sum(outcome["found"] for outcome in outcomes),
        "located": sum(outcome["located"] for outcome in outcomes),
        "claims": len(claims),
        "findings": sum(claim.kind == DetectionKind.FINDING for claim in claims),
        "false_claims": false,
        "sensor_days": len(where.devices) * (LIVE / timedelta(days=1)),
    }
    for kind in FaultKind:
        own = [outcome for outcome in outcomes if outcome["kind"] == kind]
        found[f"{kind}"] = len(own)
        found[f"{kind}_found"] = sum(outcome["found"] for outcome in own)
        found[f"{kind}_located"] = sum(outcome["located"] for outcome in own)
    return {**found, "outcomes": outcomes}


def total(scores: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the figures over all seeds: sums, medians over the faults that were found, and what was missed."""
    names = [name for name in scores[0] if name != "outcomes"]
    found: dict[str, Any] = {"seeds": len(scores)} | {name: _sum(each[name] for each in scores) for name in names}
    found["false_per_1000_sensor_days"] = round(1000 * found["false_claims"] / found["sensor_days"], 3)
    found["findings_per_fault"] = round(found["findings"] / found["faults"], 2)
    outcomes = [outcome for each in scores for outcome in each.get("outcomes", ())]
    for kind in FaultKind if outcomes else ():
        own = [outcome for outcome in outcomes if outcome["kind"] == kind]
        found[f"{kind}_delay_s"] = _median([outcome["delay_s"] for outcome in own])
        if not kind.of_device:
            found[f"{kind}_distance_m"] = _median([outcome["distance_m"] for outcome in own])
    if outcomes:
        found["missed"] = [outcome for outcome in outcomes if not outcome["located"]]
    return found


class Places:
    """Where the assets of a site are: in plan, and how far from one another along the water pipes and the drains."""

    def __init__(self, site: Site, data: Path) -> None:
        self.devices = {device.id: device for device in site.devices if not device.retired}
        joined = [
            (line.text(0, "name"), line.text(1, "start"), line.text(2, "end"), 0.0)
            for table in ("PUMPS", "VALVES")
            for line in read_inp(site.water, (table,)).lines(table)
        ]
        self._water = Web(site.water, [(p.name, p.start, p.end, p.length_m) for p in site.pipes] + joined)
        self._drains = Web(site.drainage, [(c.name, c.air.upper, c.air.lower, c.air.length_m) for c in site.conduits])
        self._gas = _features(data)

    def asset_of(self, claim: Claim) -> str:
        """Return the asset that a claim is about: the first candidate, or that of its subject; "" for none."""
        if claim.candidates:
            return str(claim.candidates[0].asset)
        prefix, _, name = claim.subject.partition(":")
        if prefix == "asset":
            return name
        device = self.devices.get(name.partition("/")[0])  # pyright: ignore[reportArgumentType]  # an id is a str
        return str(device.asset or "") if device else ""

    def fault_of(self, claim: Claim, faults: Sequence[Scripted], at: timedelta) -> int | None:
        """Return the fault that a claim made `at` is about, None where it is about none."""
        owner = claim.subject.partition(":")[2].partition("/")[0]
        standing = [number for number, fault in enumerate(faults) if fault.stands(at)]
        for number in standing:
            if faults[number].kind.of_device and owner == faults[number].place:
                return number
        device = self.devices.get(owner)  # pyright: ignore[reportArgumentType]  # an id is a str
        system = device.system if device else self._system_of(self.asset_of(claim), claim)
        near: dict[int, float] = {}
        if claim.kind not in _DEVICE_KINDS and claim.rule != "device_fault":
            for number in standing:
                kind = faults[number].kind
                if not kind.of_device and system in _SYSTEM[kind]:
                    near[number] = self.plan_m(self.asset_of(claim), faults[number].place)
        reached = {n: metres for n, metres in near.items() if metres <= REACH_M[faults[n].kind]}
        return min(reached, key=lambda number: (reached[number], number), default=None)

    def apart(self, place: str, taken: Sequence[str], kind: FaultKind) -> bool:
        """Say whether a fault at `place` leaves those at `taken` their witnesses."""
        if not kind.of_device:
            return all(self.plan_m(place, other) > ALIKE_M for other in taken)
        device = self.devices.get(place)  # pyright: ignore[reportArgumentType]  # an id is a str
        return all(self.plan_m(str(device.asset) if device else place, other) > APART_M for other in taken)

    def distance(self, kind: FaultKind, asset: str, place: str) -> tuple[float | None, int | None]:
        """Return how far (m, manholes) `asset` is from the fault at `place`: along the pipes where both are of one net.

        A burst is at the end of its pipe, and a named pipe stands for its middle.
        """
        if kind is FaultKind.BURST:
            return (0.0 if asset == place else self._water.between_m(asset, self._water.end_of(place))), None
        if source_of(asset) == self._drains.source:
            return self._drains.between_m(asset, place), self._drains.hops(asset, place)
        metres = self.plan_m(asset, place)
        return (metres if math.isfinite(metres) else None), (0 if metres <= self._drains.longest_m(place) else None)

    @lru_cache(maxsize=100_000)  # noqa: B019  # there is one for the life of the process
    def plan_m(self, asset: str, other: str) -> float:
        """Return how far two assets are apart in plan, m; infinite where one is nowhere."""
        a, b = self._points(asset), self._points(other)
        if not len(a) or not len(b):
            return math.inf
        return float(np.hypot(*(a[:, None, :] - b[None, :, :]).reshape(-1, 2).T).min())

    def _points(self, asset: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        device = self.devices.get(asset)  # pyright: ignore[reportArgumentType]  # an id is a str
        if device is not None and device.easting is not None and device.northing is not None:
            return np.array([[device.easting, device.northing]])
        for web in (self._water, self._drains):
            if source_of(asset) == web.source:
                return web.points(asset)
        return self._gas.get(asset, np.empty((0, 2)))

    def _system_of(self, asset: str, claim: Claim) -> System | None:
        source = source_of(asset)
        if source == self._water.source or claim.kind in {DetectionKind.BALANCE, DetectionKind.NIGHT_FLOW}:
            return System.WATER
        if source == self._drains.source:
            gassy = claim.kind in {DetectionKind.GAS_LEAK, DetectionKind.BIOGAS} or "gas" in claim.rule
            return System.GAS if gassy else System.DRAINAGE
        return System.GAS if asset in self._gas else None


def _place(kind: FaultKind, site: Site, dry: DryDay, rng: np.random.Generator, taken: Sequence[str]) -> str:
    if kind is not FaultKind.BLOCKAGE:
        return choose(kind, site, lambda _: 0.0, rng, taken)
    noon = EPOCH.astimezone(site.time_zone) + timedelta(hours=12)
    carrying = sorted({b.conduit.name for b in blockable(site) if dry.flow_of(b.conduit.name, noon) >= LEAST_FLOW_M3S})
    return asset_id(site.drainage.name, "link", carrying[int(rng.integers(len(carrying)))])


@cache
def _site(data: Path) -> tuple[Site, Places]:
    site = read_site(data)
    return site, Places(site, data)


def _cache(data: Path) -> Path:
    """Return where the dry day of the drains is kept; no file of it says anything of faults."""
    return data


def _features(data: Path) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the points (n, 2) of the gas assets by id."""
    found: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for name, table in (("gas_nodes.geojson", "node"), ("gas_pipes.geojson", "link")):
        for feature in json.loads((data / name).read_text("utf-8"))["features"]:
            points = np.array(feature["geometry"]["coordinates"], np.float64).reshape(-1, 3)[:, :2]
            found[f"{name}:{table}:{feature['properties']['id']}"] = np.vstack([points, points.mean(axis=0)])
    return found


def _readings(model: FieldModel, faults: Sequence[Scripted]) -> Iterator[tuple[int, int, float, bool]]:
    """Yield (series, time in ms, value, whether history) of all devices; faults are mended on the way."""
    points = [(device.id, point.name) for device in model.devices for point in device.points]
    series = {point: number for number, point in enumerate(points)}
    for device in model.devices:
        for at, row in model.history(device.id):
            for point, value in row.items():
                yield series[device.id, point], to_ms(at), value, True
    mended = sorted((f.until, f.kind, f.place) for f in faults if f.until is not None)
    for n in range(LIVE // STEP):
        after = n * STEP
        while mended and mended[0][0] <= after:
            _, kind, place = mended.pop(0)
            model.mend(kind, place)
        due = [device.id for device in model.devices if after % max(device.interval, STEP) < STEP]
        at = model.start + after
        for key, value in model.values(at, due).items():
            yield series[key], to_ms(at), value, False


def _outcome(fault: Scripted, told: Sequence[Claim], begin: int, where: Places) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": fault.kind.value, "place": fault.place, "onset": begin + _ms(fault.after)}
    found["found"] = bool(told)
    found["delay_s"] = round((min(claim.start for claim in told) - found["onset"]) / 1000) if told else None
    found |= {"located": False, "distance_m": None, "hops": None}
    if fault.kind.of_device:
        return found | {"located": bool(told)}
    named = [claim for claim in told if claim.candidates]
    named = named or [claim for claim in told if claim.subject.startswith("asset:")] or list(told)
    for claim in named[:1]:
        metres, hops = where.distance(fault.kind, where.asset_of(claim), fault.place)
        found["distance_m"] = None if metres is None else round(metres, 1)
        found["hops"] = hops
        near = metres is not None and metres <= LEAK_M if fault.kind is FaultKind.BURST else None
        found["located"] = near if near is not None else hops is not None and hops <= HOPS
    return found


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _sum(values: Iterable[float]) -> float:
    return round(sum(values), 2)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 1) if known else None
