from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from sensors.alarm import Place, raise_
from sensors.city_calendar import Calendar, Holiday
from sensors.detection import Detection, DetectionKind, Subject
from sensors.figures.shift import Rota
from sensors.notify import open_notifier
from sensors.notify.routing import Notice, Notify, Quiet, Retry, Route, Router
from sensors.people import Role
from sensors.response import load
from twin.asset import System
from twin.errors import SettingsError

ROTA = Rota.of(load().shift, ZoneInfo("Asia/Shanghai"))
NEW_YEAR = Holiday("new year", date(2026, 1, 1), date(2026, 1, 3), "", verified=True, working=(date(2026, 1, 4),))
CALENDAR = Calendar(8.0, (NEW_YEAR,))
QUIET = Quiet(time(22), time(6), "", verified=True)


def route(name="r", **fields):
    return Route(name=name, channels=("log",), source="", verified=True, **fields)


def router(*routes, quiet=QUIET):
    return Router(Notify(Retry(1, 10, 1, "", verified=True), quiet, (), routes), ROTA, CALENDAR)


def notice(level=3, system="gas", district="hewan", incident=None):
    found = Detection(Subject("device:X"), "rule", DetectionKind.LIMIT, active=True, level=level, time=1)
    alarm, _ = raise_(1, found, Place(system=system), datetime(2026, 1, 1, tzinfo=UTC))
    return Notice(alarm, district, incident)


def local(day, hour, minute=0):
    return datetime(2026, 1, day, hour, minute, tzinfo=ROTA.zone)


@pytest.mark.parametrize(
    ("fields", "seen", "taken"),
    [
        ({}, notice(4, "water", "x"), True),
        ({"level": "orange"}, notice(2), True),
        ({"level": "orange"}, notice(3), False),
        ({"systems": (System.GAS,)}, notice(system="gas"), True),
        ({"systems": (System.GAS,)}, notice(system="water"), False),
        ({"systems": (System.GAS,)}, notice(system=""), True),
        ({"districts": ("hewan",)}, notice(district="other"), False),
        ({"districts": ("hewan",)}, notice(district=""), True),
    ],
)
def test_a_route_takes_by_level_system_and_district(fields, seen, taken):
    assert bool(router(route(**fields)).of(seen)) is taken


def test_a_group_is_the_incident_or_else_system_and_district():
    assert notice().group == "hewan/gas"
    assert notice(system="", district="").group == "-/-"
    assert notice(incident=7).group == "incident:7"


def test_quiet_hours_hold_back_everything_but_level_1():
    each = route(quiet=True)
    at = router(each)
    night, morning = local(5, 23), local(6, 6).astimezone(UTC)
    assert not at.tells(each, 2, night)
    assert at.opens(each, 2, night) == morning
    assert at.opens(each, 2, local(6, 5, 59)) == morning
    assert at.opens(each, 1, night) == night
    assert at.tells(each, 2, local(6, 12))
    assert router(route(quiet=False)).tells(route(), 4, night)


def test_a_route_of_a_shift_opens_when_it_comes_on():
    each = route(shifts=("night",))
    at = router(each)
    assert at.opens(each, 1, local(5, 9)) == local(6, 0).astimezone(UTC)
    assert at.tells(each, 4, local(6, 7, 59))
    assert not at.tells(each, 4, local(6, 8))


def test_days_are_those_of_the_calendar():
    at = router(*(routes := [route(day, days=(day,)) for day in ("working", "weekend", "holiday")]))
    told = {day: [each.name for each in routes if at.tells(each, 4, local(day, 12))] for day in (2, 4, 5, 10)}
    assert told == {2: ["holiday"], 4: ["working"], 5: ["working"], 10: ["weekend"]}
    assert at.opens(routes[1], 4, local(5, 12)) == local(10, 0).astimezone(UTC)


def test_a_time_that_never_comes_is_looked_at_again():
    each = route(days=("holiday",))
    assert router(each).opens(each, 4, local(5, 12)) > local(31, 0)


def test_cases_of_a_role_go_over_the_routes_that_name_it():
    at = router(route("a", roles=(Role.DISPATCHER,)), route("b"), route("c", roles=(Role.DISPATCHER,), level="red"))
    assert [each.name for each in at.of_role(Role.DISPATCHER, 2, "gas", "hewan")] == ["a"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('channels = ["log"]', 'channels = ["pager"]', "no such name as pager"),
        ('channels = ["log"]', "channels = []", "names no channel"),
        ("wait_s = 30", "wait_s = nan", "wait_s"),
        ("repeat_s = 1800", "repeat_s = -1", "repeat_s"),
        ("repeat_s = 1800", 'shifts = ["noon"]', "no such name as noon"),
        ("longest_s = 600", "longest_s = 1", "notify.retry"),
        ("begins = 22:00:00", 'begins = "22:00:00Z"', "notify.quiet"),
        ('name = "everything"', 'name = ""', "notify.route"),
    ],
)
def test_a_file_that_cannot_work_is_refused_with_the_place(tmp_path, old, new, said):
    from importlib import resources

    text = (resources.files("sensors") / "response.toml").read_text("utf-8")
    assert text.count(old) >= 1
    file = tmp_path / "response.toml"
    file.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(SettingsError, match=r"response\.toml") as caught:
        load(file)
    assert said in str(caught.value)


def test_the_packaged_file_tells_everything_to_the_log():
    notify = load().notify
    at = Router(notify, ROTA, CALENDAR)
    assert [each.channels for each in at.of(notice(4, "", ""))] == [("log",)]
    for channel in notify.channel:
        open_notifier(channel.kind, channel.options, channel.name).close()


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("pigeon", {}, "no such kind of channel as pigeon"),
        ("log", {"langauge": "zh"}, "langauge"),
        ("webhook", {}, "url"),
        ("webhook", {"url": "ftp://x"}, "http or https"),
        ("webhook", {"url": "https://x", "format": "cap"}, "cap"),
        ("webhook", {"url": "https://x", "secret_file": "/nowhere"}, "/nowhere"),
        ("webhook", {"url": "https://x", "timeout_s": 3600}, "timeout_s"),
        ("email", {"host": "x", "sender": "nobody"}, "sender"),
        ("email", {"host": "x", "sender": "a@b", "security": "none", "username": "u"}, "in the clear"),
        ("email", {"host": "x", "sender": "a@b", "password_file": "/nowhere"}, "/nowhere"),
        ("email", {"host": "x", "sender": "a@b", "cap": {"sender": "a b"}}, "cap.sender"),
        ("email", {"host": "x", "sender": "a@b", "cap": {"sender": "a", "crs": "EPSG:1"}}, "cap.crs"),
        ("email", {"host": "x", "sender": "a@b", "cap": {"sender": "a", "status": "Real"}}, "cap.status"),
        ("mqtt", {"url": "http://x"}, "broker"),
        ("mqtt", {"url": "mqtt://x", "district": "a/b"}, "district"),
    ],
)
def test_a_channel_with_wrong_options_is_refused_with_its_place(kind, options, said):
    with pytest.raises(SettingsError, match=r"notify\.channel x") as caught:
        open_notifier(kind, options, "notify.channel x")
    assert said in str(caught.value)
