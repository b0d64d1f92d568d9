import pytest

from sensors.people import ROLE_WORDS, Action, Person, PersonId, Role, demand, may
from twin.errors import InputError


def test_everybody_may_look_on():
    assert all(may(role, Action.VIEW) for role in Role)


def test_every_action_is_somebodys():
    assert [action for action in Action if not any(may(role, action) for role in Role)] == []


@pytest.mark.parametrize("action", [Action.REPORT, Action.HANDLE, Action.VERIFY, Action.CLOSE, Action.ACKNOWLEDGE])
def test_an_auditor_changes_nothing_that_was_done(action):
    assert not may(Role.AUDITOR, action)


def test_who_handles_a_case_neither_verifies_nor_closes_any():
    handling = [role for role in Role if may(role, Action.HANDLE)]
    assert not any(may(role, action) for role in handling for action in (Action.VERIFY, Action.CLOSE, Action.APPROVE))


def test_an_action_that_a_role_may_not_do_is_refused_with_who_may():
    with pytest.raises(InputError, match=r"operator, who may not do case.close \(expected dispatcher\)") as error:
        demand(Person(PersonId("wang"), "王", Role.OPERATOR), Action.CLOSE, "case 1")
    assert error.value.code == "E_FORBIDDEN"


@pytest.mark.parametrize(("login", "name"), [("", "王"), (" ", "王"), ("wang", "")])
def test_nobody_acts(login, name):
    with pytest.raises(InputError, match="nobody acts"):
        demand(Person(PersonId(login), name, Role.ADMIN), Action.VIEW, "case 1")


def test_every_role_has_its_words():
    assert set(ROLE_WORDS) == set(Role)
