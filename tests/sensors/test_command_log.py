from datetime import timedelta

import pytest

from sensors.command_log import EXPIRED, MAX_ARGS, CommandLog, CommandState
from sensors.registry import Registry
from twin.asset import System
from twin.errors import InputError, UnknownError

from .conftest import NOON

SOON = NOON + timedelta(minutes=10)
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def log(engine):
    return CommandLog(engine)


def ordered(log, device="WP-1", name="set_interval", **args):
    return log.order(device, name, args, "duty officer", SOON, at=NOON)


def test_order_is_pending_in_its_district_until_it_is_sent(log):
    command = ordered(log, seconds=30)
    assert (command.args, command.system, command.state) == ('{"seconds": 30}', System.WATER, CommandState.ORDERED)
    assert log.pending("test", NOON) == [command]
    assert log.pending("elsewhere", NOON) == []
    log.sent([command.id], NOON)
    assert log.pending("test", NOON) == []
    assert log.get(command.id).state is CommandState.SENT


def test_expired_order_is_never_sent(log):
    command = ordered(log)
    assert log.pending("test", SOON) == []
    (given_up,) = log.expire(SOON)
    assert (given_up.id, given_up.state, given_up.code) == (command.id, CommandState.EXPIRED, EXPIRED)
    assert log.expire(LATER) == []


def test_first_answer_counts(log):
    command = ordered(log)
    log.sent([command.id], NOON)
    answered = log.answer(command.id, device="WP-1", ok=True, result='{"seconds":30}', at=NOON)
    assert (answered.state, answered.result, answered.answered) == (CommandState.DONE, '{"seconds":30}', NOON)
    again = log.answer(command.id, device="WP-1", ok=False, code="E_BUSY", at=SOON)
    assert again == answered
    assert log.expire(LATER) == []


def test_late_answer_is_more_than_what_was_given_up(log):
    command = ordered(log)
    log.expire(SOON)
    answered = log.answer(command.id, device="WP-1", ok=False, code="E_BUSY", at=LATER)
    assert (answered.state, answered.code) == (CommandState.FAILED, "E_BUSY")


def test_nobody_answers_for_another_device(log):
    command = ordered(log)
    assert log.answer(command.id, device="WP-2", ok=True, at=NOON) is None
    assert log.answer("no-such", device="WP-1", ok=True, at=NOON) is None
    assert log.get(command.id).ok is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "re boot"}, "command name"),
        ({"by": " "}, "nobody"),
        ({"expires": NOON}, "time to come"),
        ({"args": {"x": float("nan")}}, "JSON"),
        ({"args": {"x": object()}}, "JSON"),
        ({"args": {"x": "y" * MAX_ARGS}}, "characters"),
    ],
)
def test_bad_order_is_refused(log, change, says):
    given = {"device": "WP-1", "name": "reboot", "args": {}, "by": "me", "expires": SOON, **change}
    with pytest.raises(InputError, match=says):
        log.order(**given, at=NOON)
    assert log.list() == []


def test_unknown_and_retired_devices_get_no_orders(log, engine):
    with pytest.raises(UnknownError):
        ordered(log, "XX")
    Registry(engine).retire("WP-1")
    with pytest.raises(InputError, match="retired"):
        ordered(log)
    with pytest.raises(UnknownError):
        log.get("none")


def test_list_is_newest_first_and_of_one_device(log):
    first = ordered(log)
    second = log.order("WP-1", "reboot", {}, "me", LATER, at=NOON + timedelta(seconds=1))
    other = ordered(log, "WP-2")
    assert log.list("WP-1") == [second, first]
    assert [each.id for each in log.list(limit=1)] == [second.id]
    assert other in log.list()
