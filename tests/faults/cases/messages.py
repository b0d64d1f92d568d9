"""Cases 5 to 8, 10, 11, 13 and 18: messages that come twice, late, early, wrong or with foul names."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.faults.broker import INGEST, WIDE, secret
from tests.faults.case import Report, Setting, case, fielded
from tests.faults.city import DISTRICT, City, now_ms
from tests.faults.field import Block
from tests.faults.fleet import Fleet
from tests.faults.processes import wait_until

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_LOW = 0.05
"""MPa: below every limit of water pressure, orange at once and after its delay."""


def reading(boot: int, seq: int, time_ms: int, value: float, **more: Any) -> bytes:
    """Return a message with one pressure, in MPa."""
    return json.dumps(
        {"v": 1, "boot": boot, "seq": seq, "ts": time_ms, "m": {"pressure": {"v": value, "u": "MPa"}}, **more}
    ).encode()


def breach(device: str, boot: int, first: int, start_ms: int, count: int = 13) -> list[bytes]:
    """Return messages of a pressure too low for longer than the rule's delay of 10 s, one a second."""
    del device
    return [reading(boot, first + nth, start_ms + 1000 * nth, _LOW) for nth in range(count)]


def tell(report: Report, city: City, field: Fleet, *devices: str) -> None:
    """Count for cases that send message by message: what was receipted, stored, quarantined."""
    report.receipted += sum(len(field.receipted(device)) for device in devices)
    report.stored += sum(len(city.stored(device)) for device in devices)
    report.balanced(city)


@case(5, "the same message three times")
def same_message_three_times(setting: Setting, report: Report) -> None:
    """One point, one alarm: named messages by (boot, seq), unnamed ones by their time."""
    report.done.append("13 messages of a breach, each published three times; 5 without boot and seq, three times")
    start = now_ms() - 60_000
    with setting.shared() as city, fielded(city, "P5-1", "P5-2") as field:
        for payload in breach("P5-1", 1, 0, start):
            for _ in range(3):
                field.raw("P5-1", payload)
        for nth in range(5):
            message = {"v": 1, "ts": start + 1000 * nth, "m": {"pressure": {"v": 0.3, "u": "MPa"}}}
            for _ in range(3):
                field.raw("P5-2", json.dumps(message).encode())
        report.sent = 3 * (13 + 5)
        ledger = city.settled(report.sent)
        wait_until(lambda: len(field.receipted("P5-1")) == 13, "13 messages receipted")
        report.check(len(city.stored("P5-1")) == 13, f"{len(city.stored('P5-1'))} points stored of 13 messages x 3")
        report.check(
            len(city.stored("P5-2")) == 5, f"{len(city.stored('P5-2'))} points stored of 5 unnamed messages x 3"
        )
        report.check(ledger.duplicates >= 26, f"{ledger.duplicates} duplicates counted")
        one_alarm(report, city, "P5-1")
        tell(report, city, field, "P5-1", "P5-2")


def one_alarm(report: Report, city: City, device: str) -> None:
    """Check that a device's low pressure has raised exactly one alarm, once."""
    wait_until(lambda: city.alarms(device=device), f"an alarm of {device}")
    raised = city.alarms(device=device)
    report.check(
        len(raised) == 1 and raised[0]["count"] == 1,
        f"{len(raised)} alarm of {device} ({', '.join(one['rule'] for one in raised)})",
    )


@case(6, "readings out of order", short=True)
def out_of_order(setting: Setting, report: Report) -> None:
    """Stored where they belong; the current value does not go back."""
    order = [0, 9, 3, 8, 1, 7, 2, 6, 4, 5]
    report.done.append(f"10 messages in the order {order}")
    report.sent = 10
    start = now_ms() - 30_000
    with setting.shared() as city, fielded(city, "P6-1") as field:
        for seq in order:
            field.keep("P6-1", 1, seq, reading(1, seq, start + 1000 * seq, 0.3 + seq / 1000))
        city.settled(10)
        held = city.stored("P6-1")
        right = [(start + 1000 * seq, 0.3 + seq / 1000) for seq in range(10)]
        same = [time_ms for time_ms, _ in held] == [time_ms for time_ms, _ in right] and all(
            abs(a - b) < 1e-9 for (_, a), (_, b) in zip(held, right, strict=True)
        )
        report.check(same, f"{len(held)} stored, each at its own time")
        current = city.latest("P6-1")
        report.check(current is not None and current[0] == start + 9000, "the current value is the newest by time")
        wait_until(lambda: len(field.receipted("P6-1")) == 10, "10 messages receipted")
        tell(report, city, field, "P6-1")


