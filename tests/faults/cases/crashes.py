"""Cases 4 and 19: workers are killed in mid-batch; two of them see one breach."""

from __future__ import annotations

import random
import time

from tests.faults.case import Report, Setting, case, fielded
from tests.faults.city import City, now_ms
from tests.faults.field import Block
from tests.faults.fleet import Fleet
from tests.faults.processes import wait_until
from tests.faults.trace import Order, order, traced

from .messages import reading

KEEPERS = ("K-1", "K-2", "K-3")
TRUSTING = ("T-1", "T-2", "T-3")
"""Devices without memory: they publish once, and take the broker's PUBACK for enough. The broker lives all along."""

RATE = 80.0
SEED = 4
RESTING_S = 30.0


@case(4, "worker kill -9 in mid-batch, 100 times", short=True)
def worker_killed(setting: Setting, report: Report) -> None:
    """0 lost, duplicates collapse; and what is acknowledged was synced before, which a kill cannot show."""
    kills = 2 if setting.short else 100
    with setting.city() as city, fielded(city, *KEEPERS) as keepers:
        city.register([*KEEPERS, *TRUSTING])
        trusting = Fleet(city)
        trusting.connect(*TRUSTING, trusts=True)
        start = now_ms() - 48 * 3_600_000
        for field, devices in ((keepers, KEEPERS), (trusting, TRUSTING)):
            for device in devices:
                field.send(Block(device, 1, 0, 10**7, start, step=10), rate=RATE)
        flying, promised = kill_often(city, keepers, trusting, kills)
        keepers.halt()
        trusting.halt()
        report.done.append(
            f"{kills} x kill -9 of the one of two ingests that has the district, while six devices send "
            f"{6 * RATE:.0f} messages a second; in flight, taken by the broker and not on disk, at each: "
            f"{min(flying)} to {max(flying)}, of devices without memory alone"
        )
        shown = (
            f"{min(flying)}, in the middle {sorted(flying)[len(flying) // 2]}, {max(flying)}; the first {flying[:10]}"
        )
        report.check(len(flying) == kills, f"messages in flight at every one of {len(flying)} kills: {shown}")
        report.check(not promised, f"{promised} receipted messages were not on disk when ingest was killed")
        keepers.all_receipted()
        wait_until(lambda: trusting.counts()[0] == trusting.counts()[1], "the broker has acknowledged every message")
        rest(city, keepers.sent() + trusting.sent())
        for field, what in ((keepers, "devices with memory"), (trusting, "devices without")):
            lost = field.missing(every=True)
            report.check(not lost.count, f"{lost.count} of {field.sent():,} lost of {what} {lost.examples[:3] or ''}")
            report.check(field.stored() == field.sent(), f"{field.stored():,} stored of {field.sent():,}: none twice")
        report.found.append(
            f"{keepers.counts()[2]:,} messages sent again, {city.ledger().duplicates:,} duplicates dropped"
        )
        report.count(city, keepers, trusting)
        trusting.close()
    trace_order(setting, report)


def rest(city: City, readings: int) -> None:
    """Wait until `readings` have come in and none waits for the store, or nothing has moved for `RESTING_S`.

    What is lost never comes: that is for the checks to say.
    """
    ledger, moved = city.ledger(), time.monotonic()
    while (ledger.received < readings or ledger.spooled) and time.monotonic() - moved < RESTING_S:
        time.sleep(0.2)
        before, ledger = ledger, city.ledger()
        if ledger != before:
            moved = time.monotonic()


def kill_often(city: City, keepers: Fleet, trusting: Fleet, kills: int) -> tuple[list[int], int]:
    """Kill the ingest that has the district, while another waits for it, and start it again.

    That goes on until `kills` kills had messages in flight. Returns how many were at each: what the broker had
    acknowledged to the devices that never resend, at the moment of the kill, and was not on disk afterwards. And how
    many messages were receipted, and not on disk after a kill, before any device could send them again.
    """
    rng, both = random.Random(SEED), (city.ingest, city.another_ingest("second"))
    flying: list[int] = []
    promised = 0
    for _ in range(2 * kills):
        before = city.ledger().received
        wait_until(lambda before=before: city.ledger().received > before, "readings come in")
        time.sleep(rng.uniform(0.05, 0.5))
        owner = next(one for one in both if one.pid == city.owner())
        acknowledged = trusting.counts()[1]
        receipted = {device: keepers.receipted(device) for device in KEEPERS}
        owner.kill()
        in_flight = acknowledged - city.seen(TRUSTING)
        promised += sum(len(receipted[device] - city.seen_of(device)) for device in KEEPERS)
        if in_flight > 0:
            flying.append(in_flight)
        owner.start(wait=False)
        if len(flying) == kills:
            break
    return flying, promised


def trace_order(setting: Setting, report: Report) -> None:
    """Trace ingest over a few hundred messages, and hold every PUBACK and receipt against the syncs of the spool."""
    output = setting.folder / "ingest.strace"
    count = 100 if setting.short else 400
    with setting.city("traced", wrapped=traced(output)) as city, fielded(city, "O-1") as field:
        start = now_ms() - 3_600_000
        for seq in range(count):
            field.keep("O-1", 1, seq, reading(1, seq, start + 1000 * seq, 0.3))
            time.sleep(0.005)
        wait_until(lambda: len(field.receipted("O-1")) == count, "all receipted")
        city.ingest.stop()
        found: Order = order(output, city.broker.port, city.spool.name)
        early = [left for arrived, left in found.acknowledged if not found.durable(arrived, left)]
        report.done.append(f"ingest under strace: {count} messages one by one")
        report.check(
            len(found.acknowledged) >= count and not early,
            f"{len(found.acknowledged)} PUBACKs of readings, {len(early)} before the spool's log was synced "
            f"({len(found.synced)} syncs)",
        )
        first = min((last for _, last in found.synced), default=None)
        late = [line for line in found.receipts if first is not None and line > first]
        report.check(
            found.receipts and len(late) == len(found.receipts), f"{len(found.receipts)} receipts, all after a sync"
        )
