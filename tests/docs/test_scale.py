"""The configuration files of docs/scale: read by what they are for, and run where the software is at hand."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from dashboards.settings import load
from ingest.store import Retention, open_store
from ingest.store.checks import readings
from ingest.store.victoria import VictoriaStore
from tests.ingest.conftest import free_port, wait_until
from tests.ingest.store_servers import victoria_metrics

FOLDER = Path(__file__).parents[2] / "docs" / "scale"


def program(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def test_settings_of_a_cell_are_settings() -> None:
    settings = load(FOLDER / "cell.toml")
    assert settings.districts == ["bei", "nan", "dong", "xi"]
    assert len({settings.spool_of(district) for district in settings.districts}) == 4
    assert not settings.mqtt.embedded
    assert open_store(settings.store_url(), "token").__class__ is VictoriaStore  # connects at its first use


def test_haproxy_takes_its_configuration() -> None:
    told = subprocess.run(
        [program("haproxy"), "-c", "-f", FOLDER / "haproxy.cfg"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert told.returncode == 0, told.stderr


@pytest.mark.slow
def test_readings_pass_the_door_of_the_cluster_both_ways(tmp_path: Path) -> None:
    """Both ends of vmauth are one VictoriaMetrics here, since no cluster version is to be had."""
    vmauth = program("vmauth")
    with victoria_metrics(tmp_path / "data") as base:
        text = (FOLDER / "vmauth.yml").read_text()
        for number in (1, 2):
            text = text.replace(f"http://vminsert-{number}:8480/insert/0/influx", f"{base}/influx")
            text = text.replace(f"http://vmselect-{number}:8481/select/0/prometheus", f"{base}/prometheus")
        configuration = tmp_path / "vmauth.yml"
        configuration.write_text(text)
        port = free_port()
        door = subprocess.Popen(
            [vmauth, f"-auth.config={configuration}", f"-httpListenAddr=127.0.0.1:{port}"],
            env={**os.environ, "CHENGMAI_STORE_TOKEN": "of-this-test"},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: listens(port))
            store = open_store(f"victoria+http://127.0.0.1:{port}", "of-this-test", Retention())
            assert store.write(readings((1, 0, 1.5), (2, 0, 2.5))).stored == 2
            wait_until(lambda: list(store.latest().value) == [1.5, 2.5])
        finally:
            door.terminate()
            door.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
