"""`python -m tests.faults [--case N …] [--short] [--sabotage] [--folder F]`: run the campaign, or some of it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from .case import CASES, Setting, Verdict, judge
from .cases import alarms, brokers, clocks, crashes, loads, messages, spools, stores
from .processes import NAMESPACE
from .sabotage import environment

MODULES = (brokers, stores, spools, crashes, messages, clocks, loads, alarms)


def run(numbers: list[int], setting: Setting) -> list[Verdict]:
    """Run cases one after the other, say what came of each, and return their verdicts."""
    verdicts: list[Verdict] = []
    for number in numbers:
        own = replace(setting, folder=setting.folder / f"case-{number}")
        verdicts.append(judge(CASES[number], own))
        write(f"{verdicts[-1]}\n\n")
    setting.close()
    passed = sum(verdict.passed for verdict in verdicts)
    write(f"{passed} passed, {len(verdicts) - passed} failed\n")
    return verdicts


def enter_namespace() -> None:
    """Run this program again in a mount namespace of its own, where that can be had; otherwise go on."""
    if os.environ.get(NAMESPACE):
        return
    root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = ["unshare", "--mount", *root]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return
    command = [*unshare, sys.executable, "-m", "tests.faults", *sys.argv[1:]]
    os.execvpe(unshare[0], command, {**os.environ, NAMESPACE: "1"})


def write(text: str) -> None:
    """Write to whoever watches, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Run what the command line asks for; exit status 1 unless every case passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--case", type=int, action="append", choices=sorted(CASES), help="only this case (repeatable)")
    parser.add_argument("--short", action="store_true", help="the short form, as in `make test`")
    parser.add_argument("--sabotage", action="store_true", help="break the product first: acknowledge, then commit")
    parser.add_argument("--folder", type=Path, help="keep what the cases leave behind in this new folder")
    given = parser.parse_args()
    enter_namespace()
    numbers = given.case or sorted(number for number, one in CASES.items() if one.short or not given.short)
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        folder = given.folder or Path(scratch)
        sabotaged = environment() if given.sabotage else {}
        verdicts = run(numbers, Setting(folder, given.short, sabotaged))
    if all(verdict.passed for verdict in verdicts):
        return
    # A case that never came to its counts has shown nothing: no sabotage was found out by that.
    sys.exit(1 if all(verdict.report.sent for verdict in verdicts) else 2)


if __name__ == "__main__":
    main()
