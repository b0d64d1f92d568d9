"""The way from the alarm log to the channel, on real databases: what is told, once, and what a kill costs."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, text, update

from sensors.alarm_log import AlarmLog
from sensors.city_calendar import Calendar
from sensors.clock import ManualClock, SystemClock
from sensors.figures.shift import Rota
from sensors.ingest_alarm import ingest_subject
from sensors.notify import open_notifier
from sensors.notify.checks import sample
from sensors.notify.message import Purpose
from sensors.notify.outbox import CLAIMED, DeliveryState, Outbox, put
from sensors.notify.routing import Notify, Retry, Route, Router
from sensors.notify.sending import Sender, Telling
from sensors.notify.teller import Teller, message_id, tell_of_case
from sensors.operations import connect, counters, notify_members, notify_threads, reading, writing
from sensors.people import Role
from sensors.registry import Registry
from sensors.response import load
from sensors.trail import AuditTrail
from twin.errors import BusyError, InputError, RefusedError, UnavailableError, UnknownError

from .conftest import _device
from .notify_servers import HttpReceiver

RETRY = Retry(first_s=4, longest_s=60, for_h=1, source="", verified=True)


def route(name="duty", channels=("post",), **fields):
    return Route(name=name, channels=channels, source="", verified=True, **fields)


def router(*routes):
    rota = Rota.of(load().shift, ZoneInfo("Asia/Shanghai"))
    return Router(Notify(RETRY, None, (), routes), rota, Calendar(8.0))


on_both = pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def engine(request, url):
    server = getattr(request, "param", "sqlite") == "postgres"
    engine = connect(request.getfixturevalue("postgres").url if server else url)
    if server:  # one for all tests
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE alarms, devices, deliveries, notify_threads, trail CASCADE"))
            connection.execute(update(counters).values(value=0))
    Registry(engine).put(_device(name) for name in ("WP-1", "WP-2"))
    yield engine
    engine.dispose()


@pytest.fixture
def city(engine, clock):
    return City(engine, clock)


class City:
    """A database with its alarm log, a teller by routes, and an outbox."""

    def __init__(self, engine, clock, *routes):
        self.engine, self.clock = engine, clock
        self.log = AlarmLog(engine, clock)
        self.outbox = Outbox(engine, clock)
        self.by(*(routes or (route(repeat_s=600),)))

    def by(self, *routes, **options):
        self.teller = Teller(self.engine, self.log, router(*routes), self.clock, **options)
        return self

    def after(self, seconds):
        """Let time pass, and the teller look."""
        self.clock.move_to(self.clock.now() + timedelta(seconds=seconds))
        return self.teller.step()

    def send(self):
        """Send everything that is due."""
        one = sender(self, Channel())
        while one.step():
            pass

    def told(self):
        """Return what is in the outbox, oldest first: purpose, and which alarms."""
        found = [each.message for each in self.outbox.list(limit=1000)][::-1]
        return [(message.purpose, tuple(item.alarm for item in message.items)) for message in found]

    def acknowledge(self, alarm):
        self.log.acknowledge(alarm.id, by="li", version=self.log.get(alarm.id).version)


class Channel:
    """Takes messages into a list, unless told what to raise."""

    def __init__(self):
        self.taken, self.error = [], None

    def send(self, message, to):
        if self.error is not None:
            raise self.error
        self.taken.append((message.id, to))

    def close(self):
        self.taken.append("closed")


def sender(city, channel):
    return Sender(city.outbox, "post", channel, retry=RETRY, clock=city.clock, rng=random.Random(1))


@on_both
def test_an_alarm_is_told_repeated_and_called_off(city, seen):
    (alarm,) = city.log.apply([seen(0)])
    assert [city.after(wait) for wait in (0, 29, 1, 1)] == [0, 0, 1, 0]
    city.send()
    assert [city.after(wait) for wait in (598, 1)] == [0, 1]
    city.acknowledge(alarm)
    assert city.after(1200) == 0
    city.log.apply([seen(1900, active=False)])
    assert city.after(0) == 1
    assert city.told() == [(Purpose.ALERT, (1,)), (Purpose.REPEAT, (1,)), (Purpose.CLEAR, (1,))]
    with reading(city.engine) as connection:
        assert not [*connection.execute(select(notify_threads)), *connection.execute(select(notify_members))]


def test_a_message_says_where_what_and_refers_to_the_one_before(city, seen):
    city.by(route(), exercise=True)
    city.log.apply([seen(0, level=2)])
    city.after(0)
    city.after(30)
    city.log.apply([seen(31, level=1)])
    city.after(1)
    city.after(10)
    update, alert = (each.message for each in city.outbox.list())
    assert (alert.district, alert.system, alert.level, alert.alarms, alert.exercise) == ("test", "water", 2, 1, True)
    assert alert.zh.startswith("二级橙 test 供水 1 条报警：WP-1")
    assert (update.purpose, update.level, update.references[0].id) == (Purpose.UPDATE, 1, alert.id)
    assert update.references[0].at == alert.at


def test_a_thousand_alarms_are_one_message_that_lists_every_red_one(city, seen):
    flood = [seen(0, rule=f"rule_{number}", level=1 if number < 30 else 3) for number in range(300)]
    city.log.apply(flood)
    assert city.after(0) == 1
    (delivery,) = city.outbox.list()
    assert (delivery.message.alarms, len(delivery.message.items)) == (300, 30)
    assert "另有 270 条报警" in delivery.message.text("zh")


def test_every_channel_and_recipient_has_a_delivery_of_its_own(city, seen):
    city.by(
        route("a", ("post", "mail"), to=("x@y", "z@y")),
        route("b", level="red"),
        route("c", districts=("elsewhere",)),
        route("d", districts=("test",), level="yellow"),
    )
    city.log.apply([seen(0)])
    assert (city.after(0), city.after(30)) == (0, 5)
    found = {(each.message.route, each.channel, each.to) for each in city.outbox.list()}
    assert found == {("a", way, to) for way in ("post", "mail") for to in ("x@y", "z@y")} | {("d", "post", "")}


def test_an_alarm_of_ingest_is_of_the_district_that_it_names(city, seen):
    city.by(route(districts=("hewan",)))
    city.log.apply([replace(seen(0, level=1), subject=ingest_subject(name)) for name in ("hewan", "other")])
    assert city.after(0) == 1
    assert city.outbox.list()[0].message.items[0].district == "hewan"


def test_a_reminder_is_left_out_while_the_news_still_wait(city, seen):
    city.log.apply([seen(0)])
    assert [city.after(wait) for wait in (0, 30, 600)] == [0, 1, 0]
    city.send()
    assert city.after(600) == 1


@on_both
def test_a_teller_that_comes_back_goes_on_where_it_stood(city, seen):
    city.log.apply([seen(0, level=1)])
    assert city.after(0) == 1
    city.by(route(repeat_s=600))
    assert city.after(0) == 0
    city.log.apply([seen(1, level=1, name="WP-2")])  # while nobody looked
    city.by(route(repeat_s=600))
    assert city.after(60) == 1
    assert city.told() == [(Purpose.ALERT, (1,)), (Purpose.UPDATE, (1, 2))]


def test_a_route_that_is_new_is_told_of_what_stands_and_one_that_is_gone_of_nothing(city, seen):
    city.log.apply([seen(0, level=1)])
    city.after(0)
    city.by(route("other"))
    assert city.after(700) == 1
    assert [each.message.route for each in city.outbox.list()] == ["other", "duty"]
    assert city.after(700) == 0


def test_a_teller_that_was_there_first_tells_the_first_alarm(city, seen):
    assert city.after(0) == 0
    city.log.apply([seen(0, level=1)])
    assert city.after(1) == 1


def test_alarms_that_were_over_before_anybody_was_told_are_passed_over(city, seen):
    city.log.apply([seen(0, level=1), seen(1, level=1, name="WP-2")])
    city.log.apply([seen(5, level=1, active=False)])
    city.acknowledge(city.log.get(1))
    assert city.after(0) == 1
    assert city.told() == [(Purpose.ALERT, (2,))]


@on_both
def test_two_tellers_tell_it_once(city, seen):
    city.log.apply([seen(0, level=1)])
    tellers = [Teller(city.engine, city.log, router(route()), city.clock) for _ in range(4)]
    made = []
    threads = [threading.Thread(target=lambda each=each: made.append(each.step())) for each in tellers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 0, 0, 1]


def test_what_nobody_has_to_do_makes_no_transaction(city, seen, monkeypatch):
    city.log.apply([seen(0)])
    city.after(0)

    def refuse(_engine):
        raise AssertionError("a write lock for nothing")

    monkeypatch.setattr("sensors.notify.teller.writing", refuse)
    assert city.after(1) == 0


@on_both
def test_words_about_a_case_go_to_the_role_in_the_caller_s_transaction(city):
    routes = router(route("d", roles=(Role.DISPATCHER,)), route("e"))

    def tell(connection):
        case = replace(sample(purpose=Purpose.CASE), id=message_id(connection, city.clock.now()), case=7)
        return tell_of_case(connection, routes, case, Role.DISPATCHER)

    with writing(city.engine) as connection:
        assert tell(connection) == 1
        connection.rollback()
    assert city.outbox.list() == []
    with writing(city.engine) as connection:
        assert tell(connection) == 1
    (delivery,) = city.outbox.list()
    assert (delivery.message.case, delivery.message.route) == (7, sample().route)


def owed(city, seen, level=1):
    city.log.apply([seen(0, level=level)])
    city.after(30)


def test_what_is_taken_is_sent_once(city, seen):
    owed(city, seen)
    channel = Channel()
    assert [sender(city, channel).step() for _ in range(2)] == [True, False]
    (delivery,) = city.outbox.list(state=DeliveryState.SENT, channel="post")
    assert (channel.taken, delivery.attempts) == ([(delivery.message.id, "")], 1)
    assert delivery.ended == city.clock.now()


def test_the_worst_goes_first(city, seen):
    city.log.apply([seen(0, level=4)])
    assert [city.after(wait) for wait in (0, 30)] == [0, 1]
    city.log.apply([seen(31, level=1, name="WP-2")])
    assert city.after(10) == 1
    sender(city, Channel()).step()
    assert [each.message.level for each in city.outbox.list(state=DeliveryState.SENT)] == [1]


def test_a_channel_that_is_away_is_tried_ever_more_slowly_and_then_given_up(city, seen):
    owed(city, seen)
    channel = Channel()
    channel.error = UnavailableError("away", where="x")
    waits, one = [], sender(city, channel)
    while (delivery := city.outbox.list()[0]).state is DeliveryState.WAITING:
        city.clock.move_to(delivery.due)
        before = city.clock.now()
        assert one.step()
        waits.append((city.outbox.list()[0].due - before).total_seconds())
        assert not one.step()
    most = [min(4 * 2**number, 60) for number in range(len(waits) - 1)]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, most, strict=False))
    assert len(set(waits)) > len(waits) / 2  # each drawn anew
    assert "away" in delivery.error
    assert delivery.ended - delivery.created >= timedelta(hours=1)


def test_a_receiver_may_ask_to_be_left_alone(city, seen):
    owed(city, seen)
    channel = Channel()
    channel.error = UnavailableError("busy", where="x", retry_s=33.0)
    sender(city, channel).step()
    assert city.outbox.list()[0].due == city.clock.now() + timedelta(seconds=33)


@on_both
@pytest.mark.parametrize("error", [RefusedError("never", where="x"), ZeroDivisionError("a third party's bug")])
def test_a_dead_letter_is_kept_and_a_person_may_send_it_again(city, seen, tmp_path, error):
    owed(city, seen)
    channel = Channel()
    channel.error = error
    one = sender(city, channel)
    one.step()
    (dead,) = city.outbox.list(state=DeliveryState.DEAD)
    assert str(error.args[0]) in dead.error
    assert not one.step()
    trail = AuditTrail(city.engine, tmp_path / "anchor")
    outbox = Outbox(city.engine, city.clock, trail)
    with pytest.raises(InputError, match="nobody"):
        outbox.again(dead.id, by=" ")
    outbox.again(dead.id, by="li", reason="the address was mended")
    channel.error = None
    assert one.step()
    assert channel.taken == [(dead.message.id, "")]
    assert [(entry.by, entry.action, entry.subject) for entry in trail.list()] == [
        ("li", "delivery.again", f"delivery {dead.id}")
    ]
    with pytest.raises(InputError, match="is sent"):
        outbox.again(dead.id, by="li")
    with pytest.raises(UnknownError):
        outbox.again(999, by="li")


@on_both
def test_two_senders_send_it_once_and_a_dead_one_s_is_sent_again(city, seen):
    owed(city, seen)
    claimed = []
    threads = [threading.Thread(target=lambda: claimed.append(city.outbox.claim("post"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (mine,) = [each for each in claimed if each is not None]  # and is killed now
    channel = Channel()
    assert not sender(city, channel).step()
    city.clock.move_to(city.clock.now() + CLAIMED)
    assert sender(city, channel).step()
    assert channel.taken == [(mine.message.id, "")]


def test_a_slow_channel_holds_up_neither_alarms_nor_another_channel(url, seen):
    engine = connect(url)
    Registry(engine).put([_device("WP-1")])
    city = City(engine, SystemClock())
    released, quick = threading.Event(), Channel()

    class Slow(Channel):
        def send(self, message, to):
            released.wait(10)

    teller = Teller(engine, city.log, router(route(channels=("slow", "quick"))), city.clock)
    telling = Telling(teller, city.outbox, {"slow": Slow(), "quick": quick}, RETRY, city.clock)
    stop = threading.Event()
    thread = threading.Thread(target=telling.run, args=(stop,))
    thread.start()
    try:
        began = time.monotonic()
        for number in range(20):
            city.log.apply([seen(0, level=1, rule=f"rule_{number}")])
        applied_s = time.monotonic() - began
        until = time.monotonic() + 8
        while not (sent := city.outbox.list(state=DeliveryState.SENT)) and time.monotonic() < until:
            time.sleep(0.05)
        assert [each.channel for each in sent] == ["quick"]
        assert applied_s < 5
    finally:
        released.set()
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert quick.taken[-1] == "closed"
    engine.dispose()


def test_a_database_that_is_away_is_waited_for(city, seen, monkeypatch):
    monkeypatch.setattr("sensors.notify.sending.OUTAGE_S", 0.05)
    monkeypatch.setattr("sensors.notify.sending.IDLE_S", 0.05)
    city.log.apply([seen(0, level=1)])
    away = [BusyError("locked"), UnavailableError("gone")]
    step, claim = city.teller.step, city.outbox.claim

    def sometimes(call):
        def look(*arguments):
            if away:
                raise away.pop()
            return call(*arguments)

        return look

    city.teller.step = sometimes(step)
    city.outbox.claim = sometimes(claim)
    channel, stop = Channel(), threading.Event()
    telling = Telling(city.teller, city.outbox, {"post": channel}, RETRY, city.clock)
    thread = threading.Thread(target=telling.run, args=(stop,))
    thread.start()
    until = time.monotonic() + 8
    while not channel.taken and time.monotonic() < until:
        time.sleep(0.02)
    stop.set()
    thread.join(20)
    assert (len(channel.taken), away) == (2, [])  # the message, and closed


KILLED = """
import random, sys, time
from sensors.clock import SystemClock
from sensors.notify import open_notifier
from sensors.notify.outbox import Outbox
from sensors.notify.routing import Retry
from sensors.notify.sending import Sender
from sensors.operations import connect
class Stuck(Outbox):
    def sent(self, delivery):
        print("sent", flush=True)
        time.sleep(60)
