"""The clauses of the contract that one can see a device keep or break, each judged on a transcript.

A clause that nothing in the transcript speaks of is not seen: that is neither kept nor broken. What the contract
gives no number for is a limit of this check, said where it stands.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from ingest.device_check.transcript import Name, Sent, Transcript, packets, read_object
from ingest.device_check.wire import MQTT_5, Connect
from ingest.topic import Channel, parse
from sensors.device import NAME
from sensors.quantity import CATALOGUE, scale
from twin.errors import RefusedError


class Verdict(StrEnum):
    """What became of a clause."""

    PASS = "PASS"  # noqa: S105  # no password, a verdict
    FAIL = "FAIL"
    NOT_SEEN = "NOT SEEN"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one clause, and what was seen."""

    clause: str
    verdict: Verdict
    detail: str


LONGEST_KEEP_ALIVE_S = 300
"""A device that fell silent is told by its will after one and a half keep-alives (MQTT 5, 3.1.2.10); this check wants
that within eight minutes."""

PACE = (0.5, 2.0)
"""What the median gap between live messages may be, in intervals of the birth message."""

_OFFLINE = '{"online":false}'

_NO_MESSAGE = "no message came"

SHOWN = 3
"""Cases that are told of what is wrong many times."""


def judge(transcript: Transcript) -> list[Finding]:
    """Return the findings on `transcript`, one a clause, in the order of `CLAUSES`."""
    findings: list[Finding] = []
    for clause, look in CLAUSES:
        verdict, detail = look(transcript)
        if verdict is Verdict.NOT_SEEN and not transcript.connects:
            detail = "no device connected"
        findings.append(Finding(clause, verdict, detail))
    return findings


_Found = tuple[Verdict, str]


def _connects(transcript: Transcript) -> _Found:
    if not transcript.connects:
        return Verdict.FAIL, "no device connected"
    broken = [seen.broken for seen in transcript.seen if seen.broken and seen.from_device]
    if broken:
        return Verdict.FAIL, f"sent what is no MQTT: {broken[0]}"
    levels = {connect.level for _, connect in transcript.connects}
    if not levels <= {4, MQTT_5}:
        return Verdict.FAIL, f"protocol level {min(levels)}; MQTT 3.1.1 is 4, MQTT 5 is 5"
    if transcript.refusals and not transcript.accepted:
        code = transcript.refusals[-1]
        return Verdict.FAIL, f"the broker refuses it (reason code {code}): login, certificate or listener"
    version = "5" if MQTT_5 in levels else "3.1.1"
    return Verdict.PASS, f"MQTT {version}, {_count(len(transcript.connects), 'connection')}"


def _identity(transcript: Transcript) -> _Found:
    names = {connect.username for _, connect in transcript.connects if connect.username}
    if not names:
        return Verdict.NOT_SEEN, "came without a user name: this broker asks for none, a city's does"
    others = names - {transcript.topic.device}
    if others:
        return Verdict.FAIL, f"logs in as {min(others)[:64]!r}, speaks as {transcript.topic.device}"
    return Verdict.PASS, f"logs in as {transcript.topic.device}"


def _keep_alive(transcript: Transcript) -> _Found:
    if not transcript.connects:
        return Verdict.NOT_SEEN, "no device connected"
    for seen, connect in transcript.connects:
        if not 0 < connect.keep_alive_s <= LONGEST_KEEP_ALIVE_S:
            return Verdict.FAIL, f"keep-alive of {connect.keep_alive_s} s; 1 to {LONGEST_KEEP_ALIVE_S} s is wanted"
        gap = max((b.at - a.at for a, b in pairwise(packets(transcript, seen.connection))), default=0.0)
        if gap > 1.5 * connect.keep_alive_s:
            return Verdict.FAIL, f"silent for {gap:.0f} s with a keep-alive of {connect.keep_alive_s} s"
    return Verdict.PASS, f"keep-alive of {transcript.connects[-1][1].keep_alive_s} s"


def _will(transcript: Transcript) -> _Found:
    if not transcript.connects:
        return Verdict.NOT_SEEN, "no device connected"
    wrong = [_wrong_will(connect, transcript.on(Channel.STATUS)) for _, connect in transcript.connects]
    if any(wrong):
        return Verdict.FAIL, next(each for each in wrong if each)
    cut, will_at = transcript.acts.cut, transcript.acts.will_at
    if cut is None:
        return Verdict.PASS, "set on every connection"
    if will_at is None:
        return Verdict.FAIL, "the connection was cut, and the broker published no will"
    return Verdict.PASS, f"published {max(will_at - cut, 0):.1f} s after the connection was cut"


