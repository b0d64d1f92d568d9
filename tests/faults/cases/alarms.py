"""Cases 19 and 20: one breach seen by two workers; a thousand sensors that alarm together."""

from __future__ import annotations

import json
from time import monotonic

from tests.faults.case import Report, Setting, case
from tests.faults.city import now_ms
from tests.faults.fleet import Fleet
from tests.faults.processes import wait_until

DEVICES, POINTS = 20, 50
DEEPEST = 3
"""Sensors with a pressure below zero: level 1 among a thousand of level 2."""


def gas(seq: int, time_ms: int, value: float) -> bytes:
    """Return a message with one concentration of gas, in %LEL."""
    return json.dumps({"v": 1, "boot": 1, "seq": seq, "ts": time_ms, "m": {"gas": {"v": value}}}).encode()


@case(19, "two breaches 1 ms apart, two workers")
def two_breaches(setting: Setting, report: Report) -> None:
    """One alarm: at one worker, and where the first breach is the owner's and the second its successor's."""
    names = ["A-1", "A-2"]
    with setting.city() as city:
        other = city.another_ingest("second")
        city.register(names, points=("gas",), quantity="combustible_gas", unit="%LEL")
        field = Fleet(city)
        field.connect(*names)
        start = now_ms()
        for nth, value in enumerate((1.0, 60.0, 61.0)):  # a millisecond apart
            field.keep("A-1", 1, nth, gas(nth, start - 5000 + nth, value))
        field.keep("A-2", 1, 0, gas(0, start - 5000, 60.0))
        wait_until(lambda: len(field.receipted("A-1")) == 3 and field.receipted("A-2") == {0}, "receipts")
        owner = next(one for one in (city.ingest, other) if one.pid == city.owner())
        owner.kill()
        began = monotonic()
        field.keep("A-2", 1, 1, gas(1, start - 4999, 61.0))
        wait_until(lambda: field.receipted("A-2") == {0, 1}, "the successor receipts the second breach")
        took = monotonic() - began
        report.done.append("two breaches of A-1 1 ms apart; A-2's second one after kill -9 of the district's owner")
        report.check(took <= 10, f"owned again, and the breach receipted, {took:.1f} s after kill -9")
        city.settled(5)
        wait_until(lambda: all(city.alarms(device=name) for name in names), "alarms of both")
        for name in names:
            raised = city.alarms(device=name, kind="limit")
            count = [one["count"] for one in raised]
            report.check(len(raised) == 1 and count == [1], f"{len(raised)} alarm of {name}, raised {count} time")
        report.sent = 5
        report.receipted = sum(len(field.receipted(name)) for name in names)
        report.stored = sum(len(city.stored(name, "gas")) for name in names)
        report.balanced(city)
        field.close()
        other.stop()


@case(20, "1,000 sensors alarm together")
def thousand_alarms(setting: Setting, report: Report) -> None:
    """Each is raised, once; those of level 1 stand first and are hidden by nothing."""
    names = [f"M-{nth}" for nth in range(DEVICES)]
    points = [f"p{nth}" for nth in range(POINTS)]
    with setting.city() as city:
        city.register(names, points=points)
        field = Fleet(city)
        field.connect(*names)
        start = now_ms() - 13_000
        for seq in range(13):  # longer than the rule's delay of 10 s
            for device in names:
                values = {point: {"v": 0.05} for point in points}
                if device == names[0]:
                    values |= {point: {"v": -0.02} for point in points[:DEEPEST]}
                message = {"v": 1, "boot": 1, "seq": seq, "ts": start + 1000 * seq, "m": values}
                field.keep(device, 1, seq, json.dumps(message).encode())
        began = monotonic()
        report.sent = 13 * DEVICES * POINTS
        city.settled(report.sent)
        wait_until(lambda: len(city.alarms(kind="limit")) >= DEVICES * POINTS, "an alarm of every sensor", 60)
        took = monotonic() - began
        listed = json.loads(city.command("alarms", "list", "--limit", "2000", "--json"))
        raised = [one for one in listed if one["kind"] == "limit"]
        report.done.append(f"{DEVICES} devices with {POINTS} sensors each fall below their limit in the same second")
        report.check(len(raised) == DEVICES * POINTS, f"{len(raised)} alarms within {took:.0f} s, one a sensor")
        report.check(all(one["count"] == 1 for one in raised), "each raised once")
        worst = [one["level"] for one in listed][:DEEPEST]
        report.check(worst == [1] * DEEPEST, f"the first of the list are of level {worst}")
        shown = [one for one in listed if one["level"] == 1 and one.get("visibility", "shown") == "shown"]
        report.check(len(shown) >= DEEPEST, f"{len(shown)} of level 1, all shown")
        told = [line for line in city.command("alarms", "list", "--limit", "1").splitlines() if "泛滥" in line]
        report.check(2 <= len(told) <= 10, f"a flood, told in {len(told)} groups: {' | '.join(told)[:300]}")
        report.check(told and "3 × 一级红" in told[0], "the group of level 1 first")
        wait_until(lambda: all(len(field.receipted(name)) == 13 for name in names), "receipts")
        report.receipted = sum(len(field.receipted(name)) for name in names) * POINTS
        report.stored = sum(len(city.stored(name, point)) for name in names for point in points)
        report.balanced(city)
        field.close()