clock = SystemClock()
notifier = open_notifier("webhook", {"url": sys.argv[2]}, "post")
Sender(Stuck(connect(sys.argv[1]), clock), "post", notifier, retry=Retry(1, 2, 1, "", True), clock=clock,
       rng=random.Random()).step()
"""


@pytest.mark.slow
def test_a_sender_killed_between_sending_and_marking_sends_it_again_under_the_same_id(url, seen):
    engine, receiver = connect(url), HttpReceiver()
    with writing(engine) as connection:
        put(connection, sample(), route())
    program = [sys.executable, "-c", KILLED, url, receiver.url]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "sent\n"
        os.kill(process.pid, signal.SIGKILL)
    later = ManualClock(SystemClock().now() + CLAIMED + timedelta(seconds=1))
    notifier = open_notifier("webhook", {"url": receiver.url}, "post")
    again = Sender(Outbox(engine, later), "post", notifier, retry=RETRY, clock=later, rng=random.Random(1))
    assert [again.step(), again.step()] == [True, False]
    assert [headers["webhook-id"] for headers, _, _ in receiver.posts] == [sample().id] * 2
    assert Outbox(engine, later).list()[0].attempts == 2
    notifier.close()
    receiver.stop()
    engine.dispose()


KILLED_TELLER = """
import sys, time
from datetime import timedelta
import sensors.notify.teller as module
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock
from sensors.operations import connect
from tests.sensors.test_notify_outbox import route, router
engine, clock = connect(sys.argv[1]), SystemClock()
whole = module.put
def stuck(*arguments):
    whole(*arguments)
    print("put", flush=True)
    time.sleep(60)
module.put = stuck
module.Teller(engine, AlarmLog(engine, clock), router(route()), clock).step()
"""


@pytest.mark.slow
def test_a_teller_killed_in_the_middle_has_told_nothing_and_loses_nothing(url, seen):
    engine = connect(url)
    Registry(engine).put([_device("WP-1")])
    city = City(engine, SystemClock())
    city.log.apply([seen(0, level=1)])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED_TELLER, url], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout.readline() == "put\n"
        os.kill(process.pid, signal.SIGKILL)
    assert city.outbox.list() == []
    assert [city.teller.step(), city.teller.step()] == [1, 0]
    engine.dispose()


@on_both
def test_deliveries_hold_their_message_whole(engine, clock):
    message = replace(sample(), at=clock.now())
    with writing(engine) as connection:
        put(connection, message, route(to=("a",)))
    (delivery,) = Outbox(engine, clock).list()
    assert Outbox(engine, clock).get(delivery.id).message == message
