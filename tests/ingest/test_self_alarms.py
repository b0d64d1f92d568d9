"""A running worker raises alarms about itself and about how devices send: real broker, spool and alarm log."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from sensors.alarm_log import AlarmLog

from .conftest import City, FieldDevice, wait_until


def standing(city: City) -> dict[str, int]:
    return {
        f"{one.subject} {one.rule}": one.level for one in AlarmLog(city.engine, city.clock).of_ingest(city.district)
    }


@pytest.mark.slow
def test_a_device_whose_clock_is_ahead_is_told_and_the_others_are_not(
    city: City, field_device: Callable[..., FieldDevice]
):
    good, ahead = city.register("WP-1", "WP-2")
    now = datetime.now(UTC)
    with city.worker():
        field_device(city.address, good).send_values(1, range(20), now)
        field_device(city.address, ahead).send_values(1, range(3), now + timedelta(hours=1))
        city.settled(23)
        wait_until(lambda: standing(city) == {"device:WP-2 device_clock": 3})
    assert city.spool.ledger().quarantined == 3
    status = city.spool.status()
    assert status is not None
    assert status.refused == {"E_FUTURE": 3}
    assert status.receipts >= 2


@pytest.mark.slow
def test_a_ledger_that_somebody_falsified_is_a_level_1_alarm_until_it_is_right_again(city: City):
    def falsify(by: int) -> None:
        with closing(sqlite3.connect(city.spool.path, timeout=10)) as spool, spool:
            spool.execute("UPDATE counters SET value = value + ? WHERE name = 'received'", (by,))

    with city.worker():
        falsify(5)
        wait_until(lambda: standing(city) == {f"ingest:{city.district} ledger": 1})
        falsify(-5)
        wait_until(lambda: standing(city) == {})
