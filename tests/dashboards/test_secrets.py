"""No secret in a log, an error, a settings list or a process's output."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from dashboards import logs
from dashboards.setting_sections import LogSettings
from dashboards.settings import in_force, load
from sensors.operations import connect
from twin.errors import ChengmaiError, SettingsError, UnavailableError

from ..ingest.conftest import free_port  # noqa: TID252  # one way to a free port for both folders

SECRET = "s3cr3t-Wort"


def secret_settings(folder: Path) -> Path:
    path = folder / "chengmai.toml"
    (folder / "password").write_text(SECRET)
    path.write_text(
        f"[mqtt]\nurl = 'mqtt://127.0.0.1:{free_port()}'\nusername = 'ingest'\npassword_file = 'password'\n"
        f"[store]\nurl = 'influx+http://127.0.0.1:{free_port()}/org/bucket'\ntoken = '{SECRET}'\n"
        f"[monitor]\ndead_man_url = 'http://127.0.0.1:{free_port()}/{SECRET}'\ndead_man_s = 5\n"
        "[log]\nlevel = 'debug'\nformat = 'json'\n",
        "utf-8",
    )
    return path


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+pg8000://city:{SECRET}@127.0.0.1:1/ops",
        f"nosuchthing://city:{SECRET}@db/ops",
        f"influx+http://store:8086/org/bucket?token={SECRET}",
    ],
)
def test_no_error_and_no_list_of_settings_tells_a_secret_in_a_url(url: str, tmp_path: Path):
    assert SECRET not in str(UnavailableError(f"{url} does not answer", where=url))
    path = tmp_path / "chengmai.toml"
    path.write_text(f"[operations]\nurl = '{url}'\n", "utf-8")
    assert SECRET not in str([row.value for row in in_force(load(path))])
    with pytest.raises(ChengmaiError) as told:
        connect(url)
    assert SECRET not in str(told.value)


def test_a_secret_of_the_wrong_type_is_refused_without_telling_it(tmp_path: Path):
    path = tmp_path / "chengmai.toml"
    path.write_text("[mqtt]\npassword = 8151623\n", "utf-8")
    with pytest.raises(SettingsError) as told:
        load(path)
    assert "8151623" not in str(told.value)
    assert "mqtt.password" in str(told.value)


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_a_library_says_is_logged_without_the_secret_of_its_url(form, capsys: pytest.CaptureFixture[str]):
    logs.configure(LogSettings(format=form))

    def fail() -> None:
        raise RuntimeError(f"cannot connect to mqtts://ingest:{SECRET}@broker:8883")

    try:
        fail()
    except RuntimeError:
        structlog.get_logger().exception("trouble", url=f"https://hooks/x?token={SECRET}")
    finally:
        structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "trouble" in said
    assert "RuntimeError" in said
    assert SECRET not in said


def test_a_name_that_a_sender_chose_moves_no_cursor_in_a_log(capsys: pytest.CaptureFixture[str]):
    logs.configure(LogSettings(format="text"))

    structlog.get_logger().warning("sender_refused", login="\x1b[2J")

    structlog.reset_defaults()
    said = capsys.readouterr().err
    assert "sender_refused" in said
    assert "\x1b[2J" not in said


@pytest.mark.slow
def test_no_process_tells_its_secrets_however_much_it_logs(tmp_path: Path):
    path = secret_settings(tmp_path)
    command = [sys.executable, "-m", "dashboards", "--settings", str(path)]
    with subprocess.Popen([*command, "ingest"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as ingest:
        try:
            ingest.wait(8)
        except subprocess.TimeoutExpired:
            ingest.send_signal(signal.SIGTERM)
        said, _ = ingest.communicate(timeout=60)
    for words in (["config", "--json"], ["config"], ["doctor"], ["ledger"]):
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120, check=False)
        said += done.stdout + done.stderr
    assert "dead_man" in said  # it was looked at, and something was said of it
    assert SECRET not in said
