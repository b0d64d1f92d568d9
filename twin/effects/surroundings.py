"""What stands around the networks of a city: the buildings that they serve, and who is in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import msgspec
import pandas as pd

from twin.asset import AssetId, Basis, Building, Element, Link, Node, Space, Storey, System
from twin.buildings import Sensitive, people, sensitive, stands_for
from twin.effects.clearances import Clearances, read_clearances
from twin.effects.joints import joints, system_of
from twin.effects.service import services
from twin.errors import UnknownError

if TYPE_CHECKING:
    from twin.city import City
    from twin.network.graph import Network

_FIRST = (System.GAS, System.WATER, System.DRAINAGE, System.HEAT)
"""Which of a building's services is meant where nobody says: the most dangerous one."""


@dataclass(frozen=True, slots=True)
class Affected:
    """A building that an event touches: who is in it, through which node, how that is known (`twin.effects.service`).

    `people` is None where no file says. `whole` is False where another connection still serves it. `along_m` is the way
    through the drains to its node, where gas was followed there.
    """

    building: AssetId
    name: str
    people: int | None
    sensitive: Sensitive | None
    node: AssetId
    via: str
    basis: Basis
    confidence: float
    whole: bool = True
    along_m: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A building: what it is called, who is in it (None: no file says), what makes it sensitive."""

    building: AssetId
    name: str
    people: int | None
    sensitive: Sensitive | None


@dataclass(frozen=True, slots=True)
class Within:
    """A storey or space of an affected building."""

    asset: AssetId
    name: str
    building: AssetId


class Surroundings:
    """One revision of a city around one network: layers read once, services worked out once.

    `Surroundings.of` gives the one that belongs to a network; the network is made anew when the city changes.
    """

    def __init__(self, city: City, clearances: Clearances | None = None) -> None:
        self._city = city
        self.clearances = clearances or read_clearances()
        self.sources = city.sources()
        self.nodes, self.links, self.buildings = (_layer(city, name) for name in ("nodes", "links", "buildings"))

    @staticmethod
    def of(city: City, network: Network) -> Surroundings:
        """Return the surroundings of `network`, made at the first call."""
        return network.once(_Making(city))

    @cached_property
    def standing(self) -> dict[AssetId, AssetId]:
        """Footprint → building of the model that stands for it."""
        models = [row.source for row in self.sources if row.kind == "ifc"]
        return stands_for(self.buildings[self.buildings["placement"] == "placed"], models)

    @cached_property
    def services(self) -> pd.DataFrame:
        """`twin.effects.service.services` of the city."""
        return services(self.nodes, self.links, self.buildings, self._joints, standing=self.standing)

    @cached_property
    def _joints(self) -> pd.DataFrame:
        """The city's joints with the building of their element; of a city that has none stored, worked out here."""
        table = self._city.table("joints")
        if table.empty:
            table = pd.DataFrame(joints(self._city), columns=["node", "element", "distance_m", "confidence", "why"])
        elements = self._city.table("elements")
        return table.assign(building=elements["building"].reindex(table["element"]).to_numpy()).dropna(
            subset=["building"]
        )

    @cached_property
    def _residents(self) -> dict[AssetId, int | None]:
        """People in each building; those of a footprint count for the model that stands for it."""
        found: dict[AssetId, int | None] = {}
        columns = ("asset", "residents", "properties")
        for asset, residents, text in zip(*(self.buildings[name] for name in columns), strict=True):
            said = people(residents, msgspec.json.decode(text))
            stands = self.standing.get(asset, AssetId(asset))
            found[stands] = said if said is not None else found.get(stands)
        return found

    @cached_property
    def _storeys(self) -> pd.DataFrame:
        return self._city.table("storeys")

    @cached_property
    def _spaces(self) -> pd.DataFrame:
        spaces = self._city.table("spaces")
        return spaces.assign(building=self._storeys["building"].reindex(spaces["storey"]).to_numpy())

    def served(self, nodes: Collection[AssetId], systems: Collection[System]) -> list[Affected]:
        """Return the buildings that `nodes` serve, by building; of several nodes of one building the surest."""
        rows = self.services[self.services["system"].isin([system.value for system in systems])]
        lost = rows["node"].isin(list(nodes))
        touched = rows[rows["building"].isin(rows.loc[lost, "building"])]
        kept = set(touched.loc[~touched["node"].isin(list(nodes)), "building"])
        best = rows[lost].sort_values("confidence", ascending=False, kind="stable").drop_duplicates("building")
        ordered: Any = best.sort_values("building").to_dict("records")
        return [self._affected(row, whole=row["building"] not in kept) for row in ordered]

    def building(self, asset: AssetId) -> Known:
        """Return who a building is, of a footprint the model's that stands for it."""
        building = self.standing.get(asset, asset)
        row = self.buildings.loc[building]
        name, usage = str(row["name"]), row["usage"]
        kind = sensitive(name, usage if isinstance(usage, str) else None)
        return Known(building, name, self._residents.get(building), kind)

    def _affected(self, row: Mapping[str, Any], *, whole: bool) -> Affected:
        known = self.building(AssetId(row["building"]))
        return Affected(
            building=known.building,
            name=known.name,
            people=known.people,
            sensitive=known.sensitive,
            node=AssetId(row["node"]),
            via=row["via"],
            basis=Basis(row["basis"]),
            confidence=round(row["confidence"], 3),
            whole=whole,
        )

    def within(self, buildings: Sequence[AssetId]) -> tuple[list[Within], list[Within]]:
        """Return the storeys and the spaces of `buildings`."""
        storeys, spaces = (
            [
                Within(AssetId(asset), str(name), AssetId(building))
                for asset, name, building in zip(rows["asset"], rows["name"], rows["building"], strict=True)
            ]
            for rows in (table[table["building"].isin(list(buildings))] for table in (self._storeys, self._spaces))
        )
        return storeys, spaces

    def network_asset(self, asset: str, system: System | None = None) -> AssetId:
        """Return the node or link that `asset` stands for in a network.

        A pipe or device of a building model gives the node that it is joined to; a building, storey or space the node
        that serves it, of `system` or else of the first of gas, water, drainage, heat. Raises UnknownError.
        """
        found = self._city.asset(asset)
        if isinstance(found, (Node, Link)):
            return found.id
        building: AssetId | None = None
        if isinstance(found, Element):
            building = found.building
            system = system or system_of(found.system, found.predefined_type, found.type_name, found.name)
            if (joint := self._joint_of(found)) is not None:
                return joint
        elif isinstance(found, Building):
            building = found.id
        elif isinstance(found, Storey):
            building = found.building
        elif isinstance(found, Space) and found.storey is not None:
            building = self._storeys["building"].get(found.storey)
        if building is None:
            raise UnknownError(
                f"{asset!r} is part of no network", expected="a pipe, a node, or something in a building"
            )
        stands = self.standing.get(building, building)
        rows = self.services[self.services["building"] == stands]
        for each in (system,) if system else _FIRST:
            ours = rows[rows["system"] == each.value]
            if not ours.empty:
                return AssetId(ours.sort_values("confidence", kind="stable")["node"].iloc[-1])
        raise UnknownError(f"nothing is known to serve {stands!r}", expected="a building with a connection")

    def _joint_of(self, element: Element) -> AssetId | None:
        """Return the node that an element's run of pipes is joined to, along its ports."""
        joined = dict(zip(self._joints["element"], self._joints["node"], strict=True))
        connects = self._city.table("elements")["connects"]
        seen, waiting = {str(element.id)}, [str(element.id)]
        while waiting:
            here = waiting.pop()
            if here in joined:
                return AssetId(joined[here])
            beside = [each for each in msgspec.json.decode(connects.get(here, "[]")) if each not in seen]
            seen.update(beside)
            waiting += beside
        return None


@dataclass(frozen=True)
class _Making:
    """Makes the surroundings of a network; two for one city are equal, so that the network keeps one."""

    city: City

    def __call__(self, network: Network) -> Surroundings:
        del network
        return Surroundings(self.city)


def _layer(city: City, name: str) -> gpd.GeoDataFrame:
    frame = city.table(name)
    assert isinstance(frame, gpd.GeoDataFrame)  # these are layers
    return frame


def people_of(buildings: Sequence[Affected]) -> int | None:
    """Return how many people are in `buildings`; None where no file says it of any."""
    known = [each.people for each in buildings if each.people is not None]
    return sum(known) if known else None


def sensitive_of(buildings: Sequence[Affected]) -> list[Affected]:
    """Return the hospitals, schools and the like among `buildings`."""
    return [each for each in buildings if each.sensitive is not None]
