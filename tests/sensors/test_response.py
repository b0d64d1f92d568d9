import tomllib
from datetime import timedelta
from importlib import resources
from itertools import pairwise

import pytest

from sensors.people import Role
from sensors.response import load
from twin.errors import SettingsError

PACKAGED = (resources.files("sensors") / "response.toml").read_text("utf-8")


@pytest.fixture
def changed(tmp_path):
    """Load the packaged response with `old` replaced by `new` in its text."""

    def make(old, new):
        assert old in PACKAGED
        path = tmp_path / "response.toml"
        path.write_text(PACKAGED.replace(old, new, 1), "utf-8")
        return load(path)

    return make


def numbers(table):
    """Yield every table of the file that holds a bare number, at any depth."""
    for value in table.values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                if any(isinstance(one, int | float) and not isinstance(one, bool) for one in each.values()):
                    yield each
                yield from numbers(each)


def test_every_number_of_the_packaged_response_has_its_source():
    found = list(numbers(tomllib.loads(PACKAGED)))
    assert len(found) > 8
    assert [each for each in found if "source" not in each or "verified" not in each] == []


def test_a_worse_level_has_no_longer():
    for deadline in load().deadline:
        assert all(worse <= milder for worse, milder in pairwise(deadline.within(level) for level in (1, 2, 3, 4)))


def test_each_kind_of_event_of_the_city_has_a_plan_in_both_languages():
    plans = load().plans
    assert set(plans) == {"gas_in_manhole", "burst_main", "sewer_overflow", "cover_open", "sensor_fault"}
    assert all(step.zh and step.en for plan in plans.values() for step in plan.steps)


def test_the_ladder_goes_from_whose_turn_it_was_to_its_end():
    escalation = load().escalation
    ladder = [escalation.after(Role.FIELD)]
    while (told := escalation.after(ladder[-1])) is not None:
        ladder.append(told)
    assert ladder == list(escalation.roles)


def test_a_city_that_gives_more_time_gets_it(changed):
    response = changed(
        'step = "dispatched"\nrole = "field"\nred_min = 30', 'step = "dispatched"\nrole = "field"\nred_min = 45'
    )
    assert response.deadlines["dispatched"].within(1) == timedelta(minutes=45)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("red_min = 5", "red_min = nan", "deadline reported: red_min: is nan"),
        ("red_min = 5", "red_min = 50", "no longer than a milder"),
        ("red_min = 5", "red_minutes = 5", "deadline"),
        ('step = "verified"', 'step = "verifed"', "verifed"),
        ('step = "verified"', 'step = "done"', "'done' stands twice"),
        ('role = "operator"', 'role = "watchman"', "watchman"),
        ('roles = ["dispatcher", "engineer", "admin"]', "roles = []", "names nobody"),
        ("again_share = 0.5", "again_share = 0", "at least 0.1"),
        ("suspension_d = 30", "suspension_d = inf", "more than 0"),
        ("extensions = 2", "extensions = -1", "negative"),
        ('id = "water_company"', 'id = "gas_company"', "'gas_company' stands twice"),
        ('rules = ["burst", "leak"]\nsystems = ["water"]', 'rules = ["cover_open"]', "cover_open is of another plan"),
        ('systems = ["gas"]', 'systems = ["steam"]', "steam"),
    ],
)
def test_a_slip_in_the_file_is_refused_with_its_place(changed, old, new, said):
    with pytest.raises(SettingsError, match=said) as error:
        changed(old, new)
    assert "response.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_deadline_that_is_missing_is_named(tmp_path):
    whole = tomllib.loads(PACKAGED)["deadline"]
    path = tmp_path / "response.toml"
    start = PACKAGED.index('[[deadline]]\nstep = "in_hand"')
    path.write_text(PACKAGED[:start] + PACKAGED[PACKAGED.index("[[deadline]]", start + 1) :], "utf-8")
    assert len(tomllib.loads(path.read_text("utf-8"))["deadline"]) == len(whole) - 1
    with pytest.raises(SettingsError, match="deadline in_hand: is missing"):
        load(path)


@pytest.mark.parametrize(
    ("content", "said"), [(b"[[", "response.toml"), (b"\xff\xfe", "UTF-8"), (None, "no such file")]
)
def test_a_file_that_cannot_be_read_is_said(tmp_path, content, said):
    path = tmp_path / "response.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        load(path)
