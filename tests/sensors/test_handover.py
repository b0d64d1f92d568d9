"""The handover of a shift: what is open, who has it, what the next must know; as it was when the shift ended."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import msgspec
import pytest

from sensors.alarm import Condition, State
from sensors.alarm_log import AlarmLog
from sensors.cases.acts import Report
from sensors.cases.attachments import Attachments
from sensors.cases.log import CaseLog
from sensors.detection import Subject
from sensors.device import DeviceId
from sensors.figures.handover import as_of, read_handover
from sensors.figures.paper import Paper, Section, as_html, as_text
from sensors.figures.reports import handover_report
from sensors.figures.shift import Rota
from sensors.operations import connect
from sensors.people import Person, PersonId, Role
from sensors.presence import DeviceStatus, Presence
from sensors.response import load
from sensors.trail import AuditTrail
from twin.asset import System

RESPONSE = load()
SHANGHAI = ZoneInfo("Asia/Shanghai")
ROTA = Rota.of(RESPONSE.shift, SHANGHAI)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # 20:00 in Shanghai: the evening shift, until 00:00
EVENING = ROTA.at(NOON)


@pytest.fixture
def log(engine, clock):
    return AlarmLog(engine, clock)


def handed(engine, now=EVENING.end, shift=EVENING):
    return read_handover(engine, ROTA, shift, RESPONSE, now)


def paper(found, language):
    return handover_report(found, RESPONSE, language=language, zone=SHANGHAI, title="河湾")


def test_open_alarm_is_told_with_who_has_it(engine, log, seen):
    (alarm,) = log.apply([seen(0, level=1)])
    log.acknowledge(alarm.id, by="li", comment="泵站已派人", version=1)
    found = handed(engine)
    (told,) = found.open
    assert (told.alarm.acknowledged_by, told.case, told.stale) == ("li", None, False)
    assert [(each.by, each.text) for each in found.remarks] == [("li", "泵站已派人")]
    assert found.happened == (told.alarm,)
    for language, words in (("zh", "接班须知"), ("en", "what you must know")):
        text = as_text(paper(found, language))
        assert words in text
        assert "li" in text


def test_handover_of_a_past_shift_stays_as_it_was(engine, log, seen, clock):
    (alarm,) = log.apply([seen(0)])
    clock.move_to(EVENING.end + timedelta(hours=3))
    log.acknowledge(alarm.id, by="wang", version=1)
    log.apply([seen(7 * 3600, active=False)])
    clock.move_to(clock.now() + timedelta(minutes=1))
    (told,) = handed(engine, clock.now()).open
    assert told.alarm.state is State.UNACKNOWLEDGED
    assert told.alarm.acknowledged_by is None
    following = handed(engine, clock.now(), ROTA.after(EVENING))
    assert (following.open, following.happened) == ((), ())
    assert following.performance.acknowledge.count == 1


def test_every_state_an_alarm_went_through_is_found_again(engine, log, seen, clock):
    log.apply([seen(0)])
    for change in (seen(10, level=2), seen(20, active=False), seen(30, level=2), seen(40, level=3)):
        clock.move_to(NOON + timedelta(seconds=change.time / 1000 - NOON.timestamp()))
        log.apply([change])
        alarm = log.get(1)
        if alarm.version == 4:
            log.acknowledge(1, by="li", version=4)
    newest, steps = log.get(1), log.transitions(1)
    for n in range(1, len(steps) + 1):
        then = as_of(newest, steps[:n])
        assert (then.state, then.level, then.version) == (steps[n - 1].to_state, steps[n - 1].level, n)
    assert as_of(newest, steps[:3]).condition is Condition.NORMAL
    assert as_of(newest, steps[:4]).count == newest.count == 2


def test_case_whose_deadline_is_near_is_told(engine, clock, tmp_path):
    trail = AuditTrail(engine, tmp_path / "anchor")
    cases = CaseLog(engine, clock, RESPONSE, trail, Attachments(tmp_path / "files", RESPONSE.attachments))
    li = Person(PersonId("li"), "李", Role.OPERATOR)
    cases.report(Report(title="A路爆管", kind="burst_main", level=1, district="test", system=System.WATER), li)
    early, late = handed(engine, NOON + timedelta(minutes=1)), handed(engine)
    assert [(each.near, each.late) for each in (*early.cases, *late.cases)] == [(True, False), (False, True)]
    assert late.cases_opened == 1
    assert "1 cases past their deadline" in as_text(paper(late, "en"))
    assert "A路爆管" in as_text(paper(late, "zh"))


def test_device_that_is_offline_is_named(engine):
    Presence(engine).put([DeviceStatus(DeviceId("WP-2"), online=False, since=NOON)])
    found = handed(engine)
    assert [(each.system, each.devices, each.offline) for each in found.health] == [("water", 2, 1)]
    assert found.offline[0].device == "WP-2"


def test_page_asks_for_nothing_from_outside_and_runs_nothing(engine, log, seen):
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.names, self.attributes = [], []

        def handle_starttag(self, tag, attrs):
            self.names.append(tag)
            self.attributes += attrs

    log.apply([seen(n, name=name) for n, name in enumerate(("WP-1", "WP-2"))])
    page = as_html(paper(handed(engine), "zh"))
    tags = Tags()
    tags.feed(page)
    assert "svg" in tags.names
    assert not {"script", "link", "img", "iframe", "object"} & set(tags.names)
    assert not {"src", "href", "style"} & {name for name, _ in tags.attributes}
    assert "url(" not in page
    assert "@import" not in page


def test_what_a_device_or_person_wrote_is_text_on_the_page():
    evil = Section("<b>", ("<script>alert(1)</script>\x1b[2J",), ("h&m",), (('"><img src=x>',),))
    page = as_html(Paper("t", "en", (("<i>", "&"),), (evil,)))
    assert "<script>" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "h&amp;m" in page


def test_columns_of_chinese_text_line_up():
    text = as_text(Paper("t", "zh", (), (Section("s", (), ("级别", "n"), (("一级红", "1"), ("blue", "2"))),)))
    rows = text.splitlines()[-3:]
    assert rows == ["级别    n", "一级红  1", "blue    2"]


def test_json_of_a_handover_is_complete(engine, log, seen):
    log.apply([seen(0)])
    record = msgspec.json.decode(msgspec.json.encode(handed(engine)))
    assert record["open"][0]["alarm"]["subject"] == "point:WP-1/pressure"
    assert re.match(r"2026-01-01T16:00:00", record["shift"]["end"])


def test_stale_is_what_stood_without_a_break(log, engine, seen, clock):
    log.apply([seen(0), seen(0, name="WP-2")])
    clock.move_to(NOON + timedelta(hours=20))
    log.apply([seen(20 * 3600, active=False), seen(20 * 3600 + 1)])  # WP-1 came back
    later = NOON + timedelta(hours=25)
    told = handed(engine, later, ROTA.at(later))
    assert {each.alarm.subject: each.stale for each in told.open} == {
        "point:WP-1/pressure": False,
        "point:WP-2/pressure": True,
    }
    assert told.performance.stale == 1


def test_figures_that_miss_their_target_are_marked(log, engine, seen, clock):
    for n in range(30):
        log.apply([seen(20 * n), seen(20 * n + 2, active=False)])
    text = as_text(paper(handed(engine), "en"))
    marked = [line.split("  ")[0] for line in text.splitlines() if line.endswith("beyond")]
    assert marked == ["most in 10 minutes", "share of 10 minutes above that", "chattering"]


def test_same_on_postgresql(postgres, seen, clock):
    engine = connect(postgres.url)
    subject = Subject("point:handover/pressure")
    AlarmLog(engine, clock).apply([replace(seen(0), subject=subject)])
    assert subject in {each.alarm.subject for each in handed(engine).open}
    assert handed(engine).performance.announced > 0
    engine.dispose()
