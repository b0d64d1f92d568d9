"""The city as a browser's map needs it: bounds, vector tiles, building models in their place, facts of an asset."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely
from pyproj import Proj
from shapely.geometry.base import BaseGeometry

from sensors.clock import to_ms
from sensors.device import Device
from twin import crs as reference
from twin.asset import Asset, AssetId
from twin.buildings import stands_for
from twin.city import City, Mesh
from twin.errors import InputError, UnknownError
from twin.writers.tiles import TileSet

MARGIN_DEGREES = 0.0005  # about 50 m around what the city holds, so that nothing touches the edge of the map


@dataclass(frozen=True, slots=True)
class Model:
    """A building model in its place. `buildings` are the assets it stands for: they are not drawn as blocks too."""

    source: str
    url: str
    lng_lat: tuple[float, float]
    height_m: float
    rotation_deg: float
    scale: float
    buildings: Sequence[str]


@dataclass(frozen=True, slots=True)
class CityMapDescription:
    """What the map component asks first. `bounds` are west, south, east, north in degrees; None: nothing is placed."""

    revision: int
    bounds: tuple[float, float, float, float] | None
    tiles: str
    sensors: str
    models: Sequence[Model]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One revision of the city, ready to be drawn."""

    description: CityMapDescription
    tiles: TileSet | None
    layers: Mapping[str, gpd.GeoDataFrame]


class CityView:
    """Answers the map's questions from the city database; what it has drawn it keeps until the city changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()  # held while drawing, which opens the city too
        self._city: City | None = None
        self._drawn: _Drawn | None = None

    def close(self) -> None:
        """Close the database."""
        if self._city is not None:
            self._city.close()

    @property
    def crs(self) -> str | None:
        """The city's CRS; None where there is no city yet, or nothing placed in it."""
        city = self._open()
        return city.crs if city else None

    def opened(self) -> City:
        """Return the city itself, which any thread may read; UnknownError where there is none yet."""
        city = self._open()
        if city is None:
            raise UnknownError("there is no city yet", where=str(self._path), expected="chengmai load FILE")
        return city

    def revision(self) -> int:
        """Return the revision of the city, 0 where there is none yet."""
        city = self._open()
        return city.revision() if city else 0

    def describe(self) -> CityMapDescription:
        """Return what the map shows, of the newest revision."""
        return self._draw().description

    def tile(self, zoom: int, x: int, y: int) -> bytes:
        """Return a gzipped vector tile (MVT 2.1), empty where there is nothing."""
        tiles = self._draw().tiles
        return tiles.tile(zoom, x, y) if tiles else b""

    def layers(self) -> Mapping[str, gpd.GeoDataFrame]:
        """Return what is placed, of the newest revision: links, buildings, nodes, zones, in the city's CRS."""
        return self._draw().layers

    def mesh(self, source: str) -> Mesh:
        """Return the geometry of a building model; raises UnknownError."""
        return self.opened().mesh(source)

    def asset(self, asset: str) -> Asset:
        """Return an asset; raises UnknownError."""
        return self.opened().asset(asset)

    def place(self, easting: float | None, northing: float | None, asset: str | None) -> tuple[float, float] | None:
        """Return longitude and latitude (degrees) of a point in the city's CRS, or else of an asset; None: nowhere."""
        crs = self.crs
        if crs is None:
            return None
        if (easting is None or northing is None) and asset:
            point = self._middle(asset)
            easting, northing = (point.x, point.y) if point is not None else (None, None)
        if easting is None or northing is None:
            return None
        longitude, latitude = reference.to_lonlat(crs, easting, northing)
        return round(float(longitude), 7), round(float(latitude), 7)

    def places(self, devices: Sequence[Device]) -> list[tuple[float, float] | None]:
        """Return where each device stands, longitude and latitude in degrees."""
        return [self.place(device.easting, device.northing, device.asset) for device in devices]

    def _middle(self, asset: str) -> shapely.Point | None:
        try:
            geometry = geometry_of(self.asset(asset))
        except UnknownError:
            return None
        if geometry is None:
            return None
        if isinstance(geometry, shapely.LineString):
            return geometry.interpolate(0.5, normalized=True)
        return geometry.centroid

    def _open(self) -> City | None:
        with self._lock:
            if self._city is None and self._path.exists():
                try:
                    self._city = City.open(self._path)
                except InputError as error:
                    if error.code != "E_FORMAT" or self._path.stat().st_size:
                        raise
            return self._city

    def _draw(self) -> _Drawn:
        with self._lock:
            revision = self.revision()
            if self._drawn is None or self._drawn.description.revision != revision:
                self._drawn = self._drawing(revision)
            return self._drawn

    def _drawing(self, revision: int) -> _Drawn:
        city, crs = self._open(), self.crs
        edition = _edition(city, revision)
        address = f"/tiles/{{z}}/{{x}}/{{y}}.mvt?revision={edition}"
        sensors = "/api/v1/map/sensors"
        if city is None or crs is None:
            return _Drawn(CityMapDescription(revision, None, address, sensors, ()), None, {})
        layers = {name: _frame(city, name) for name in ("links", "buildings", "nodes", "zones")}
        tiles = TileSet(layers["links"], layers["buildings"], layers["nodes"], layers["zones"], crs)
        if tiles.bounds_lonlat is None:
            return _Drawn(CityMapDescription(revision, None, address, sensors, ()), None, layers)
        west, south, east, north = tiles.bounds_lonlat
        bounds = (west - MARGIN_DEGREES, south - MARGIN_DEGREES, east + MARGIN_DEGREES, north + MARGIN_DEGREES)
        models = _models(city, crs, layers["buildings"], edition)
        return _Drawn(CityMapDescription(revision, bounds, address, sensors, models), tiles, layers)


