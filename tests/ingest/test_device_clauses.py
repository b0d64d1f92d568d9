"""Each clause of the contract, kept and broken, on transcripts written by hand."""

import json

import pytest

from ingest.device_check.clauses import CLAUSES, Verdict, judge
from ingest.device_check.tap import Seen
from ingest.device_check.transcript import Acts, Name, Transcript
from ingest.device_check.wire import Connect, Kind, Publish
from ingest.topic import Channel, Topic
from sensors.device import DeviceId
from twin.asset import System

TOPIC = Topic("hewan", System.WATER, DeviceId("WP-1"), Channel.DATA)
BASE = "cim/v1/hewan/water/WP-1"
START_MS = 1_763_726_400_000
OFFLINE = b'{"online":false}'
BIRTH = {"v": 1, "online": True, "boot": 7, "interval_s": 1, "points": {"pressure": "MPa"}}


class Story:
    """A device that keeps every clause, one second after the other, unless it is told to do otherwise."""

    def __init__(self):
        self.seen = []
        self.acts = {}
        self.connection = 0

    def put(self, kind, at, **more):
        self.seen.append(Seen(at, START_MS + round(at * 1000), self.connection, from_device=True, kind=kind, **more))

    def connect(self, at, birth=BIRTH, filters=("ack", "cmd"), birth_qos=1, birth_retain=True, **changes):
        will = {"will_topic": f"{BASE}/status", "will_payload": OFFLINE, "will_qos": 1, "will_retain": True}
        told = {"level": 5, "keep_alive_s": 60, "client_id": "x", "username": "WP-1", **will, **changes}
        self.connection += 1
        self.put(Kind.CONNECT, at, connect=Connect(**told))
        self.put(Kind.SUBSCRIBE, at, filters=tuple(f"{BASE}/{each}" for each in filters))
        if birth is not None:
            self.publish(at, birth, "status", qos=birth_qos, retain=birth_retain)
        return self

    def publish(self, at, payload, channel="data", *, qos=1, retain=False, topic=None):
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.put(Kind.PUBLISH, at, publish=Publish(topic or f"{BASE}/{channel}", raw, qos, retain, dup=False))
        return self

    def send(self, at, seq, *, boot=7, ts=None, value=0.3, point="pressure", **more):
        values = {point: {"v": value, "u": "MPa"}}
        ts = START_MS + seq * 1000 if ts is None else ts
        return self.publish(at, {"v": 1, "boot": boot, "seq": seq, "ts": ts, "m": values, **more})

    def told(self):
        return Transcript(TOPIC, tuple(self.seen), Acts(0.0, 100.0, **self.acts))


def good():
    """A whole check that every clause is kept in."""
    story = Story().connect(0.0)
    for seq in range(1, 6):
        story.send(seq, seq)
    story.acts = {"withheld": frozenset({Name(7, 4), Name(7, 5)}), "cut": 6.0, "will_at": 6.1, "opened": 9.0}
    story.connect(10.0)
    for seq in (4, 5, 6, 7):
        story.send(10.0, seq)
    story.acts |= {"asked": Name(7, 6), "asked_at": 12.0, "commands": ("c1", "c2")}
    story.send(12.5, 6)
    story.publish(13.0, {"id": "c2", "ok": False, "code": "E_EXPIRED"}, "cmd/ans")
    return story.publish(13.0, {"id": "c1", "ok": True}, "cmd/ans")


def verdicts(story):
    return {each.clause: each for each in judge(story.told())}


def test_device_that_keeps_everything_passes_every_clause():
    found = verdicts(good())
    assert {clause: each.detail for clause, each in found.items() if each.verdict is not Verdict.PASS} == {}
    assert list(found) == [clause for clause, _ in CLAUSES]


def test_device_that_never_came_fails_and_nothing_else_is_made_up():
    found = verdicts(Story())
    failed = {clause for clause, each in found.items() if each.verdict is Verdict.FAIL}
    assert failed == {"connects with MQTT 3.1.1 or 5", "birth", "payload"}
    assert not any(each.verdict is Verdict.PASS for each in found.values())
    assert {each.detail for each in found.values() if each.verdict is Verdict.NOT_SEEN} == {"no device connected"}


def test_nothing_is_said_of_messages_that_never_came():
    found = verdicts(Story().connect(0.0, filters=()))
    for clause in ("clock", "boot and seq", "listens for receipts"):
        assert (found[clause].verdict, found[clause].detail) == (Verdict.NOT_SEEN, "no message came")


def test_device_that_the_broker_refuses_is_told_why_nothing_else_was_seen():
    story = Story().connect(0.0)
    story.seen.append(Seen(0.1, START_MS, 1, from_device=False, kind=Kind.CONNACK, reason=5))
    found = verdicts(story)["connects with MQTT 3.1.1 or 5"]
    assert (found.verdict, "reason code 5" in found.detail) == (Verdict.FAIL, True)


def test_device_without_memory_is_not_held_to_receipts():
    story = Story().connect(0.0, birth={**BIRTH, "boot": None}, filters=())
    for second in range(1, 6):
        story.publish(second, {"v": 1, "m": {"pressure": {"v": 0.3}}})
    found = verdicts(story)
    assert not [each for each in found.values() if each.verdict is Verdict.FAIL]
    for clause in ("boot and seq", "listens for receipts", "keeps what has no receipt", "answers what is missing"):
        assert found[clause].verdict is Verdict.NOT_SEEN


