"""Backup and restore: a running city's files come back equal, and nothing that exists is overwritten."""

import json
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboards.backup import MANIFEST, back_up, restore
from dashboards.settings import Settings, load
from twin.errors import BusyError, InputError

AT = datetime(2026, 11, 21, tzinfo=UTC)


def city_in(folder: Path) -> Settings:
    folder.mkdir(exist_ok=True)
    file = folder / "chengmai.toml"
    file.write_text("[city]\nfile = 'city.gpkg'\n", "utf-8")
    return load(file)


def fill(file: Path, rows: int = 1000) -> None:
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE row (n INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO row VALUES (?)", ((n,) for n in range(rows)))
    database.close()


def content(file: Path) -> list[tuple[int]]:
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT n FROM row ORDER BY n").fetchall()
    database.close()
    return rows


NAMES = ("spool.sqlite", "operations.sqlite", "readings.sqlite", "city.gpkg")


def test_a_restored_city_equals_the_one_backed_up(tmp_path: Path):
    old, new = city_in(tmp_path / "old"), city_in(tmp_path / "new")
    for name in NAMES:
        fill(old.home / name)

    back_up(old, tmp_path / "backup", AT)
    restore(new, tmp_path / "backup")

    for name in NAMES:
        assert content(new.home / name) == content(old.home / name)


def test_nobody_else_can_read_a_backup(tmp_path: Path):
    old = city_in(tmp_path / "old")
    fill(old.home / "operations.sqlite")

    back_up(old, tmp_path / "backup", AT)

    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0


def test_the_spool_of_every_district_is_in_the_backup_and_comes_back_to_its_own(tmp_path: Path):
    two = {"ingest": {"districts": ["main", "hewan"]}}
    old, new = (load(city_in(tmp_path / name).home / "chengmai.toml", two) for name in ("old", "new"))
    fill(old.spool_of("main"), 1)
    fill(old.spool_of("hewan"), 2)
    saved = back_up(old, tmp_path / "backup", AT)
    assert [one.part for one in saved] == ["spool", "spool-hewan"]
    with pytest.raises(InputError, match="spool-hewan"):
        restore(city_in(tmp_path / "one"), tmp_path / "backup")
    restore(new, tmp_path / "backup")
    assert [len(content(new.spool_of(name))) for name in ("main", "hewan")] == [1, 2]


def test_a_backup_while_somebody_writes_is_one_moment(tmp_path: Path):
    settings = city_in(tmp_path / "city")
    file = settings.home / "readings.sqlite"
    fill(file, 0)
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        with sqlite3.connect(file, timeout=30) as database:
            for n in range(0, 1_000_000, 2):
                database.executemany("INSERT INTO row VALUES (?)", [(n,), (n + 1,)])  # always in pairs
                database.commit()
                begun.set()
                if stop.is_set():
                    break
        database.close()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait(10)
    try:
        back_up(settings, tmp_path / "backup", AT)
    finally:
        stop.set()
        writer.join()

    rows = content(tmp_path / "backup" / "readings.sqlite")
    assert rows
    assert len(rows) % 2 == 0
    assert rows == content(file)[: len(rows)]


def test_restoring_over_a_city_is_refused_and_changes_nothing(tmp_path: Path):
    settings = city_in(tmp_path / "city")
    fill(settings.home / "city.gpkg")
    back_up(settings, tmp_path / "backup", AT)

    with pytest.raises(BusyError, match="exists already"):
        restore(settings, tmp_path / "backup")

    assert len(content(settings.home / "city.gpkg")) == 1000


def test_an_altered_backup_is_refused_before_anything_is_copied(tmp_path: Path):
    old, new = city_in(tmp_path / "old"), city_in(tmp_path / "new")
    for name in NAMES:
        fill(old.home / name)
    back_up(old, tmp_path / "backup", AT)
    with (tmp_path / "backup" / "city.gpkg").open("r+b") as file:
        file.seek(200)
        file.write(b"x")

    with pytest.raises(InputError, match="differs from the manifest"):
        restore(new, tmp_path / "backup")

    assert [path.name for path in new.home.iterdir()] == ["chengmai.toml"]


def test_a_backup_into_a_used_folder_is_refused(tmp_path: Path):
    settings = city_in(tmp_path / "city")
    fill(settings.home / "city.gpkg")

    with pytest.raises(InputError, match="is not empty"):
        back_up(settings, settings.home, AT)


def test_a_folder_that_is_no_backup_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        restore(city_in(tmp_path / "city"), tmp_path)


def test_the_manifest_says_what_is_kept_on_servers(tmp_path: Path):
    settings = city_in(tmp_path / "city")
    fill(settings.home / "city.gpkg")
    (settings.home / "chengmai.toml").write_text("[store]\nurl = 'influx+http://localhost:8086/org/bucket'\n", "utf-8")
    settings = load(settings.home / "chengmai.toml")

    back_up(settings, tmp_path / "backup", AT)

    manifest = json.loads((tmp_path / "backup" / MANIFEST).read_text("utf-8"))
    assert [one["part"] for one in manifest["files"]] == ["city"]
    assert "influx backup" in manifest["elsewhere"][0]


@pytest.mark.parametrize("journal", ["-wal", "-shm", "-journal"])
def test_a_journal_left_from_another_database_is_not_played_into_the_restored_one(tmp_path: Path, journal: str):
    old, new = city_in(tmp_path / "old"), city_in(tmp_path / "new")
    fill(old.home / "readings.sqlite")
    back_up(old, tmp_path / "backup", AT)
    (new.home / f"readings.sqlite{journal}").write_bytes(b"left over")

    with pytest.raises(BusyError, match=journal):
        restore(new, tmp_path / "backup")

    assert not (new.home / "readings.sqlite").exists()


def test_two_parts_with_one_file_name_in_folders_with_odd_names_are_both_kept(tmp_path: Path):
    home = tmp_path / "100% #1?"
    home.mkdir()
    file = home / "chengmai.toml"
    file.write_text("[store]\nurl = 'sqlite:a/x.sqlite'\n[ingest]\nspool = 'b/x.sqlite'\n", "utf-8")
    settings = load(file)
    for folder, rows in (("a", 1), ("b", 2)):
        (home / folder).mkdir()
        fill(home / folder / "x.sqlite", rows)

    back_up(settings, tmp_path / "backup", AT)

    assert content(tmp_path / "backup" / "readings.sqlite") == [(0,)]
    assert content(tmp_path / "backup" / "spool.sqlite") == [(0,), (1,)]