@case(7, "readings 7 days late", short=True)
def seven_days_late(setting: Setting, report: Report) -> None:
    """Stored and flagged; a breach among them wakes nobody."""
    report.done.append("13 s of low pressure of 7 days ago as history; the same from a device that calls it live")
    start = now_ms() - 7 * _DAY_MS
    with setting.shared() as city, fielded(city, "P7-1", "P7-2", "P7-3") as field:
        for seq, payload in enumerate(breach("P7-1", 1, 0, start)):
            field.keep("P7-1", 1, seq, json.dumps({**json.loads(payload), "hist": True}).encode())
        for seq, payload in enumerate(breach("P7-2", 1, 0, start)):
            field.keep("P7-2", 1, seq, payload)
        report.sent = 26
        city.settled(26)
        # One that is live comes last: when its alarm is there, detection is past the late ones.
        for seq, payload in enumerate(breach("P7-3", 1, 0, now_ms() - 13_000)):
            field.keep("P7-3", 1, seq, payload)
        report.sent += 13
        wait_until(lambda: city.alarms(device="P7-3"), "an alarm of P7-3")
        city.settled(39)
        report.check(not city.alarms(device="P7-1"), "no alarm of what came as history")
        report.check(not city.alarms(device="P7-2"), "no alarm of what came 7 days late as live")
        flags = set(city.qualities("P7-2"))
        report.check(1 not in flags, f"late readings are flagged (quality {sorted(flags)})")
        for device in ("P7-1", "P7-2"):
            held = city.stored(device)
            report.check(len(held) == 13 and held[0][0] == start, f"{len(held)} of 13 of {device} stored at their time")
        wait_until(lambda: all(len(field.receipted(device)) == 13 for device in ("P7-1", "P7-2", "P7-3")), "receipts")
        tell(report, city, field, "P7-1", "P7-2", "P7-3")


@case(8, "readings of the future: an hour, a year")
def from_the_future(setting: Setting, report: Report) -> None:
    """Quarantined as they came, and an alarm on the clock of the device."""
    report.done.append("20 messages an hour ahead, 20 a year ahead, 20 of now")
    report.sent = 60
    with setting.shared() as city, fielded(city, "P8-1", "P8-2", "P8-3") as field:
        sent: dict[str, list[bytes]] = {"P8-1": [], "P8-2": [], "P8-3": []}
        for device, ahead in (("P8-1", _HOUR_MS), ("P8-2", 365 * _DAY_MS), ("P8-3", 0)):
            for seq in range(20):
                payload = reading(1, seq, now_ms() - 20_000 + 1000 * seq + ahead, 0.3)
                sent[device].append(payload)
                field.keep(device, 1, seq, payload)
        city.settled(60)
        for device in ("P8-1", "P8-2"):
            kept = city.quarantined(f"/{device}/")
            as_sent = {payload for _, payload, _ in kept} == set(sent[device])
            report.check(
                as_sent and {code for *_, code in kept} == {"E_FUTURE"},
                f"{len(kept)} of {device} in quarantine as they came, E_FUTURE",
            )
            report.check(not city.stored(device), f"none of {device} stored")
            wait_until(lambda device=device: city.alarms(device=device), f"an alarm on the clock of {device}")
            report.found.append(f"alarm on {device}: {city.alarms(device=device)[0]['rule']}")
        report.check(len(city.stored("P8-3")) == 20, "the neighbour's 20 are stored")
        wait_until(lambda: all(len(field.receipted(one)) == 20 for one in sent), "all receipted, refused or not")
        tell(report, city, field, *sent)


