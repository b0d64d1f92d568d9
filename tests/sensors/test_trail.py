import sqlite3
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sensors.alarm_log import AlarmLog
from sensors.operations import connect
from sensors.trail import AuditTrail, digest_of


@pytest.fixture
def trail(engine, clock, tmp_path):
    trail = AuditTrail(engine, tmp_path / "trail.anchor", clock)
    for name in ("WP-1", "WP-2", "WP-3"):
        trail.write("li", "device.add", name, {"asset": "water.inp:node:1", "说明": "新装"})
    return trail


def tamper(engine, *statements):
    """Change the database as somebody with its file can, past the triggers."""
    with sqlite3.connect(engine.url.database) as raw:
        for name in ("trail_no_update", "trail_no_delete"):
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)
    raw.close()


def test_an_untouched_trail_verifies(trail):
    found = trail.verify()
    assert (found.entries, found.anchored, list(found.faults)) == (3, 3, [])
    assert found.head == trail.list()[-1].digest


def test_an_empty_trail_verifies(engine, tmp_path):
    assert list(AuditTrail(engine, tmp_path / "trail.anchor").verify().faults) == []


@pytest.mark.parametrize("change", ["UPDATE trail SET subject = 'x'", "DELETE FROM trail"])
def test_the_database_itself_refuses_to_change_an_entry(trail, engine, change):
    with sqlite3.connect(engine.url.database) as raw, pytest.raises(sqlite3.DatabaseError, match="append-only"):
        raw.execute(change)
    raw.close()


@pytest.mark.parametrize("column", ["at", '"by"', "action", "subject", "detail", "previous", "digest"])
def test_a_changed_entry_shows(trail, engine, column):
    tamper(engine, f"UPDATE trail SET {column} = 7 WHERE number = 2")
    assert any("entry 2" in fault for fault in trail.verify().faults)


def test_an_entry_taken_out_of_the_middle_shows(trail, engine):
    tamper(engine, "DELETE FROM trail WHERE number = 2")
    assert "entry 2 is gone" in trail.verify().faults


def test_a_tail_cut_off_shows_by_the_anchor_even_where_the_count_is_put_back(trail, engine):
    tamper(engine, "DELETE FROM trail WHERE number = 3", "UPDATE counters SET value = 2 WHERE name = 'trail'")
    assert list(trail.verify().faults) == ["the anchor knows entry 3, which the trail has not"]


def test_a_trail_written_anew_with_good_digests_shows_by_the_anchor(trail, engine):
    last = trail.list()[-1]
    forged = digest_of(3, 0, "li", "device.add", "WP-9", "{}", last.previous)
    tamper(engine, f"UPDATE trail SET at = 0, subject = 'WP-9', detail = '{{}}', digest = '{forged}' WHERE number = 3")
    assert list(trail.verify().faults) == ["entry 3 is not the one that the anchor knows"]


def test_a_lost_anchor_shows(trail):
    trail.anchor.unlink()
    assert "no anchor" in trail.verify().faults[0]


def test_a_changed_anchor_shows(trail):
    trail.anchor.write_text(trail.anchor.read_text().replace("2 ", "two ", 1))
    assert "line 2 of the anchor" in trail.verify().faults[0]


def test_an_anchor_out_of_reach_costs_no_entry_and_the_next_one_covers_it(trail):
    away = trail.anchor.with_name("away")
    trail.anchor.rename(away)
    trail.anchor.mkdir()
    trail.write("li", "device.add", "WP-4")
    trail.anchor.rmdir()
    away.rename(trail.anchor)
    assert trail.verify().anchored == 3
    assert trail.verify().unanchored.startswith("entries 4–4 are in no anchor")
    trail.write("li", "device.add", "WP-5")
    found = trail.verify()
    assert (found.entries, found.anchored, list(found.faults), found.unanchored) == (5, 5, [], "")


def test_an_anchor_that_cannot_be_read_is_a_fault_and_no_crash(trail):
    trail.anchor.unlink()
    trail.anchor.mkdir()
    assert "cannot be read: Is a directory" in trail.verify().faults[0]


def test_entries_are_found_by_subject_and_by_group_of_actions(trail):
    trail.write("li", "devices", "x")
    assert [entry.subject for entry in trail.list(action="device")] == ["WP-1", "WP-2", "WP-3"]
    assert [entry.number for entry in trail.list(subject="WP-2")] == [2]
    assert [entry.number for entry in trail.list(limit=2)] == [3, 4]
    assert [entry.number for entry in trail.list(after=3)] == [4]


def test_writers_in_each_others_way_make_one_chain(trail, engine):
    def write_many(name):
        mine = AuditTrail(connect(str(engine.url)), trail.anchor)
        for _ in range(20):
            mine.write(name, "device.add", "WP-1")
        mine.engine.dispose()

    writers = [threading.Thread(target=write_many, args=(name,)) for name in ("li", "wang", "zhao")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = trail.verify()
    assert (found.entries, found.anchored, list(found.faults)) == (63, 63, [])


def test_an_acknowledgement_is_in_the_trail(trail, engine, clock, seen):
    log = AlarmLog(engine, clock, trail)
    (alarm,) = log.apply([seen(0)])
    log.acknowledge(alarm.id, by="li", comment="seen", version=alarm.version)
    entry = trail.list()[-1]
    assert (entry.by, entry.action, entry.subject) == ("li", "alarm.acknowledge", f"alarm {alarm.id}")
    assert '"comment":"seen"' in entry.detail


@pytest.fixture
def on_a_server(postgres, tmp_path):
    engine = connect(postgres.url)
    yield AuditTrail(engine, tmp_path / "trail.anchor")
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE trail"))
        connection.execute(text("UPDATE counters SET value = 0 WHERE name = 'trail'"))
    engine.dispose()


def test_a_trail_on_a_server_is_one_chain_and_append_only(on_a_server):
    def write_many(name):
        for _ in range(20):
            on_a_server.write(name, "device.add", "WP-1", {"说明": name})

    writers = [threading.Thread(target=write_many, args=(name,)) for name in ("li", "wang", "zhao")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = on_a_server.verify()
    assert (found.entries, found.anchored, list(found.faults)) == (60, 60, [])
    for change in ("UPDATE trail SET subject = 'x'", "DELETE FROM trail"):
        with pytest.raises(DBAPIError, match="append-only"), on_a_server.engine.begin() as connection:
            connection.execute(text(change))


WORDS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(WORDS, min_size=5, max_size=5), st.integers(0, 4))
def test_a_digest_tells_its_parts_apart(words, place):
    other = [*words]
    moved = other[place]
    other[place] = ""
    other[(place + 1) % 5] = moved + other[(place + 1) % 5]
    assert (digest_of(1, 2, *words) == digest_of(1, 2, *other)) == (words == other)