@pytest.mark.parametrize(
    ("changes", "clause", "says"),
    [
        ({"level": 3}, "connects with MQTT 3.1.1 or 5", "level 3"),
        ({"username": "WP-2"}, "logs in as itself", "WP-2"),
        ({"keep_alive_s": 0}, "keep-alive", "of 0 s"),
        ({"keep_alive_s": 3600}, "keep-alive", "3600"),
        ({"keep_alive_s": 1}, "keep-alive", "silent for"),
        ({"will_topic": ""}, "last will", "without one"),
        ({"will_topic": f"{BASE}/data"}, "last will", "goes to"),
        ({"will_payload": b"bye"}, "last will", "says"),
        ({"will_qos": 0}, "last will", "QoS 0"),
        ({"will_retain": False}, "last will", "retain False"),
        ({"birth": None}, "birth", "connection 3"),
        ({"birth_retain": False}, "birth", "retain False"),
        ({"birth_qos": 0}, "QoS 1", "QoS 0"),
        ({"birth": {**BIRTH, "v": 2}}, "birth", "v is 2"),
        ({"birth": {**BIRTH, "boot": 3}}, "birth", "boot is 3"),
        ({"birth": {**BIRTH, "interval_s": None}}, "birth", "interval_s"),
        ({"birth": {**BIRTH, "points": {}}}, "birth", "points"),
        ({"birth": {**BIRTH, "points": {"pressure": "furlong"}}}, "birth", "furlong"),
        ({"birth": {**BIRTH, "points": {"p p": "MPa"}}}, "birth", "p p"),
    ],
)
def test_connection_that_breaks_a_clause_fails_it(changes, clause, says):
    story = good().connect(15.0, **changes).send(18.0, 8)
    found = verdicts(story)[clause]
    assert found.verdict is Verdict.FAIL
    assert says in found.detail


@pytest.mark.parametrize(
    ("act", "clause", "says"),
    [
        (lambda s: s.publish(20.0, b"x", topic="cim/v1/hewan/water/WP-2/data"), "its own topics", "not its own"),
        (lambda s: s.publish(20.0, b"x", topic="plant/1"), "its own topics", "grammar"),
        (lambda s: s.publish(20.0, b"x", "ack"), "its own topics", "/ack"),
        (lambda s: s.publish(20.0, b"{}", "status", qos=0), "QoS 1", "QoS 0"),
        (lambda s: s.publish(20.0, b"\xff"), "payload", "E_UTF8"),
        (lambda s: s.send(20.0, 8, value="much"), "payload", "E_NAN"),
        (lambda s: s.send(20.0, 8, point="flow"), "payload", "E_POINT"),
        (lambda s: s.send(20.0, 8, ts=START_MS + 3_600_000), "clock", "ahead"),
        (lambda s: s.send(20.0, 8, ts=START_MS - 3_600_000), "clock", "without hist"),
        (lambda s: s.send(20.0, 9), "boot and seq", "seq 8"),
        (lambda s: s.send(20.0, 8).send(21.0, 1, boot=6), "boot and seq", "went back"),
        (lambda s: s.publish(20.0, {"v": 1, "m": {"pressure": {"v": 1}}}), "boot and seq", "without boot"),
        (lambda s: s.send(20.0, 5, value=9.9), "resends byte for byte", "other bytes"),
        (lambda s: s.publish(20.0, {"id": "c2", "ok": True}, "cmd/ans"), "answers commands", "time was over"),
    ],
)
def test_message_that_breaks_a_clause_fails_it(act, clause, says):
    found = verdicts(act(good()))[clause]
    assert found.verdict is Verdict.FAIL
    assert says in found.detail


@pytest.mark.parametrize(
    ("acts", "clause", "says"),
    [
        ({"will_at": None}, "last will", "no will"),
        ({"opened": 50.0}, "comes back", "did not"),
        ({"withheld": frozenset({Name(7, 3)})}, "keeps what has no receipt", "seq 3"),
        ({"asked": Name(7, 3)}, "answers what is missing", "seq 3"),
        ({"commands": ("c9", "c2")}, "answers commands", "no answer"),
    ],
)
def test_device_that_does_not_do_its_part_fails(acts, clause, says):
    story = good()
    story.acts |= acts
    found = verdicts(story)[clause]
    assert found.verdict is Verdict.FAIL
    assert says in found.detail


def test_what_was_declared_lost_is_no_hole_and_needs_no_resend():
    story = good().send(20.0, 12).publish(21.0, {"boot": 7, "lost": [[3, 3], [8, 11]]}, "status")
    story.acts |= {"asked": Name(7, 3), "withheld": frozenset({Name(7, 3)})}
    found = verdicts(story)
    for clause in ("boot and seq", "answers what is missing", "keeps what has no receipt"):
        assert found[clause].verdict is Verdict.PASS, found[clause].detail


def test_old_readings_that_say_so_are_no_clock_fault():
    assert verdicts(good().send(20.0, 8, ts=START_MS - 10**8, hist=True))["clock"].verdict is Verdict.PASS


def test_pace_is_that_of_the_readings_not_of_their_coming():
    story = Story().connect(0.0)
    for seq in range(1, 8):
        story.send(9.0, seq)  # an outage's worth at once
    assert verdicts(story)["rate"].verdict is Verdict.PASS
    slow = Story().connect(0.0, birth={**BIRTH, "interval_s": 10})
    for seq in range(1, 8):
        slow.send(seq, seq)
    assert verdicts(slow)["rate"].verdict is Verdict.FAIL