def _wrong_will(connect: Connect, status: str) -> str:
    if not connect.will_topic:
        return f"connects without one; {_OFFLINE} on {status} is wanted"
    if connect.will_topic != status:
        return f"goes to {connect.will_topic[:120]}, not {status}"
    if read_object(connect.will_payload).get("online") is not False:
        return f"says {connect.will_payload[:80]!r}, not {_OFFLINE}"
    if not connect.will_retain or connect.will_qos != 1:
        return f"has QoS {connect.will_qos}, retain {connect.will_retain}; QoS 1, retained is wanted"
    return ""


def _birth(transcript: Transcript) -> _Found:
    if not transcript.births:
        return Verdict.FAIL, f"none on {transcript.on(Channel.STATUS)}"
    born = {seen.connection for seen, _, _ in transcript.births}
    without = {each.seen.connection for each in transcript.sent} - born
    if without:
        return Verdict.FAIL, f"none on connection {min(without)}: each connection begins with one"
    _, publish, birth = transcript.births[-1]
    if not (publish.retain and publish.qos == 1):
        return Verdict.FAIL, f"has QoS {publish.qos}, retain {publish.retain}; QoS 1, retained is wanted"
    wrong = [_wrong_field(birth), *(_wrong_unit(name, unit) for name, unit in _units(birth).items())]
    boots = {each.name.boot for each in transcript.sent if each.name is not None}
    if boots and birth.get("boot") not in boots:
        wrong.append(f"boot is {birth.get('boot')}, that of its data {max(boots)}")
    told = [each for each in wrong if each]
    if told:
        return Verdict.FAIL, told[0]
    return Verdict.PASS, f"{_count(len(transcript.births), 'birth')}, retained, with interval_s and points"


def _wrong_field(birth: dict[str, object]) -> str:
    if birth.get("v") != 1:
        return f"v is {birth.get('v')!r}, not 1"
    if not isinstance(birth.get("interval_s"), int | float):
        return "interval_s is missing: silence is told by it"
    return "" if _units(birth) else "points is missing: the points with their units"


def _units(birth: dict[str, object]) -> dict[str, object]:
    given = birth.get("points")
    return {str(name): unit for name, unit in given.items()} if isinstance(given, dict) else {}


def _wrong_unit(name: str, unit: object) -> str:
    if not NAME.fullmatch(name):
        return f"point {name[:64]!r}: {NAME.pattern} is wanted"
    if not isinstance(unit, str) or not any(_fits(unit, quantity) for quantity in CATALOGUE):
        return f"point {name}: {str(unit)[:40]!r} is no unit of any quantity (chengmai quantities)"
    return ""


def _fits(unit: str, quantity: str) -> bool:
    try:
        scale(unit, quantity)
    except RefusedError:
        return False
    return True


def _topics(transcript: Transcript) -> _Found:
    mine = {transcript.on(channel) for channel in (Channel.DATA, Channel.SENML, Channel.STATUS, Channel.ANSWER)}
    foreign = [publish.topic for _, publish in transcript.published if publish.topic not in mine]
    if foreign:
        return Verdict.FAIL, f"published on {foreign[0][:120]}{_why(foreign[0])}"
    if not transcript.published:
        return Verdict.NOT_SEEN, "published nothing"
    return Verdict.PASS, f"{_count(len(transcript.published), 'message')}, all on its own topics"


def _why(topic: str) -> str:
    try:
        parse(topic)
    except RefusedError as error:
        return f" ({error.what})"
    return " (not its own)"


def _quality_of_service(transcript: Transcript) -> _Found:
    if not transcript.published:
        return Verdict.NOT_SEEN, "published nothing"
    other = [publish for _, publish in transcript.published if publish.qos != 1]
    if other:
        first = other[0]
        return Verdict.FAIL, f"{_count(len(other), 'message')} without it, one with QoS {first.qos} on {first.topic}"
    return Verdict.PASS, "QoS 1"


def _payload(transcript: Transcript) -> _Found:
    if not transcript.sent:
        return Verdict.FAIL, f"no message on {transcript.topic} or its data/senml"
    wrong = [each.refused for each in transcript.sent if each.refused]
    wrong += [f"{r.code} {r.reason}" for each in transcript.sent if each.message for r in each.message.refused]
    declared = _units(transcript.birth)
    for each in transcript.sent:
        for measured in each.message.measurements if each.message else ():
            if declared and measured.point not in declared:
                wrong.append(f"E_POINT {measured.point[:64]} is not among the points of its birth")
            elif measured.unit is not None and _wrong_unit(measured.point, measured.unit):
                wrong.append(f"E_UNIT {_wrong_unit(measured.point, measured.unit)}")
    if wrong:
        return Verdict.FAIL, _shown(wrong)
    readings = sum(each.message.readings for each in transcript.sent if each.message)
    return Verdict.PASS, f"{readings} readings in {_count(len(transcript.sent), 'message')}"


