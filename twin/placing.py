"""Placing by a person: a model that its file leaves in the wrong place, or nowhere, is moved into the city by decision.

A decision is kept with who took it, when and why, and holds for later revisions of the source as long as their file
says the same of where it stands. Heights and levels move with the model; the mesh keeps its local frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from twin import crs as reference
from twin.errors import InputError
from twin.model import Decision, Model, Placement
from twin.store import records
from twin.store.placings import Placing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.city import City, Stored

_LEVELS = {
    "buildings": ("ground_m",),
    "storeys": ("elevation_m",),
    "nodes": ("ground_m", "invert_m"),
    "links": ("start_level_m", "end_level_m"),
}


@dataclass(frozen=True, slots=True)
class Motion:
    """A rigid move, about the vertical through `about` and to `origin`, and a coordinate operation after it or before.

    Metres and degrees, counter-clockwise. Undoing one is the motion `back`.
    """

    about: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_deg: float = 0.0
    before: reference.Transformation | None = None
    after: reference.Transformation | None = None

    @property
    def rise_m(self) -> float:
        """How far everything is lifted."""
        return self.origin[2] - self.about[2]

    @property
    def back(self) -> Motion:
        """The motion that undoes this one."""
        before, after = (
            None if operation is None else reference.transformation(operation.target, operation.source)
            for operation in (self.after, self.before)
        )
        return Motion(self.origin, self.about, -self.turn_deg, before, after)

    def points(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return moved points, rows x y or x y z."""
        out = np.array(xyz, float)
        if self.before:
            out[:, :2] = np.column_stack(self.before.points(out[:, 0], out[:, 1]))
        angle = math.radians(self.turn_deg)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        out[:, :2] = (out[:, :2] - self.about[:2]) @ turn + self.origin[:2]
        out[:, 2:] += self.rise_m
        if self.after:
            out[:, :2] = np.column_stack(self.after.points(out[:, 0], out[:, 1]))
        return out


def motion_of(placing: Placing, city_crs: str) -> Motion:
    """Return what brings the coordinates that the file stated to where `placing` puts them in `city_crs`.

    A model with an origin of its own (IFC) moves as one rigid body, as its file's placement would have moved it; the
    coordinates of a network are taken to be `placing.crs`'s after the move, and each goes through the operation.
    """
    assert placing.origin is not None
    theirs, ours = reference.horizontal(reference.parse(placing.crs)), reference.parse(city_crs)
    operation = None if theirs.equals(ours) else reference.transformation(theirs, ours)
    if placing.stated.origin is None:
        return Motion(origin=placing.origin, turn_deg=placing.rotation_deg, after=operation)
    origin, rotation = placing.origin, placing.rotation_deg
    if operation:
        origin, rotation = _carried(operation, origin, rotation)
    return Motion(placing.stated.origin, origin, rotation - placing.stated.rotation_deg)


def moved(model: Model, motion: Motion, placement: Placement) -> Model:
    """Return `model` after `motion`, with `placement` as its receipt; the mesh, in a local frame, stays as it is."""
    tables: dict[str, Any] = {}
    for record in records.RECORDS:
        name, field = record.table.name, record.geometry
        assets = getattr(model, name)
        changes: list[dict[str, Any]] = [{} for _ in assets]
        if field and assets:
            geometries = _moved_geometries([getattr(asset, field) for asset in assets], motion)
            changes = [{field: geometry} for geometry in geometries]
        for level in _LEVELS.get(name, ()):
            for asset, change in zip(assets, changes, strict=True):
                height = getattr(asset, level)
                if height is not None:
                    change[level] = height + motion.rise_m
        tables[name] = [replace(asset, **change) for asset, change in zip(assets, changes, strict=True)]
    at = motion.points(np.array([(each.easting, each.northing) for each in model.repairs], float).reshape(-1, 2))
    repairs = [
        replace(each, easting=float(x), northing=float(y)) for each, (x, y) in zip(model.repairs, at, strict=True)
    ]
    return replace(model, placement=placement, repairs=repairs, **tables)


