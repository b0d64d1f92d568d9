"""What the monitor hears of groups, and the ledger counted anew."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ingest.group import Group
from ingest.spool import Quarantined, Spool
from ingest.store.checks import START, readings
from ingest.watch.auditing import LedgerAudit
from ingest.watch.traffic import MAX_DEVICES, Traffic
from sensors.reading import Batch


def refused(code: str, count: int = 1) -> Quarantined:
    return Quarantined(0, "cim/v1/hewan/water/A/data", b"", code, "why", count)


def test_refusals_are_counted_by_code_for_ever_and_by_device_until_looked_at():
    traffic = Traffic()
    blamed = Counter({("E_FUTURE", "A"): 3, ("E_RATE", "B"): 1, ("E_NAN", "A"): 1})
    traffic.note(Group(quarantine=[refused("E_FUTURE", 3), refused("E_RATE"), refused("E_NAN")], blamed=blamed))
    traffic.note(Group(quarantine=[refused("E_FUTURE")], blamed=Counter({("E_FUTURE", "A"): 1})))
    seen = traffic.look()
    assert (seen.ahead, seen.throttled, seen.late_s) == ({"A": 4}, {"B": 1}, None)
    assert traffic.look().ahead == {}
    assert traffic.refused == {"E_FUTURE": 4, "E_RATE": 1, "E_NAN": 1}


def test_a_refusal_of_who_is_in_no_registry_is_counted_by_code_alone():
    traffic = Traffic()
    traffic.note(Group(quarantine=[refused("E_DEVICE")]))
    assert (traffic.look().ahead, traffic.refused["E_DEVICE"]) == ({}, 1)


def test_a_flood_of_devices_stays_bounded():
    traffic = Traffic()
    traffic.note(Group(blamed=Counter({("E_FUTURE", f"D-{i}"): 1 for i in range(2 * MAX_DEVICES)})))
    assert len(traffic.look().ahead) == MAX_DEVICES


def test_lateness_is_the_median_of_live_readings_only():
    live = readings((1, 0, 0.3), (2, 0, 0.3), (3, 0, 0.3))
    buffered = readings((1, -86_400_000, 0.3))
    traffic = Traffic()
    for batch, history in ((live, False), (buffered, True)):
        columns = (batch.series, batch.time, batch.value, batch.quality, np.full(len(batch), history))
        traffic.note(Group(batches=[Batch(*columns, now=START + 2500)]))
    assert traffic.look().late_s == pytest.approx(2.5)


def test_an_audit_finds_rows_that_are_gone_while_the_counters_agree(tmp_path: Path):
    spool = Spool(tmp_path / "spool.sqlite")
    audit = LedgerAudit(spool)
    spool.commit(Group(received=2, batches=[readings((1, 0, 0.3), (1, 1, 0.3))]))
    audit.step()
    assert audit.unaccounted == 0
    with spool._transaction(spool._durable) as connection:
        connection.execute("DELETE FROM batches")
    stop = threading.Event()
    stop.set()
    audit.run(stop)
    assert (spool.ledger().balance, audit.unaccounted) == (0, 2)
    assert audit.at is not None
    spool.close()