def _clock(transcript: Transcript) -> _Found:
    limit_s = transcript.future.total_seconds()
    ahead: list[float] = []
    for each in transcript.first_sent:
        live = each.message is not None and not each.message.history
        times = [m.time for m in each.message.measurements if m.time is not None] if each.message else []
        offsets = [(time - each.seen.wall_ms) / 1000 for time in times]
        if any(offset > limit_s for offset in offsets):
            return Verdict.FAIL, f"readings {max(offsets):.0f} s ahead (E_FUTURE from {limit_s:.0f} s)"
        if live and any(offset < -limit_s for offset in offsets):
            return Verdict.FAIL, f"readings {-min(offsets):.0f} s old without hist"
        ahead += offsets if live else []
    if not transcript.sent:
        return Verdict.NOT_SEEN, _NO_MESSAGE
    if not ahead:
        return Verdict.NOT_SEEN, "no live reading has a time: each is flagged"
    return Verdict.PASS, f"{statistics.median(ahead):+.1f} s in the middle, with the way here"


def _sequence(transcript: Transcript) -> _Found:
    if not transcript.sent:
        return Verdict.NOT_SEEN, _NO_MESSAGE
    if not transcript.receipted:
        return Verdict.NOT_SEEN, "its messages have no boot and seq: no receipts, no count of holes"
    without = sum(1 for each in transcript.sent if each.message is not None and each.name is None)
    if without:
        return Verdict.FAIL, f"{_count(without, 'message')} without boot and seq among others that have them"
    names = [each.name for each in transcript.first_sent if each.name is not None]
    for before, after in pairwise(names):
        if after.boot < before.boot:
            return Verdict.FAIL, f"boot went back from {before.boot} to {after.boot}"
    holes = [hole for hole in _holes(names) if not transcript.declared_lost(hole.seq)]
    if holes:
        return Verdict.FAIL, f"seq {_shown([str(hole.seq) for hole in holes])} of boot {holes[0].boot} never came"
    return Verdict.PASS, f"boot {names[-1].boot}, seq {names[0].seq} to {names[-1].seq} without a hole"


def _holes(names: Sequence[Name]) -> list[Name]:
    """Return what is missing between the least and the greatest seq of each boot, at most a few."""
    seqs: dict[int, set[int]] = {}
    for boot, seq in names:
        seqs.setdefault(boot, set()).add(seq)
    found: list[Name] = []
    for boot, known in seqs.items():
        for before, after in pairwise(sorted(known)):
            found += [Name(boot, seq) for seq in range(before + 1, min(after, before + 1 + SHOWN + 1))]
    return found


def _same_bytes(transcript: Transcript) -> _Found:
    payloads: dict[Name, set[bytes]] = {}
    count: Counter[Name] = Counter()
    for each in transcript.sent:
        if each.name is not None:
            payloads.setdefault(each.name, set()).add(each.publish.payload)
            count[each.name] += 1
    changed = [name for name, known in payloads.items() if len(known) > 1]
    if changed:
        return Verdict.FAIL, f"seq {_shown([str(name.seq) for name in changed])} came with other bytes the second time"
    again = sum(1 for times in count.values() if times > 1)
    if not again:
        return Verdict.NOT_SEEN, "nothing was sent twice"
    return Verdict.PASS, f"{_count(again, 'message')} sent again, byte for byte"


def _pace(transcript: Transcript) -> _Found:
    interval = transcript.birth.get("interval_s")
    if not isinstance(interval, int | float) or interval <= 0:
        return Verdict.NOT_SEEN, "its birth names no interval_s"
    live = [each for each in transcript.first_sent if each.message is not None and not each.message.history]
    times = sorted(_time(each) for each in live)
    gaps = [after - before for before, after in pairwise(times)]
    if len(gaps) < 3:
        return Verdict.NOT_SEEN, f"{_count(len(live), 'live message')}; four are wanted"
    gap = statistics.median(gaps)
    detail = f"a message every {gap:.1f} s, {interval:g} s in its birth"
    return (Verdict.PASS if PACE[0] <= gap / interval <= PACE[1] else Verdict.FAIL), detail


