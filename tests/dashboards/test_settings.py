"""Settings: a typo is refused where it stands, and every value says where it comes from."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dashboards.commands.config import config
from dashboards.settings import SettingsSource, clock_of, in_force, load
from sensors.clock import ScaledClock, SystemClock
from twin.errors import SettingsError


def write(folder: Path, text: str) -> Path:
    file = folder / "chengmai.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_value_comes_from_environment_before_file_before_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = write(tmp_path, "[web]\nport = 8060\nlanguage = 'en'\n")
    monkeypatch.setenv("CHENGMAI_WEB__PORT", "8070")

    settings = load(file)
    rows = {row.key: (row.value, row.origin) for row in in_force(settings)}

    assert rows["web.port"] == ("8070", "environment")
    assert rows["web.language"] == ("en", str(file))
    assert rows["web.host"] == ("127.0.0.1", "default")


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("[web]\nprot = 1\n", "web.prot", "perhaps web.port"),
        ("[wbe]\nport = 1\n", "wbe", "perhaps web"),
        ("[web]\nport = 'many'\n", "web.port", "integer"),
        ("[web]\nport = 70000\n", "web.port", "65535"),
        ("[clock]\nspeed = 0\n", "clock.speed", "greater than 0"),
        ("[city]\ntime_zone = 'Mars/X'\n", "city.time_zone", "Asia/Shanghai"),
    ],
)
def test_a_wrong_setting_is_refused_with_file_key_and_hint(tmp_path: Path, text: str, key: str, hint: str):
    file = write(tmp_path, text)

    with pytest.raises(SettingsError) as refused:
        load(file)

    assert str(file) in refused.value.where
    assert key in refused.value.where
    assert hint in refused.value.expected


def test_a_misspelt_variable_is_refused_and_the_nearest_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CHENGMAI_WBE__PORT", "8060")

    with pytest.raises(SettingsError, match="no such setting") as refused:
        load()

    assert "CHENGMAI_WEB__PORT" in refused.value.expected


@pytest.mark.parametrize(
    ("content", "hint"),
    [(b"[web\n", "TOML"), (b"\xff\xfe[web]", "TOML"), (None, "")],
    ids=["syntax", "bytes", "missing"],
)
def test_a_file_that_is_no_toml_is_refused_in_one_line(tmp_path: Path, content: bytes | None, hint: str):
    file = tmp_path / "chengmai.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as refused:
        load(file)

    assert str(file) in str(refused.value)
    assert hint in refused.value.expected
    assert "\n" not in str(refused.value)


def test_relative_paths_start_from_the_settings_file(tmp_path: Path):
    settings = load(write(tmp_path, "[city]\nfile = 'a/city.gpkg'\n"))

    assert settings.resolve(settings.city.file) == tmp_path.resolve() / "a" / "city.gpkg"
    assert settings.store_url() == f"sqlite:{tmp_path.resolve() / 'readings.sqlite'}"
    assert settings.operations_url() == f"sqlite:///{tmp_path.resolve() / 'operations.sqlite'}"


@pytest.mark.parametrize(
    ("operations", "anchor"),
    [
        ("", "home/trail.anchor"),
        ("url = 'sqlite:///../elsewhere/operations.sqlite'", "elsewhere/trail.anchor"),
        ("url = 'postgresql+psycopg://db/chengmai'", "home/trail.anchor"),
        ("trail_anchor = '../apart/heads'", "apart/heads"),
    ],
)
def test_the_anchor_is_beside_the_operations_database_unless_named(tmp_path: Path, operations: str, anchor: str):
    home = tmp_path / "home"
    home.mkdir()

    assert load(write(home, f"[operations]\n{operations}\n")).trail_anchor() == tmp_path.resolve() / anchor


def test_a_server_url_is_left_as_it_is(tmp_path: Path):
    settings = load(write(tmp_path, "[operations]\nurl = 'postgresql+psycopg://db/chengmai'\n"))

    assert settings.operations_url() == "postgresql+psycopg://db/chengmai"


def test_the_clock_is_the_machines_unless_a_recording_is_named(tmp_path: Path):
    recorded = "[clock]\nepoch = 2018-01-01T00:00:00+08:00\nstarted = 2026-01-01T00:00:00+08:00\nspeed = 60\n"

    assert isinstance(clock_of(load()), SystemClock)
    assert isinstance(clock_of(load(write(tmp_path, recorded))), ScaledClock)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[clock]\nepoch = 2018-01-01T00:00:00Z\n", "clock"),
        ("[clock]\nepoch = 2018-01-01T00:00:00\nstarted = 2026-01-01T00:00:00Z\n", "clock.epoch"),
    ],
)
def test_a_clock_half_set_or_without_offset_is_refused(tmp_path: Path, text: str, key: str):
    with pytest.raises(SettingsError) as refused:
        load(write(tmp_path, text))

    assert refused.value.where.endswith(key)


def test_config_masks_secrets_and_names_the_origin(tmp_path: Path):
    file = write(tmp_path, "[mqtt]\npassword = 'hunter2'\n")
    app = typer.Typer()
    app.command()(config)

    result = CliRunner().invoke(app, ["--json"], obj=SettingsSource(file, lambda _: None))

    assert result.exit_code == 0
    assert "hunter2" not in result.stdout
    assert '"***"' in result.stdout
    assert str(file) in result.stdout
