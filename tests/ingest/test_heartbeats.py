"""Who watches ingest from outside: heart-beats of several districts, Prometheus metrics, the dead man's signal."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from ingest.group import Group
from ingest.lease import SPOOL_ID
from ingest.spool import Quarantined, Spool
from ingest.status import Status
from ingest.store.checks import readings
from ingest.watch.dead_man import DeadMan
from ingest.watch.heartbeats import Heartbeats
from ingest.watch.metrics import serving
from sensors.clock import SystemClock
from sensors.leases import Leases
from sensors.leases import spools as worked_with
from sensors.operations import connect
from twin.errors import BusyError, SettingsError

from .conftest import free_port
from .well import well


def beat(district: str) -> Status:
    return well(datetime.now(UTC), district=district, unknown_devices=1, refused={"E_NAN": 2}, receipts=7, store_s=0.02)


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[dict[str, Spool]]:
    made = {name: Spool(tmp_path / f"{name}.sqlite") for name in ("hewan", "nanshan")}
    for name, spool in made.items():
        spool.beat(beat(name))
    yield made
    for spool in made.values():
        spool.close()


@pytest.fixture
def heartbeats(spools: dict[str, Spool]) -> Iterator[Heartbeats]:
    heartbeats = Heartbeats({name: spool.path for name, spool in spools.items()})
    yield heartbeats
    heartbeats.close()


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """Return the samples of a scrape by name and label values."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    families = text_string_to_metric_families(text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_one_port_tells_the_ledger_of_every_district(spools: dict[str, Spool], heartbeats: Heartbeats):
    batch = readings(*((1, second, 0.3) for second in range(5)))
    refused = Quarantined(0, "cim/v1/hewan/water/WP-1/data", b"{", "E_JSON", "no JSON")
    spools["hewan"].commit(Group(received=6, batches=[batch], quarantine=[refused]))
    with serving("127.0.0.1:0", heartbeats) as port:
        before = scraped(port)
        spools["hewan"].stored(1, 4, 1)
        after = scraped(port)
    assert before["chengmai_ingest_up", "nanshan"] == before["chengmai_ingest_healthy", "hewan"] == 1
    assert before["chengmai_ingest_readings_total", "hewan", "received"] == 6
    assert before["chengmai_ingest_readings_total", "hewan", "quarantined"] == 1
    assert before["chengmai_ingest_spooled_readings", "hewan"] == 5
    assert after["chengmai_ingest_readings_total", "hewan", "stored"] == 4
    assert after["chengmai_ingest_spooled_readings", "hewan"] == 0
    assert after["chengmai_ingest_ledger_balance_readings", "hewan"] == 0
    assert after["chengmai_ingest_readings_total", "nanshan", "received"] == 0
    assert after["chengmai_ingest_refused_readings_total", "E_NAN", "nanshan"] == 2
    assert after["chengmai_ingest_receipts_total", "hewan"] == 7
    assert after["chengmai_ingest_store_write_seconds", "hewan"] == 0.02


def test_a_district_that_never_ran_is_down_and_has_no_figures(tmp_path: Path):
    heartbeats = Heartbeats({"new": tmp_path / "new.sqlite"})
    with serving("127.0.0.1:0", heartbeats) as port:
        found = scraped(port)
    assert found == {("chengmai_ingest_up", "new"): 0, ("chengmai_ingest_healthy", "new"): 0}
    assert not (tmp_path / "new.sqlite").exists()


def test_an_address_that_is_taken_or_none_is_told(heartbeats: Heartbeats):
    with (
        serving("127.0.0.1:0", heartbeats) as port,
        pytest.raises(BusyError, match=str(port)),
        serving(f"127.0.0.1:{port}", heartbeats),
    ):
        pass
    with pytest.raises(SettingsError, match="host:port"), serving("nowhere", heartbeats):
        pass


