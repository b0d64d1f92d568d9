"""What a good alarm system looks like in figures: the definitions and targets of a city, each with its source."""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec

from sensors.limits import Number
from twin.errors import SettingsError


class Targets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Definitions (what counts as flood, chattering, fleeting, stale) and targets, as the city's file has them.

    `level_1` to `level_4` are the recommended shares of what is announced; of `level_1` to `level_3` it is the most,
    of `level_4` the least.
    """

    flood_over: Number
    flood_until: Number
    chattering: Number
    fleeting: Number
    stale: Number
    rate_acceptable: Number
    rate_manageable: Number
    over_share: Number
    top_share: Number
    stale_most: Number
    level_1: Number
    level_2: Number
    level_3: Number
    level_4: Number

    @property
    def levels(self) -> tuple[float, float, float, float]:
        """The recommended shares of levels 1 to 4, of 1."""
        return (self.level_1.si, self.level_2.si, self.level_3.si, self.level_4.si)

    @property
    def stale_after(self) -> timedelta:
        """How long an alarm stands before it is stale."""
        return timedelta(seconds=self.stale.si)

    @property
    def fleeting_below(self) -> timedelta:
        """An alarm that stood for less than this is fleeting."""
        return timedelta(seconds=self.fleeting.si)


_TIMES = frozenset({"fleeting", "stale"})
"""Targets that are times; the others are counts and shares."""


def check_targets(targets: Targets, where: str) -> None:
    """Refuse targets that cannot be; SettingsError with the place, under `where`."""
    for name in Targets.__struct_fields__:
        number: Number = getattr(targets, name)
        units = {"s", "min", "h", "d"} if name in _TIMES else {"1", "%"}
        if number.unit not in units:
            raise SettingsError(
                f"is in {number.unit!r}", where=f"{where}: targets.{name}", expected=" or ".join(sorted(units))
            )
        if not 0 <= number.value < math.inf:
            raise SettingsError(f"is {number.value}", where=f"{where}: targets.{name}", expected="0 or more")
    if not 1 <= targets.flood_until.si <= targets.flood_over.si:
        raise SettingsError(
            f"is {targets.flood_until.value}",
            where=f"{where}: targets.flood_until",
            expected="1 or more, and flood_over or less",
        )
    if targets.chattering.si < 2:
        raise SettingsError(
            "one alarm would chatter", where=f"{where}: targets.chattering", expected="2 or more a minute"
        )


__all__ = ["Targets", "check_targets"]
