"""The documentation: every command, setting and plug-in it names exists, and every one that exists is named."""

import re
import runpy
import subprocess
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer.main

from dashboards.cli import app
from dashboards.settings import in_force, load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "GLOSSARY.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GROUPS = ("chengmai.readers", "chengmai.stores", "chengmai.detectors")


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def mentions(text: str) -> Iterator[list[str]]:
    """Yield the words behind each `chengmai` in code spans and blocks."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
    code += [line for block in re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    for span in code:
        for use in re.findall(r"(?:^|\s|/)chengmai ([^|;&#`]*)", span):
            words = re.sub(r"--settings \S+", "", use).split()
            if words:
                yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_a_page_names_exists(page: Path):
    for words in mentions(page.read_text("utf-8")):
        if words[0] == "COMMAND":
            continue
        path: tuple[str, ...] = ()
        while words and (*path, words[0]) in COMMANDS:
            path = (*path, words.pop(0))
        assert path, f"{page.name}: no command `chengmai {' '.join(words)}`"
        options = {name for parameter in COMMANDS[path].params for name in parameter.opts} | {"--help"}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options, f"{page.name}: `chengmai {' '.join(path)}` has no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_a_page_names_exists(page: Path):
    keys = {row.key for row in in_force(load())}
    sections = {key.split(".")[0] for key in keys}
    for span in re.findall(r"`([a-z]+\.[a-z_]+)(?: = [^`]*)?`", page.read_text("utf-8")):
        if span.split(".")[0] in sections and not span.endswith((".py", ".sqlite", ".toml", ".gpkg")):
            assert span in keys, f"{page.name}: no setting {span}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_a_page_links_to_exists(page: Path):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: no file {target}"


def test_every_make_target_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)`?", (ROOT / "README.md").read_text("utf-8")))
    assert {"demo", "test"} <= named <= targets


def test_the_reference_is_what_the_code_says():
    page = runpy.run_path(str(ROOT / "docs" / "reference.py"))["reference"]()

    assert (ROOT / "docs" / "reference.md").read_text("utf-8") == page, "run python docs/reference.py"


def test_every_plugin_is_named_in_the_readme_and_loads():
    readme = (ROOT / "README.md").read_text("utf-8")
    for group in GROUPS:
        assert group in readme
        for plugin in entry_points(group=group):
            assert plugin.name in readme, f"README does not name the {group} plug-in {plugin.name}"
            assert plugin.load()


def test_nothing_committed_names_this_machine():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    own = str(ROOT)
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".js", ".json", ".css", ".sh", ".mjs"} and path.is_file():
            assert own not in path.read_text("utf-8"), f"{name} carries a path of this machine"