def _time(sent: Sent) -> float:
    """Return the seconds since 1970 of a message by its own clock: what waited for a connection comes all at once."""
    times = [m.time for m in sent.message.measurements if m.time is not None] if sent.message else []
    return (max(times) if times else sent.seen.wall_ms) / 1000


def _listens(transcript: Transcript) -> _Found:
    if transcript.on(Channel.ACK) in transcript.filters:
        return Verdict.PASS, f"subscribes to {transcript.on(Channel.ACK)}"
    if not transcript.sent:
        return Verdict.NOT_SEEN, _NO_MESSAGE
    if not transcript.receipted:
        return Verdict.NOT_SEEN, "its messages have no boot and seq: there is nothing to receipt"
    return Verdict.FAIL, f"never subscribed to {transcript.on(Channel.ACK)}: it cannot know what to keep"


def _comes_back(transcript: Transcript) -> _Found:
    opened = transcript.acts.opened
    if opened is None:
        return Verdict.NOT_SEEN, "the connection was never cut"
    back = [seen.at for seen, _ in transcript.connects if seen.at > opened]
    if not back:
        return Verdict.FAIL, "did not come back after the connection was cut"
    return Verdict.PASS, f"{back[0] - opened:.1f} s after the broker was there again"


def _waits_for_receipts(transcript: Transcript) -> _Found:
    acts = transcript.acts
    if not acts.withheld or acts.opened is None:
        return Verdict.NOT_SEEN, "it did not come to receipts being withheld"
    again = {each.name for each in transcript.since(acts.opened)}
    missing = [name for name in sorted(acts.withheld) if name not in again and not transcript.declared_lost(name.seq)]
    if missing:
        return Verdict.FAIL, f"seq {_shown([str(n.seq) for n in missing])} had no receipt, and never came again"
    return Verdict.PASS, f"{_count(len(acts.withheld), 'message')} without a receipt came again, or were declared lost"


def _answers_missing(transcript: Transcript) -> _Found:
    asked, asked_at = transcript.acts.asked, transcript.acts.asked_at
    if asked is None or asked_at is None:
        return Verdict.NOT_SEEN, "it did not come to a message being named missing"
    if any(each.name == asked for each in transcript.since(asked_at)):
        return Verdict.PASS, f"seq {asked.seq} was named missing, and came again"
    if transcript.declared_lost(asked.seq):
        return Verdict.PASS, f"seq {asked.seq} was named missing, and declared lost"
    return Verdict.FAIL, f"seq {asked.seq} was named missing, and neither came again nor was declared lost"


def _answers_commands(transcript: Transcript) -> _Found:
    if transcript.on(Channel.CMD) not in transcript.filters:
        return Verdict.NOT_SEEN, f"does not subscribe to {transcript.on(Channel.CMD)}"
    if transcript.acts.commands is None:
        return Verdict.NOT_SEEN, "it did not come to a command"
    asked, expired = transcript.acts.commands
    answers = transcript.answers
    if any(answer.get("ok") is True for answer in answers.get(expired, [])):
        return Verdict.FAIL, "did what a command asked whose time was over"
    if not answers.get(asked):
        return Verdict.FAIL, "a command had no answer with its id on cmd/ans"
    first = answers[asked][0]
    if not isinstance(first.get("ok"), bool):
        return Verdict.FAIL, "an answer has no ok of true or false"
    return Verdict.PASS, f"answered ok={str(first['ok']).lower()}, code {first.get('code')!r:.40}"


def _shown(cases: Iterable[str]) -> str:
    told = list(cases)
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return ", ".join(told[:SHOWN]) + more


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


CLAUSES: tuple[tuple[str, Callable[[Transcript], _Found]], ...] = (
    ("connects with MQTT 3.1.1 or 5", _connects),
    ("logs in as itself", _identity),
    ("keep-alive", _keep_alive),
    ("last will", _will),
    ("birth", _birth),
    ("its own topics", _topics),
    ("QoS 1", _quality_of_service),
    ("payload", _payload),
    ("clock", _clock),
    ("boot and seq", _sequence),
    ("rate", _pace),
    ("listens for receipts", _listens),
    ("comes back", _comes_back),
    ("keeps what has no receipt", _waits_for_receipts),
    ("resends byte for byte", _same_bytes),
    ("answers what is missing", _answers_missing),
    ("answers commands", _answers_commands),
)
"""Every clause, with what judges it."""

__all__ = ["CLAUSES", "Finding", "Verdict", "judge"]
