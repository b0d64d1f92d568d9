"""docs/security.md: every test that it names to show a control is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text("utf-8"))))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda value: value)
def test_a_control_is_shown_by_a_test_that_there_is(file: str, name: str):
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_many_controls_are_shown():
    assert len(NAMED) > 30