def placed(model: Model, placing: Placing, city_crs: str) -> Model:
    """Return `model`, as its file states it, where `placing` puts it in the city.

    Raises InputError E_PLACEMENT where that is outside the area of use of the city's CRS.
    """
    motion = motion_of(placing, city_crs)
    stated = model.placement
    own = np.array([stated.origin or (0.0, 0.0, 0.0)])
    origin = tuple(float(value) for value in motion.points(own)[0])
    assert len(origin) == 3
    crs = reference.parse(city_crs)
    if stated.origin is not None and not reference.in_area_of_use(crs, origin[0], origin[1]):
        raise InputError(
            f"({origin[0]:.1f}, {origin[1]:.1f}) is outside the area of use of {crs.name}",
            where=model.source,
            expected="an easting and northing in the city",
            code="E_PLACEMENT",
        )
    said = "; ".join((f"{stated.decision.value} by the file: {stated.source}", *stated.contradictions))
    placement = Placement(
        Decision.PLACED,
        f"{_decided(placing)}: {placing.why}",
        reference.label(crs),
        stated.level,
        origin if stated.origin is not None or motion.after is None else None,
        stated.rotation_deg + motion.turn_deg,
        stated.unit_scale,
        rivals=(said, *stated.rivals),
    )
    return moved(model, motion, placement)


def holds(placing: Placing, stated: Placement) -> bool:
    """Say whether a decision still fits what the file states of its place.

    Where the mesh's origin lies in a model that its file leaves in its own coordinates says nothing of the place, and
    may change with the geometry.
    """
    return placing.origin is not None and _statement(placing.stated) == _statement(stated)


def place(city: City, source: str, placing: Placing | None, at: datetime, by: str) -> Stored:
    """Put `source` where `placing` says, or with None back to where its file puts it: a new revision either way.

    Building models are joined to the networks anew: what meets has moved. Raises UnknownError where there is no such
    source, InputError E_PLACEMENT where no decision could be taken back or the place is outside the city's zone.
    """
    row = city.revisions(source)[-1]
    model = as_stated(city, source)
    if placing is None:
        former = city.placing(source)
        if former is None or former.origin is None:
            raise InputError(
                "nobody has placed it", where=source, expected="a decision to withdraw", code="E_PLACEMENT"
            )
        placing = replace(former, decided=at, by=by, why="withdrawn", origin=None)
    else:
        model = placed(model, placing, city.crs or placing.crs)
    stored = city.replace(model, at, path=row.path, sha256=row.sha256, given=row.given, placing=placing)
    from twin.effects.joints import joints  # noqa: PLC0415  # pandas and scipy, which no other use of a city needs

    city.put_joints(joints(city))
    return stored


def as_stated(city: City, source: str) -> Model:
    """Return the newest revision of `source` where its file puts it: a decision that holds is undone."""
    model = city.model(source)
    placing = city.placing(source)
    if placing is None or placing.origin is None or not _is_of(model.placement, placing):
        return model
    assert city.crs is not None
    motion = motion_of(placing, city.crs).back
    stated = placing.stated
    if stated.origin is not None and model.placement.origin is not None:
        origin = motion.points(np.array([model.placement.origin]))[0]
        stated = replace(stated, origin=tuple(float(value) for value in origin))
    return moved(model, motion, stated)


def _is_of(placement: Placement, placing: Placing) -> bool:
    return placement.source.startswith(_decided(placing))


def _decided(placing: Placing) -> str:
    return f"decided by {placing.by} on {placing.decided:%Y-%m-%d %H:%M}Z"


def _statement(placement: Placement) -> tuple[Any, ...]:
    where = placement.origin if placement.decision is Decision.PLACED else None
    numbers = None if where is None else tuple(round(value, 6) for value in where)
    said = placement.decision, placement.source, placement.crs, placement.level, placement.unit_scale
    return *said, numbers, tuple(placement.contradictions)


def _carried(
    operation: reference.Transformation, origin: tuple[float, float, float], rotation_deg: float
) -> tuple[tuple[float, float, float], float]:
    """Carry an origin and a direction there into the target CRS: the direction turns with the grids' convergences."""
    step_m, angle = 100.0, math.radians(rotation_deg)
    tip = origin[0] + step_m * math.cos(angle), origin[1] + step_m * math.sin(angle)
    east, north = operation.points((origin[0], tip[0]), (origin[1], tip[1]))
    turned = math.degrees(math.atan2(north[1] - north[0], east[1] - east[0]))
    return (float(east[0]), float(north[0]), origin[2]), turned


def _moved_geometries(geometries: list[Any], motion: Motion) -> list[Any]:
    out = np.empty(len(geometries), dtype=object)
    out[:] = geometries
    there = ~shapely.is_missing(out) & ~shapely.is_empty(out)
    has_z = shapely.has_z(out)
    for z in (False, True):
        chosen = there & (has_z == z)
        if chosen.any():
            out[chosen] = shapely.transform(out[chosen], motion.points, include_z=z)
    return out.tolist()
