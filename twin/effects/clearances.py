"""Clearances and reaches of an event: one TOML file, every number with its source, checked before it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from twin.errors import SettingsError
from twin.sourced import Sourced, read_sourced


class GasDrainRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Least clearance in plan of a gas pipe up to a pressure (gauge) from a drain, wall to wall, metres."""

    grade: str
    up_to_pa: float
    plan_m: float


class CrossingRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Least clearance in height where a gas pipe and a drain cross, wall to wall, metres."""

    rise_m: float


class GasReachRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far gas is followed in a drain, and looked for in the ground around one, metres."""

    along_m: float
    search_m: float
    shaft_m: float
    unknown_pa: float


class MaterialRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A material by the words that name it, and how much likelier than steel it leaks."""

    words: tuple[str, ...]
    factor: float


class GasScoreRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ranks gas pipes as the origin of gas in a drain; metres and factors."""

    gap_m: float
    along_m: float
    relations: Mapping[str, float]
    pressures: Mapping[str, float]
    old_years: float
    old: float
    service: float
    material: tuple[MaterialRow, ...]

    def of_material(self, material: str | None) -> float:
        """Return the factor of a material as the file names it; 1 for what no row names."""
        said = (material or "").casefold()
        for row in self.material:
            if any(_names(word.casefold(), said) for word in row.words):
                return row.factor
        return 1.0


class WashoutRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a burst washes the ground out."""

    repose_deg: float
    jet_diameters: float
    jet_head_m: float
    cover_m: float
    head_m: float
    diameter_m: float

    def radius_m(self, diameter_m: float | None, head_m: float | None, cover_m: float | None) -> float:
        """Return the radius of the hole at the surface, metres; None takes the row's own stand-in."""
        diameter, head, cover = (
            own if given is None else given
            for given, own in ((diameter_m, self.diameter_m), (head_m, self.head_m), (cover_m, self.cover_m))
        )
        jet = self.jet_diameters * diameter * math.sqrt(max(head, 0.0) / self.jet_head_m)
        return max(cover, 0.0) / math.tan(math.radians(self.repose_deg)) + jet


class Clearances(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    gas_drain: tuple[GasDrainRow, ...]
    gas_drain_crossing: CrossingRow
    gas_reach: GasReachRow
    gas_score: GasScoreRow
    washout: WashoutRow

    @property
    def gas_verified(self) -> bool:
        """Whether every number that an answer about gas and drains rests on was held against the text of its source."""
        return all(row.verified for row in (*self.gas_drain, self.gas_drain_crossing, self.gas_reach, self.gas_score))

    def grade(self, pressure_pa: float) -> GasDrainRow:
        """Return the row of a gas pipe of this gauge pressure; the last one for what exceeds them all."""
        return next((row for row in self.gas_drain if pressure_pa <= row.up_to_pa), self.gas_drain[-1])


def _names(word: str, said: str) -> bool:
    """Say whether `said` has `word` in it; a Latin word has to stand alone, so that PE is not found in "copper"."""
    return word in said if not word.isascii() or " " in word else word in re.findall("[a-z]+", said)


def read_clearances(path: Path | None = None) -> Clearances:
    """Return the table at `path`, else the one that comes with Chengmai; SettingsError where it is wrong."""
    table, where = read_sourced(Clearances, path, "twin.effects", "clearances.toml")
    limits = [row.up_to_pa for row in table.gas_drain]
    if not limits or limits != sorted(limits):
        raise SettingsError("rows of gas_drain are not in order of up_to_pa", where=where, expected="the lowest first")
    return table