def foul_payloads(start: int) -> dict[str, bytes]:
    """Return what no device should send, by the code that it is to be refused with."""
    deep = b'{"v":1,"x":' + b"[" * 100 + b"]" * 100 + b"}"
    return {
        "E_UTF8": b'{"v":1,"boot":1,"seq":1000,"m":{"pressure":{"v":0.3}},"x":"\xff\xfe"}',
        "E_JSON": b'{"v":1,"boot":1,"seq":1001,"m":{"pressure":{"v":',
        "E_NAN": b'{"v":1,"boot":1,"seq":1002,"ts":%d,"m":{"pressure":{"v":NaN}}}' % start,
        "E_SIZE": b'{"v":1,"x":"' + b"a" * (1 << 20) + b'"}',
        "E_DEPTH": deep,
        "E_FIELD": b'{"v":1,"boot":1,"seq":1003,"m":7}',
        "E_COUNT": b'{"v":1,"boot":1,"seq":1004,"r":[]}',
        "E_UNIT": b'{"v":1,"boot":1,"seq":1005,"ts":%d,"m":{"pressure":{"v":1,"u":"kg"}}}' % start,
    }


@case(10, "bad UTF-8, bad JSON, NaN, 1 MiB, depth 100 and more", short=True)
def foul_messages(setting: Setting, report: Report) -> None:
    """Quarantined with a reason, acknowledged, and their neighbours untouched."""
    start = now_ms() - 60_000
    foul = foul_payloads(start)
    report.done.append(f"a good message, a foul one, and so on: {', '.join(foul)}; then one NaN among 10 good")
    with setting.shared() as city, fielded(city, "P10-1") as field:
        for nth, payload in enumerate(foul.values()):
            field.keep("P10-1", 1, nth, reading(1, nth, start + 1000 * nth, 0.3))
            field.raw("P10-1", payload)
        good = len(foul)
        mixed = {f"{nth}": {"v": 0.3} for nth in range(9)}  # points that the device has not: E_POINT, one by one
        rows = [[start + 100_000 + nth, {"pressure": {"v": 0.3}}] for nth in range(10)]
        rows[4][1] = {"pressure": {"v": "NaN"}, **mixed}
        field.keep("P10-1", 1, good, json.dumps({"v": 1, "boot": 1, "seq": good, "r": rows}).encode())
        report.sent = 2 * len(foul) + 10 + 9
        city.settled(report.sent)
        kept = {code: payload for _, payload, code in city.quarantined("/P10-1/")}
        for code, payload in foul.items():
            report.check(code in kept and (code == "E_NAN" or kept[code] == payload), f"{code} kept as it came")
        report.check(len(city.stored("P10-1")) == good + 9, f"{good} good neighbours and 9 of the mixed message stored")
        wait_until(lambda: good in field.receipted("P10-1"), "the last message receipted")
        wait_until(lambda: field.counts()[0] == field.counts()[1], "the broker has acknowledged every message")
        told = field.refusals("P10-1")
        report.check(told.get(1002) == "E_NAN" and told.get(1005) == "E_UNIT", "receipts name the refused ones")
        tell(report, city, field, "P10-1")


def names() -> list[str]:
    """Return device names that would escape from a topic, a file or a line of line protocol."""
    return ["../../etc", "a,series=1", "a b", 'a"b', "a=b", "a\\", "a'b; DROP TABLE", "\u202eabc", "a" * 65, "..", ""]


@case(11, "#, +, NUL and ../ in names, line-protocol characters in tags", short=True)
def foul_names(setting: Setting, report: Report) -> None:
    """Refused or escaped; no foreign series comes into being."""
    report.done.append(
        "names like ../../etc, a,series=1 and 'a b' in topics and points, by a login that may write anything"
    )
    with setting.shared() as city, fielded(city, "P11-1") as field:
        field.connect("intruder", login=WIDE)
        start, foul = now_ms() - 60_000, names()
        for nth, name in enumerate(foul):
            topic = f"cim/v1/{DISTRICT}/water/{name}/data"
            field.raw("intruder", reading(1, nth, start + nth, 0.3), topic)
            point = {f"pressure,series={nth} value=1 ": {"v": 0.3}, "pressure\n": {"v": 0.3}, "pressure": {"v": 0.3}}
            payload = {"v": 1, "boot": 1, "seq": nth, "ts": start + 1000 * nth, "m": point}
            field.keep("P11-1", 1, nth, json.dumps(payload).encode())
        wait_until(lambda: len(field.receipted("P11-1")) == len(foul), "the device's messages receipted")
        refused = {name: raw_publish(city, f"cim/v1/{DISTRICT}/water/{name}/data") for name in ("#", "+", "a\0b")}
        report.sent = 4 * len(foul)
        heard = [name for name in foul if "/" not in name]  # with one, it is another topic altogether
        city.settled(3 * len(foul) + len(heard))
        report.check(
            all(refused.values()), "the broker closes the connection on #, + and NUL in a topic (MQTT 3.3.2.1)"
        )
        codes = [code for topic, _, code in city.quarantined() if "/P11-1/" not in topic]
        report.check(
            len(codes) == len(heard) and set(codes) == {"E_TOPIC"}, f"{len(codes)} foul topics in quarantine: E_TOPIC"
        )
        points = [code for *_, code in city.quarantined("/P11-1/")]
        report.check(points == ["E_POINT"] * len(foul), f"{len(points)} messages with foul points: E_POINT")
        report.check(len(city.stored("P11-1")) == len(foul), "their neighbours in the same messages are stored")
        foreign = city.stored_series() - city.series()
        report.check(not foreign, f"series in the store that no device has: {sorted(foreign) or 'none'}")
        tell(report, city, field, "P11-1")


