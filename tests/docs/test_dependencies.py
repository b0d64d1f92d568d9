"""What the code imports is what the package declares."""

import ast
import re
import sys
from importlib.metadata import metadata, packages_distributions, requires
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("twin", "sensors", "ingest", "dashboards", "sample_models")


def imported() -> set[str]:
    """Return the top-level modules of others that the packages import, wherever the import stands."""
    names: set[str] = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if "node_modules" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - set(PACKAGES)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Return what the package needs, and what its extras for people add."""
    lines = [line for line in requires("chengmai") or () if "extra ==" not in line or "extra == 'ids'" in line]
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines)
    return {normal(match.group()) for match in found if match}


def test_every_import_is_declared():
    distributions = packages_distributions()
    undeclared = {
        module: distributions.get(module, [])
        for module in imported()
        if not {normal(name) for name in distributions.get(module, [])} & declared()
    }
    assert not undeclared


def test_every_declared_package_is_imported_or_said_why():
    distributions = packages_distributions()
    used = {normal(name) for module in imported() for name in distributions.get(module, [])}
    unused = declared() - used
    assert unused == {"wntr"}, "declare what is used; wntr is there for the EPANET library that it ships"


def licence(name: str) -> str:
    """Return what an installed package says of its licence: the expression, the classifiers, or a short text."""
    said = metadata(name)
    text = said.get("License") or ""
    classifiers = [line for line in said.get_all("Classifier") or () if line.startswith("License")]
    return "; ".join([said.get("License-Expression") or "", *classifiers, text if len(text) < 100 else ""])


def test_nothing_of_the_product_is_under_the_gpl():
    locked = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE)
    here = {normal(name) for names in packages_distributions().values() for name in names}
    licences = {name: licence(name) for name in locked if normal(name) in here}
    assert "Lesser General Public" in licences["ifctester"]
    copyleft = re.compile(r"(?<!Lesser )General Public License|Affero|(?<!L)GPL")
    assert not {name: said for name, said in licences.items() if copyleft.search(said.replace("LGPL", ""))}
