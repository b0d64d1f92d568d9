"""Floods: more new alarms at once than a person can take in, told in groups, the worst first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sensors.alarm import Alarm

WITHIN = timedelta(minutes=10)
MOST = 10
"""More than so many new alarms in `WITHIN` for one operator are a flood (ISA-18.2-2016, clause 16; EEMUA 191)."""


@dataclass(frozen=True, slots=True)
class Group:
    """Alarms of one level, rule and system that came together; `first` is the one whose onset is earliest."""

    level: int
    rule: str
    system: str
    count: int
    first: Alarm


def flood(alarms: Iterable[Alarm], now: datetime) -> list[Group]:
    """Return the groups of a flood, the worst level first, then the largest; none where there is no flood.

    Counted are alarms that the city noticed within `WITHIN` before `now` (the city's time). A group hides nothing:
    whoever lists alarms lists every one of level 1 as well.
    """
    fresh = [alarm for alarm in alarms if alarm.detected > now - WITHIN]
    if len(fresh) <= MOST:
        return []
    together: dict[tuple[int, str, str], list[Alarm]] = defaultdict(list)
    for alarm in fresh:
        together[alarm.level, alarm.rule, alarm.place.system].append(alarm)
    groups = [
        Group(level, rule, system, len(members), min(members, key=lambda alarm: (alarm.onset, alarm.id)))
        for (level, rule, system), members in together.items()
    ]
    return sorted(groups, key=lambda group: (group.level, -group.count, group.rule))


__all__ = ["MOST", "WITHIN", "Group", "flood"]
