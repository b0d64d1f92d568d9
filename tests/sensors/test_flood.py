"""A flood is told in groups, the worst first; fewer alarms than that are no flood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sensors.alarm import Alarm, AlarmId, Place, raise_
from sensors.clock import to_ms
from sensors.detection import Detection, DetectionKind, Subject
from sensors.flood import MOST, flood

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def alarms(count: int, rule: str, level: int, ago: timedelta = timedelta(minutes=1), first: int = 1) -> list[Alarm]:
    at = NOW - ago
    made: list[Alarm] = []
    for number in range(first, first + count):
        time = to_ms(at) - number
        subject = Subject(f"point:P-{number}/pressure")
        detection = Detection(subject, rule, DetectionKind.LIMIT, active=True, level=level, time=time, value=1.0)
        made.append(raise_(AlarmId(number), detection, Place(system="water"), at)[0])
    return made


def test_ten_alarms_in_ten_minutes_are_no_flood():
    assert flood(alarms(MOST, "low", 2), NOW) == []


def test_a_flood_is_grouped_with_the_worst_first_however_few():
    groups = flood([*alarms(997, "low", 2), *alarms(3, "negative", 1, first=2000)], NOW)
    assert [(group.level, group.rule, group.count) for group in groups] == [(1, "negative", 3), (2, "low", 997)]


def test_each_group_names_its_earliest_alarm():
    (group,) = flood(alarms(20, "low", 2), NOW)
    assert group.first.id == 20


def test_what_was_noticed_longer_ago_does_not_count():
    assert flood(alarms(1000, "low", 2, ago=timedelta(minutes=11)), NOW) == []
