import sqlite3
from importlib import resources
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from sensors.operations import HEAD, advance, connect, counter, metadata, reading, writing
from twin.errors import BusyError, InputError, SettingsError, UnavailableError


def test_newest_migration_is_the_one_the_code_knows():
    scripts = ScriptDirectory(str(Path(str(resources.files("sensors"))) / "migrations"))
    assert scripts.get_current_head() == HEAD


def test_migrated_schema_is_the_declared_one(engine):
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_connecting_again_changes_nothing(url, engine):
    with writing(engine) as connection:
        advance(connection, "change", 7)
    again = connect(url)
    with reading(again) as connection:
        assert counter(connection, "change") == 7
    again.dispose()


def test_newer_schema_is_refused_in_one_line(url, engine):
    with sqlite3.connect(engine.url.database) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(InputError, match="newer than this version") as error:
        connect(url)
    assert error.value.code == "E_SCHEMA"
    assert "\n" not in str(error.value)


def test_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError) as error:
        connect(f"sqlite:///{tmp_path / 'x.sqlite'}")
    assert error.value.code == "E_FORMAT"


def test_folder_that_does_not_exist_is_said(tmp_path):
    with pytest.raises(UnavailableError, match="unable to open"):
        connect(f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite'}")


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "mongodb://x/y"])
def test_url_that_is_none_is_refused(url):
    with pytest.raises(SettingsError):
        connect(url)


def test_failed_write_leaves_nothing_behind(engine):
    def fail():
        with writing(engine) as connection:
            advance(connection, "change", 5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with reading(engine) as connection:
        assert counter(connection, "change") == 0


def test_writer_that_never_ends_is_named(engine, monkeypatch):
    holder = sqlite3.connect(engine.url.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    with pytest.raises(BusyError), writing(engine):
        pass
    holder.execute("ROLLBACK")
    holder.close()
