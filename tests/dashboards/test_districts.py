"""What the settings name for ingest's districts: the broker's address with its secrets, and what drains a spool."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from dashboards.commands.ingest import address_of
from dashboards.districts import Districts
from dashboards.settings import load
from ingest.group import Group
from ingest.spool import Spool
from ingest.store.sqlite import SqliteStore
from sensors.clock import SystemClock, to_ms
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.reading import Batch
from sensors.registry import Registry
from twin.asset import System
from twin.errors import InputError, SettingsError


@pytest.fixture
def settings(tmp_path):
    def write(toml: str):
        (tmp_path / "city.toml").write_text(toml)
        return load(tmp_path / "city.toml")

    return write


def test_a_password_comes_from_its_file(tmp_path, settings):
    (tmp_path / "password").write_text("hunter2\n")
    found = address_of(
        settings('[mqtt]\nurl = "mqtts://broker"\nusername = "ingest"\npassword_file = "password"\nca = "ca.pem"\n')
    )
    assert (found.username, found.password, found.ca) == ("ingest", "hunter2", tmp_path / "ca.pem")
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("content", [None, "", "two\nlines\n", b"\xff"])
def test_a_file_that_holds_no_secret_is_named(tmp_path, settings, content):
    if content is not None:
        (tmp_path / "token").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingsError, match=r"store\.token_file: .*token"):
        settings('[store]\ntoken_file = "token"\n').store_token()


def test_certificates_for_a_broker_without_tls_are_refused(settings):
    with pytest.raises(InputError, match="has no TLS"):
        address_of(settings('[mqtt]\nurl = "mqtt://broker"\nca = "ca.pem"\n'))


def test_a_spool_that_is_drained_is_in_the_store(tmp_path, settings):
    found = settings('[city]\ndistrict = "hewan"\n')
    engine = connect(found.operations_url())
    device = Device(
        DeviceId("WP-1"), "hewan", System.WATER, (Point("pressure", "pressure", "MPa"),), timedelta(minutes=1)
    )
    Registry(engine).put([device])
    districts = Districts(found, address_of(found), SystemClock(), engine, "test")
    spool = Spool(districts.spool("hewan"))
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    times = to_ms(begin) + np.arange(1000, dtype=np.int64)
    series = np.zeros(1000, np.int32)
    batch = Batch(series, times, times * 1e-6, series.astype(np.uint8), series.astype(bool), to_ms(begin))
    spool.commit(Group(received=1000, batches=[batch]))
    districts.drain("hewan", spool).run(threading.Event())
    ledger = spool.ledger()
    assert (ledger.stored, ledger.spooled, ledger.balance) == (1000, 0, 0)
    store = SqliteStore(found.store_url())
    assert len(store.read([0], begin, begin + timedelta(hours=1))) == 1000
    store.close()
    spool.close()
    engine.dispose()
