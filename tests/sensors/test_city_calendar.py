from datetime import date, timedelta

import pytest

from sensors.city_calendar import Calendar, DayKind, Holiday, check_calendar
from sensors.limits import load
from twin.errors import SettingsError

EPOCH = date(1970, 1, 1)


def holiday(first, last, working=(), name="a"):
    return Holiday(name, first, last, "a notice", verified=False, working=working)


def test_weekend_that_is_worked_for_a_holiday_is_a_working_day():
    calendar = load().calendar
    assert [calendar.day(date(2026, 2, day)) for day in (13, 14, 15, 23, 24, 28)] == [
        DayKind.WORKING,
        DayKind.WORKING,
        DayKind.HOLIDAY,
        DayKind.HOLIDAY,
        DayKind.WORKING,
        DayKind.WORKING,
    ]


def test_table_of_days_says_what_each_day_is():
    calendar = load().calendar
    days = calendar.days()
    for number in range(20_000, 21_200):
        assert days[number] == calendar.day(EPOCH + timedelta(days=number))


def test_every_holiday_names_its_source():
    assert all(each.source for each in load().calendar.holiday)


@pytest.mark.parametrize(
    ("calendar", "says"),
    [
        (Calendar(20.0), "no offset"),
        (Calendar(float("nan")), "no offset"),
        (Calendar(8.0, (holiday(date(2026, 5, 5), date(2026, 5, 1)),)), "in order"),
        (Calendar(8.0, (holiday(date(2025, 5, 1), date(2026, 5, 5)),)), "31 days"),
        (Calendar(8.0, (holiday(date(1960, 5, 1), date(1960, 5, 5)),)), "1970 to 2099"),
        (Calendar(8.0, (holiday(date(2026, 5, 1), date(2026, 5, 5), (date(2026, 5, 3),)),)), "is of a already"),
        (
            Calendar(
                8.0,
                (
                    holiday(date(2026, 5, 1), date(2026, 5, 5)),
                    holiday(date(2026, 5, 4), date(2026, 5, 8), name="b"),
                ),
            ),
            "2026-05-04 is of a already",
        ),
    ],
)
def test_calendar_that_no_city_has_is_refused(calendar, says):
    with pytest.raises(SettingsError, match=says):
        check_calendar(calendar, "limits.toml")