def raw_publish(city: City, topic: str) -> bool:
    """Publish on a topic that no client library would, and return whether the broker closed the connection."""

    def text(value: bytes) -> bytes:
        return len(value).to_bytes(2, "big") + value

    def packet(kind: int, body: bytes) -> bytes:
        assert len(body) < 128
        return bytes([kind, len(body)]) + body

    login = (text(b"raw"), text(WIDE.encode()), text(secret(WIDE).encode()))
    with socket.create_connection(("127.0.0.1", city.broker.port), 10) as client:
        client.sendall(packet(0x10, text(b"MQTT") + bytes([4, 0xC2, 0, 30]) + b"".join(login)))
        assert client.recv(4)[0] == 0x20, "CONNACK"
        client.sendall(packet(0x32, text(topic.encode()) + b"\0\1" + b"{}"))
        return client.recv(4) == b""


@case(13, "one poison message a thousand times", short=True)
def poison(setting: Setting, report: Report) -> None:
    """Intake never stalls: each is kept or counted, and the good ones in between go on."""
    times = 1000
    report.done.append(f"a broken message and a good one by turns, {times} times; the broken one is always the same")
    start = now_ms() - times * 1000
    with setting.shared() as city, fielded(city, "P13-1", "P13-2") as field:
        field.send(Block("P13-2", 1, 0, times - 1, start), rate=500)
        for _ in range(times):
            field.raw("P13-1", b'{"v":1,"boot":1,"seq":7,"m":{"pressure":{"v":{}}}')
        city.settled(2 * times)
        field.all_receipted()
        ledger = city.ledger()
        kept = len(city.quarantined("/P13-1/"))
        report.check(ledger.quarantined == times, f"{ledger.quarantined} counted in quarantine, {kept} rows")
        report.check(len(city.stored("P13-2")) == times, f"{len(city.stored('P13-2'))} good ones stored")
        report.count(city, field)
        report.sent += times


@case(18, "an old (boot, seq) replayed")
def replayed(setting: Setting, report: Report) -> None:
    """Dropped, counted, and seen by whoever looks: also with other contents, also after a restart."""
    report.done.append("10 messages; then the same numbers with other values and times; ingest started anew; again")
    start = now_ms() - 120_000
    with setting.shared() as city, fielded(city, "P18-1") as field:
        before = json.loads(city.command("ledger", "--json"))["duplicates"]
        for seq in range(10):
            field.keep("P18-1", 1, seq, reading(1, seq, start + 1000 * seq, 0.3))
        city.settled(10)
        wait_until(lambda: len(field.receipted("P18-1")) == 10, "10 messages receipted")
        forged = [reading(1, seq, start + 60_000 + 1000 * seq, 9.9) for seq in range(10)]
        for payload in forged:
            field.raw("P18-1", payload)
        city.settled(20)
        city.ingest.stop()
        city.start_ingest()
        for payload in forged:
            field.raw("P18-1", payload)
        ledger = city.settled(30)
        report.sent = 30
        held = city.stored("P18-1")
        report.check([value for _, value in held] == [0.3] * 10, f"{len(held)} stored, none of the forged")
        report.check(ledger.duplicates == 20, f"{ledger.duplicates} counted as duplicates")
        told = json.loads(city.command("ledger", "--json"))["duplicates"] - before
        report.check(told == 20, f"{told} more duplicates in `chengmai ledger`")
        tell(report, city, field, "P18-1")


__all__ = ["INGEST", "breach", "one_alarm", "reading", "tell"]
