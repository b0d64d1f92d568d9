"""Shifts follow one another without gap or overlap in the city's own time, clock changes included."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.figures.shift import Position, Rota, ShiftRow, check_shifts, position_of
from sensors.response import load
from twin.asset import System
from twin.errors import InputError, SettingsError

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
THREE = load().shift
ROTA = Rota.of(THREE, SHANGHAI)
DESK = (Position("desk", "值班席", "desk"),)
MOMENTS = st.integers(0, 366 * 86_400).map(lambda second: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second))
STARTS = st.lists(st.integers(0, 11), min_size=1, max_size=5, unique=True)


def row(shift_id: str, start: time) -> ShiftRow:
    return ShiftRow(shift_id, shift_id, shift_id, start, "test", verified=False)


def test_night_shift_begins_at_the_citys_midnight():
    night = ROTA.at(datetime(2026, 11, 21, 16, tzinfo=UTC))
    assert night.label == "2026-11-22/night"
    assert (night.start, night.end) == (
        datetime(2026, 11, 21, 16, tzinfo=UTC),
        datetime(2026, 11, 22, 0, tzinfo=UTC),
    )
    assert ROTA.at(night.start - timedelta(microseconds=1)).label == "2026-11-21/evening"


def test_before_the_first_start_of_a_day_it_is_still_yesterdays_shift():
    rota = Rota.of([row("late", time(20)), row("early", time(8))], SHANGHAI)
    assert rota.at(datetime(2026, 11, 22, 3, tzinfo=SHANGHAI)).label == "2026-11-21/late"


@given(moment=MOMENTS, starts=STARTS, minute=st.integers(0, 59), zone=st.sampled_from([SHANGHAI, BERLIN]))
def test_every_moment_is_in_one_shift_and_shifts_follow_one_another(moment, starts, minute, zone):
    rota = Rota.of([row(f"s{start}", time(2 * start, minute)) for start in starts], zone)
    shift = rota.at(moment)
    assert shift.start <= moment < shift.end
    assert rota.after(shift).start == shift.end
    assert rota.before(rota.after(shift)) == shift
    assert rota.named(shift.label, moment) == shift


def test_night_in_which_clocks_are_put_back_is_an_hour_longer():
    night = Rota.of(THREE, BERLIN).at(datetime(2026, 10, 25, 2, tzinfo=BERLIN))
    assert night.end - night.start == timedelta(hours=9)


def test_shifts_are_named_as_people_name_them():
    now = datetime(2026, 11, 22, 9, 30, tzinfo=SHANGHAI)
    named = {name: ROTA.named(name, now).label for name in ("current", "last", "evening", "2026-11-20/day")}
    assert named == {
        "current": "2026-11-22/day",
        "last": "2026-11-22/night",
        "evening": "2026-11-21/evening",
        "2026-11-20/day": "2026-11-20/day",
    }


@pytest.mark.parametrize(
    "name", ["noon", "2026-13-01/day", "9999-12-31/day", "0001-01-01/night", "2026-11-22/evening", "/", "2026-11-22/"]
)
def test_shift_that_is_none_or_has_not_begun_is_refused(name):
    with pytest.raises(InputError, match="shift"):
        ROTA.named(name, datetime(2026, 11, 22, 9, 30, tzinfo=SHANGHAI))


def test_shifts_between_two_times_are_whole():
    day = datetime(2026, 11, 22, 1, tzinfo=SHANGHAI)
    labels = [shift.label for shift in ROTA.between(day, day + timedelta(hours=15))]
    assert labels == ["2026-11-22/night", "2026-11-22/day"]
    assert ROTA.at(day).day == date(2026, 11, 22)


def test_alarm_is_of_the_first_desk_that_watches_it():
    desks = (Position("gas", "", "", (System.GAS,)), Position("east", "", "", (), ("east",)))
    assert [position_of(desks, *each) for each in (("gas", "east"), ("water", "east"), ("water", "west"))] == [
        "gas",
        "east",
        "",
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "at least one shift"),
        ([row("a", time(8)), row("b", time(9))], "lasts 1:00:00"),
        ([row("a", time(8)), row("b", time(8))], "lasts"),
        ([row("current", time(8))], "is no name"),
        ([row("a", time(8, tzinfo=UTC))], "names an offset"),
    ],
)
def test_shifts_that_no_city_can_keep_are_refused(rows, said):
    with pytest.raises(SettingsError, match=said):
        check_shifts(rows, DESK, "response.toml")


def test_file_names_the_place_of_a_target_in_the_wrong_unit(tmp_path):
    from importlib import resources

    text = (resources.files("sensors") / "response.toml").read_text("utf-8")
    file = tmp_path / "response.toml"
    file.write_text(text.replace('stale = { value = 24, unit = "h"', 'stale = { value = 24, unit = "%"'), "utf-8")
    with pytest.raises(SettingsError, match=r"targets\.stale: is in '%'"):
        load(file)