def _edition(city: City | None, revision: int) -> str:
    """Return what browsers keep tiles and models under: a city made anew counts its revisions from 1 again."""
    loaded = max((row.loaded for row in city.sources()), default=None) if city else None
    return f"{revision}-{to_ms(loaded)}" if loaded else str(revision)


def _frame(city: City, name: str) -> gpd.GeoDataFrame:
    frame = city.table(name, placed_only=True)
    assert isinstance(frame, gpd.GeoDataFrame)  # these four tables are layers
    return frame


def _models(city: City, crs: str, buildings: gpd.GeoDataFrame, edition: str) -> list[Model]:
    """Return the placed models; their rotation is from grid east, the map's from true east (meridian convergence)."""
    projection = Proj(reference.parse(crs))
    placed = [row.source for row in city.sources() if row.placement.decision == "placed"]
    meshes = {source: mesh for source in placed if (mesh := _mesh(city, source)) is not None}
    standing = stands_for(buildings, meshes.keys())
    models: list[Model] = []
    for source, mesh in meshes.items():
        longitude, latitude = (float(v) for v in reference.to_lonlat(crs, mesh.easting, mesh.northing))
        factors = projection.get_factors(longitude, latitude)
        models.append(
            Model(
                source=source,
                url=f"/models/{source}.glb?revision={edition}",
                lng_lat=(longitude, latitude),
                height_m=0.0,  # the map is flat: ground is zero everywhere
                rotation_deg=mesh.rotation_deg - factors.meridian_convergence,
                scale=1.0 / factors.meridional_scale,
                buildings=_drawn_by(source, buildings, standing),
            )
        )
    return models


def _mesh(city: City, source: str) -> Mesh | None:
    try:
        return city.mesh(source)
    except UnknownError:  # most sources have none
        return None


def _drawn_by(source: str, buildings: gpd.GeoDataFrame, standing: Mapping[AssetId, AssetId]) -> list[str]:
    """Return the ids of the model's own buildings, and of the footprints of other sources that it stands for."""
    own = {str(asset) for asset in buildings.loc[buildings["source"] == source, "asset"]}
    return sorted(own) + sorted(footprint for footprint, model in standing.items() if model in own)


def geometry_of(asset: Asset) -> BaseGeometry | None:
    """Return where an asset is, in the city's CRS; None where it has no place of its own."""
    for name in ("point", "line", "footprint", "area", "position"):
        geometry = getattr(asset, name, None)
        if isinstance(geometry, BaseGeometry) and not geometry.is_empty:
            return geometry
    return None


def facts(asset: Asset) -> dict[str, str | int | float | bool]:
    """Return what is known of an asset, field by field, geometry left out; unknown fields are left out too."""
    known: dict[str, str | int | float | bool] = {}
    for field in dataclasses.fields(asset):
        value: Any = getattr(asset, field.name)
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, (str, int, float, bool)) and value != "":
            known[field.name] = value
    return known


def properties(asset: Asset) -> dict[str, Any]:
    """Return what the file says of an asset beyond its fields, by the file's own names."""
    said: Mapping[str, Any] = getattr(asset, "properties", {})
    return {name: value for name, value in said.items() if value not in (None, "")}
