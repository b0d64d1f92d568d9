"""What a file can state about where it stands, as plain values: map conversions, site, world axes, true north."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCALE_TOLERANCE = 2e-3
"""How far Scale may lie from the ratio of units and still be a surveyor's combined factor: UTM's 0.9996 on the
central meridian and 4,000 m of altitude together make 1e-3."""

LARGE_M = 10_000.0
"""A placement this far from zero is in map coordinates: no site reaches so far from a zero of its own."""


def metres(value: float) -> str:
    """Return whole metres as a person reads them; past any map, powers of ten.

    >>> metres(3_350_000.4), metres(1e300)
    ('3350000', '1e+300')
    """
    return f"{value:.0f}" if abs(value) < 1e9 else f"{value:.3g}"


@dataclass(frozen=True, slots=True)
class MapConversion:
    """An IfcMapConversion, IfcMapConversionScaled, IfcRigidOperation or ePSet_MapConversion as written.

    `easting`, `northing`, `height` are in map units, `map_unit_m` metres each (None where the file does not say);
    (`abscissa`, `ordinate`) is the direction of the model's x axis in the map. `factors` are FactorX, Y and Z.
    `angular`: the first two are angles in degrees, first and second coordinate as written, and `height` is metres
    above the ellipsoid. `doubts` are lines that say where the entity contradicts itself, `notes` what other attributes
    of its CRS say otherwise, `hints` the names of CRSs that these attributes give.
    """

    entity: str
    crs: str | None
    easting: float
    northing: float
    height: float
    abscissa: float = 1.0
    ordinate: float = 0.0
    scale: float | None = None
    map_unit_m: float | None = None
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    angular: bool = False
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def rotation_deg(self) -> float:
        """The model's x axis, degrees counter-clockwise from the map's east."""
        return math.degrees(math.atan2(self.ordinate, self.abscissa))

    @property
    def rank(self) -> str:
        """What it weighs as much as others of: every entity of the schema, the property sets of one class of owner."""
        return self.entity.partition(" #")[0] if self.entity.startswith("ePSet") else "entity"


@dataclass(frozen=True, slots=True)
class LocalOrigin:
    """The placement of IfcSite (LoGeoRef 30) or a context's world coordinate system (40), metres and degrees."""

    entity: str
    level: int
    origin: tuple[float, float, float]
    rotation_deg: float

    @property
    def large(self) -> bool:
        """Whether it can only be in map coordinates."""
        return math.hypot(self.origin[0], self.origin[1]) >= LARGE_M


@dataclass(frozen=True, slots=True)
class Statements:
    """All that a file says about where it stands. `project_unit_m` is metres a model unit.

    `conversions` come in order of weight, the one that decides first. `site_lonlat` is in degrees, `site_height_m` is
    IfcSite.RefElevation. `true_north` is the direction of TrueNorth in the model's frame (x, y).
    """

    project_unit_m: float
    conversions: tuple[MapConversion, ...] = ()
    site_lonlat: tuple[float, float] | None = None
    site_height_m: float | None = None
    address: str = ""
    site: LocalOrigin | None = None
    world: LocalOrigin | None = None
    true_north: tuple[float, float] | None = None
    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """A point near the geometry, in the model's frame, metres: the origin of the mesh."""

    @property
    def true_rotation_deg(self) -> float | None:
        """The model's x axis, degrees counter-clockwise from true east, as TrueNorth has it."""
        return None if self.true_north is None else math.degrees(math.atan2(*self.true_north))