class Outside:
    """The service that is called: remembers the paths, and answers what it is told to."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.answer = 200
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outside.paths.append(self.path)
                self.send_response(outside.answer)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping/s3cret"


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    thread = threading.Thread(target=outside.server.serve_forever)
    thread.start()
    yield outside
    outside.server.shutdown()
    outside.server.server_close()
    thread.join()


def test_the_signal_goes_out_while_all_is_well(outside: Outside, heartbeats: Heartbeats):
    assert DeadMan(outside.url, 60, heartbeats).step()
    assert outside.paths == ["/ping/s3cret"]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"beat": datetime.now(UTC) - timedelta(minutes=1)}, "no heart-beat"),
        ({"store_ok": False}, "store does not answer"),
        ({"connected": False}, "broker"),
        ({"unaccounted": 1}, "ledger does not balance"),
        ({"spool_ok": False}, "spool cannot be written"),
    ],
)
def test_the_signal_stops_when_one_district_is_ill(outside: Outside, heartbeats: Heartbeats, spools, found, why: str):
    spools["nanshan"].beat(msgspec.structs.replace(beat("nanshan"), **found))
    with capture_logs() as logs:
        assert not DeadMan(outside.url, 60, heartbeats).step()
    assert outside.paths == []
    assert why in logs[0]["why"]
    assert "nanshan" in logs[0]["why"]


def test_the_signal_stops_when_a_readings_fate_is_unknown(outside: Outside, heartbeats: Heartbeats, spools):
    spools["hewan"].commit(Group(received=1))
    assert not DeadMan(outside.url, 60, heartbeats).step()
    assert outside.paths == []


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_a_call_that_is_not_taken_is_told_once_without_its_url(outside: Outside, heartbeats: Heartbeats, answer: int):
    outside.answer = answer
    man = DeadMan(outside.url, 60, heartbeats)
    with capture_logs() as logs:
        assert not man.step()
        assert not man.step()
    assert [log["event"] for log in logs] == ["dead_man_signal_held"]
    assert "s3cret" not in str(logs)
    assert "/elsewhere" not in outside.paths


def test_a_service_that_is_away_is_no_error(heartbeats: Heartbeats):
    with capture_logs() as logs:
        assert not DeadMan(f"http://127.0.0.1:{free_port()}/s3cret", 60, heartbeats).step()
    assert "s3cret" not in str(logs)


def test_an_answer_that_is_no_http_does_not_end_the_signal(heartbeats: Heartbeats):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/s3cret"

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with capture_logs() as logs:
            assert not DeadMan(url, 60, heartbeats).step()
        thread.join(5)
    assert "BadStatusLine" in logs[0]["why"]


def test_a_url_that_is_none_is_refused_without_naming_it(heartbeats: Heartbeats):
    with pytest.raises(SettingsError) as refused:
        DeadMan("file:///etc/s3cret", 60, heartbeats)
    assert "s3cret" not in str(refused.value)


def test_a_district_that_another_machine_works_is_no_matter_of_this_one(
    tmp_path: Path, spools: dict[str, Spool], outside: Outside
):
    spools["hewan"].commit(Group(states={SPOOL_ID: b"here"}))
    old = datetime.now(UTC) - timedelta(hours=1)
    spools["nanshan"].commit(Group(states={SPOOL_ID: b"here-too"}))
    spools["nanshan"].beat(msgspec.structs.replace(beat("nanshan"), beat=old))
    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    here = Leases(engine, "w1", host="this", clock=SystemClock())
    there = Leases(engine, "w2", host="that", clock=SystemClock())
    for leases, district, spool in ((here, "hewan", "here"), (there, "nanshan", "there"), (there, "xishan", "x")):
        leases.beat({})
        assert leases.take(district, spool) is not None
    paths = {name: tmp_path / f"{name}.sqlite" for name in ("hewan", "nanshan", "xishan")}
    heartbeats = Heartbeats(paths, lambda: worked_with(engine))
    assert [name for name, pulse in heartbeats.look().items() if pulse.elsewhere] == ["nanshan", "xishan"]
    assert DeadMan(outside.url, 60, heartbeats).step()
    with serving("127.0.0.1:0", heartbeats) as port:
        assert {name for labels in scraped(port) for name in paths.keys() & set(labels)} == {"hewan"}
    heartbeats.close()
    engine.dispose()
