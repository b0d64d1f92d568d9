"""Files and folders that are there whole or not at all."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from twin.errors import InputError, UnavailableError
from twin.writers.output import whole_copy, whole_file, whole_folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(opened, write):
    with opened as place:
        write(place)
        raise RuntimeError


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("before")
    with pytest.raises(RuntimeError):
        write_half(whole_file(path), lambda stream: stream.write(b"half"))
    assert path.read_text() == "before"
    assert names_in(tmp_path) == ["a.json"]


def test_a_folder_or_a_place_in_none_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, what in (("away/a.json", "its folder does not exist"), (".", "is a folder")):
        with pytest.raises(InputError, match=what), whole_copy(Path(place)):
            pytest.fail("nothing is to be made")


def test_a_database_is_no_place_for_another_file(tmp_path):
    path = tmp_path / "city.gpkg"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE city (name)")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"E_EXISTS .*database"), whole_file(path):
        pass
    assert path.read_bytes() == before


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("before")
    with whole_file(path) as stream:
        stream.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert names_in(tmp_path) == ["a.json"]


def test_a_folder_that_was_written_before_is_replaced_and_another_is_not(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for name in ("old", "new"):
        with whole_folder(ours, "mark") as folder:
            (folder / "mark").touch()
            (folder / name).touch()
    assert names_in(ours) == ["mark", "new"]
    theirs.mkdir()
    (theirs / "thesis.docx").touch()
    with pytest.raises(InputError, match="E_EXISTS"), whole_folder(theirs, "mark"):
        pass
    assert names_in(theirs) == ["thesis.docx"]
    assert names_in(tmp_path) == ["ours", "theirs"]


def test_a_folder_that_fails_leaves_what_was_there(tmp_path):
    with whole_folder(tmp_path / "f", "mark") as folder:
        (folder / "mark").touch()
    with pytest.raises(RuntimeError):
        write_half(whole_folder(tmp_path / "f", "mark"), lambda folder: (folder / "half").touch())
    assert names_in(tmp_path / "f") == ["mark"]
    assert names_in(tmp_path) == ["f"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, UnavailableError, "E_DISK"),
        (errno.EACCES, UnavailableError, "E_READONLY"),
        (errno.ENOENT, InputError, "E_INPUT"),
    ],
)
def test_what_the_system_says_becomes_one_line(tmp_path, number, kind, code):
    with pytest.raises(kind, match=f"^{code} ") as raised, whole_copy(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(raised.value)


def test_a_place_that_is_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"), whole_file(tmp_path):
        pass
