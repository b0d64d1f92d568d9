"""`chengmai gateway`: where it may listen, and that it stops when it is told to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from dashboards.commands.gateway import doors_of
from dashboards.settings import load
from twin.errors import InputError, SettingsError


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settings(tmp_path, text=""):
    path = tmp_path / "city.toml"
    path.write_text(f'[mqtt]\nurl = "mqtt://127.0.0.1:{free_port()}"\n{text}')
    return path


def test_a_gateway_without_a_door_is_told_which_to_name(tmp_path):
    with pytest.raises(SettingsError, match=r"gateway\.hj212 or gateway\.http"):
        doors_of(load(settings(tmp_path)))


def test_tokens_are_not_taken_in_the_clear_from_a_network(tmp_path):
    loaded = load(settings(tmp_path, '[gateway]\nhttp = "0.0.0.0:8212"\n'))
    with pytest.raises(SettingsError, match=r"would take tokens in the clear.*gateway\.certificate"):
        doors_of(loaded)
    assert doors_of(loaded, http="127.0.0.1:8212").http == ("127.0.0.1", 8212)
    with_tls = load(settings(tmp_path, '[gateway]\nhttp = "0.0.0.0:8212"\ncertificate = "a.pem"\nkey = "a.key"\n'))
    assert doors_of(with_tls).certificate == tmp_path / "a.pem"


def test_a_door_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="9212"):
        doors_of(load(settings(tmp_path)), hj212="9212")


def test_the_gateways_own_login_goes_before_the_citys(tmp_path):
    (tmp_path / "secret").write_text("hidden\n")
    own = '[gateway]\nusername = "gateway"\npassword_file = "secret"\n'
    assert load(settings(tmp_path, own)).gateway_login() == ("gateway", "hidden")
    assert load(settings(tmp_path)).gateway_login() == ("", "")


@pytest.mark.slow  # a process of its own
def test_it_serves_without_a_broker_says_so_and_stops_when_told(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "dashboards", "--settings", str(settings(tmp_path))]
    process = subprocess.Popen([*command, "gateway", "--http", f"127.0.0.1:{port}"], stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while (status := health(port)) is None and time.monotonic() < until:
            time.sleep(0.1)
        assert status == (503, "broker away")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert b"Traceback" not in said


def health(port):
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health")
    except httpx.TransportError:
        return None
    return answer.status_code, answer.json()["status"]
