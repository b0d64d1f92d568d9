"""Cases 14 and 15: one device at a thousand times its rate; everybody at ten times theirs."""

from __future__ import annotations

import threading

from tests.faults.case import Report, Setting, case, fielded
from tests.faults.city import now_ms
from tests.faults.field import Block
from tests.faults.fleet import Fleet
from tests.faults.processes import wait_until

from .stores import DESIGN_RATE


@case(14, "one device at 1,000 times its rate")
def one_device_floods(setting: Setting, report: Report) -> None:
    """Only it is throttled; what is over goes to quarantine, and its receipt says so.

    For 12 s: later it would have filled its share of the quarantine (ingest.rate.REFUSED), and what is then over is
    neither kept nor receipted, so that it would go on sending that for minutes.
    """
    quiet, seconds = ["Q-1", "Q-2", "Q-3", "Q-4"], 5 if setting.short else 12
    with setting.city(settings={"ingest": {"rate_factor": 20.0}}) as city:
        city.register(["L-1", *quiet], interval_s=1.0)
        field = Fleet(city)
        field.connect("L-1", *quiet)
        start = now_ms() - 1000 * seconds
        field.send(Block("L-1", 1, 0, 1000 * seconds - 1, start, step=1), rate=1000)
        for device in quiet:
            field.send(Block(device, 1, 0, seconds - 1, start), rate=1)
        report.done.append(
            f"a device registered at one reading a second sends 1,000 a second for {seconds} s; four keep to it"
        )
        field.all_receipted()
        city.settled(field.sent())
        over = city.quarantined("/L-1/")
        report.check(over and {code for *_, code in over} == {"E_RATE"}, f"{len(over):,} of L-1 in quarantine: E_RATE")
        report.check("E_RATE" in field.refusals("L-1").values(), "its receipts say so")
        for device in quiet:
            kept = len(city.stored(device))
            report.check(
                kept == seconds and not city.quarantined(f"/{device}/"), f"{kept} of {seconds} of {device} stored"
            )
        wait_until(lambda: city.alarms(device="L-1"), "an alarm on the device that is throttled")
        report.found.append(f"alarm on L-1: {[one['rule'] for one in city.alarms(device='L-1')]}")
        report.count(city, field)
        field.close()


@case(15, "ten-fold burst for 60 s")
def burst(setting: Setting, report: Report) -> None:
    """Nothing is lost, and the backlog is shown."""
    devices = [f"U-{nth}" for nth in range(20)]
    seconds, rate = 10 if setting.short else 60, 10 * DESIGN_RATE
    with setting.city() as city, fielded(city, *devices) as field:
        start, over = now_ms() - 1000 * seconds, threading.Event()
        most, shown = [0], [0]

        def watch() -> None:
            while not over.wait(0.2):
                most[0] = max(most[0], city.ledger().spooled)
                shown[0] = max(shown[0], int(city.status().get("spooled", 0)))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        for device in devices:
            messages = rate // len(devices) * seconds
            field.send(Block(device, 1, 0, messages - 1, start, step=10), rate=rate / len(devices))
        field.all_receipted(300)
        city.settled(field.sent(), 300)
        over.set()
        watcher.join()
        report.done.append(f"{rate:,} messages a second, ten times the design rate, for {seconds} s, by 20 devices")
        report.check(shown[0] > 0, f"backlog at most {most[0]:,} readings; the heart-beat showed up to {shown[0]:,}")
        report.check(field.stored() == field.sent(), f"{field.stored():,} stored of {field.sent():,}: none twice")
        report.count(city, field)
