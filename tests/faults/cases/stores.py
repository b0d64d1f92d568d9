"""Cases 2, 16 and 17: the store is away, refuses single lines, or says that it has what it has not."""

from __future__ import annotations

from time import monotonic

from tests.faults.case import Report, Setting, case, fielded
from tests.faults.city import now_ms
from tests.faults.field import Block
from tests.faults.liar import Liar
from tests.faults.processes import wait_until
from tests.ingest.influx_contract import TOKEN, InfluxContract

DESIGN_RATE = 200
"""Readings a second that the campaign's city is built for: 12,000 devices at one a minute."""


@case(2, "store down for an hour's volume at design rate")
def store_down_for_an_hour(setting: Setting, report: Report) -> None:
    """The spool grows, receipts go on; drained within an hour of the store's return."""
    devices = [f"S-{nth}" for nth in range(20)]
    volume = DESIGN_RATE * (60 if setting.short else 3600)
    messages = volume // len(devices) // 100
    with setting.city() as city, fielded(city, *devices) as field:
        city.victoria.kill()
        began, start = monotonic(), now_ms() - 2 * 3_600_000
        for device in devices:
            field.send(Block(device, 1, 0, messages - 1, start, step=10, readings=100))
        field.all_receipted(600)
        took = monotonic() - began
        ledger = city.ledger()
        report.done.append(
            f"VictoriaMetrics killed; {volume:,} readings ({DESIGN_RATE}/s for an hour) sent in {took:.0f} s; back"
        )
        report.check(ledger.spooled == volume, f"{ledger.spooled:,} readings spooled, all receipted while it was away")
        wait_until(lambda: city.alarms(rule="store"), "an alarm that the store is away")
        back = monotonic()
        city.victoria.start()
        city.settled(volume, 3600)
        report.found.append(f"drained {monotonic() - back:.0f} s after the store was back")
        report.check(field.stored() == volume, f"{field.stored():,} in the store, by its own export: none twice")
        report.count(city, field)
        wait_until(lambda: not any(one["condition"] == "active" for one in city.alarms()), "the store's alarm is over")
        report.found.append(f"alarms meanwhile, over now: {sorted({one['rule'] for one in city.alarms()})}")


@case(16, "the store answers 400 for one line in 1,000")
def one_line_refused(setting: Setting, report: Report) -> None:
    """999 stored, 1 in quarantine. The store is the InfluxDB contract server of the tests: no InfluxDB is at hand."""
    server = InfluxContract()
    try:
        server.refuse = 503  # until all are in the spool, so that they go out together
        settings = {"store": {"token": TOKEN}}
        with setting.city(store=server.url, settings=settings) as city, fielded(city, "N-1", "N-2") as field:
            server.malformed = {city.number("N-2")}
            start = now_ms() - 3_600_000
            field.send(Block("N-1", 1, 0, 998, start))
            field.send(Block("N-2", 1, 0, 0, start))
            field.all_receipted()
            server.refuse = 0
            report.done.append(
                "1,000 readings in the spool; the InfluxDB contract server cannot parse one of the lines"
            )
            ledger = city.settled(1000)
            codes = [code for *_, code in city.quarantined("N-2")]
            report.check(len(server.points) == 999, f"{len(server.points)} points in the server")
            report.check(codes == ["E_STORE"] and ledger.quarantined == 1, f"N-2's reading in quarantine: {codes}")
            report.count(city, field)
    finally:
        server.stop()


@case(17, "the store answers 204, but the point is missing")
def point_missing(setting: Setting, report: Report) -> None:
    """Found by reading back, told by an alarm, and kept. VictoriaMetrics stands behind a proxy that swallows lines."""
    liar = Liar()
    try:
        with setting.city(front=liar.before) as city, fielded(city, "G-1", "G-2") as field:
            liar.swallowed = {city.number("G-1")}
            start = now_ms() - 3_600_000
            field.send(Block("G-1", 1, 0, 49, start))
            field.send(Block("G-2", 1, 0, 99, start))
            field.all_receipted()
            report.done.append("150 readings; the lines of 50 never reach the store, which answers 204 to them")
            wait_until(lambda: city.alarms(rule="store_loses"), "an alarm that the store loses readings", 180)
            report.found.append(f"alarm of level {city.alarms(rule='store_loses')[0]['level']}: store_loses")
            liar.swallowed = set()
            ledger = city.settled(150, 300)
            report.found.append(f"{liar.lines} lines swallowed: written again until the store has them")
            kept = len(city.stored("G-1")) + len(city.refused_by_store("G-1", "pressure"))
            report.check(kept == 50, f"{kept} of 50 in the store or in quarantine ({ledger.quarantined})")
            report.check(len(city.stored("G-2")) == 100, f"{len(city.stored('G-2'))} of 100 neighbours stored")
            report.count(city, field)
    finally:
        liar.stop()
