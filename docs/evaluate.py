"""Runs the evaluation sets and writes their table into docs/detection.md: ``make evaluate``.

``python docs/evaluate.py [SET …]`` runs these sets (all without any; none with ``--table``), appends each run to
docs/evaluations.jsonl, and makes the table of the newest run of every set that is there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sensors.evaluation import SETS

DOCS = Path(__file__).parent
PAGE, LOG = DOCS / "detection.md", DOCS / "evaluations.jsonl"
UNSEEN = 100
"""First seed of `district` in the table: the detectors were looked at on seeds 0 to 13 while they were made."""
BEGIN, END = "<!-- made by make evaluate -->", "<!-- until here -->"


class Figure(NamedTuple):
    """A key of the score: what it is called, and the numbers that were asked for."""

    key: str
    title: str
    least: str = ""
    aim: str = ""


FIGURES: Mapping[str, tuple[Figure, ...]] = {
    "ltown": (
        Figure("true_positives", "leaks found of 23", "≥ 14", "≥ 17"),
        Figure("false_positives", "false alarms", "≤ 4", "≤ 3"),
        Figure("score_fraction", "share of the perfect €", "≥ 0.40", "≥ 0.60"),
        Figure("median_distance_m", "median distance, m", "", "≤ 100"),
    ),
    "batadal": (
        Figure("attacks_found", "attacks found of 7", "7", ""),
        Figure("tnr", "TNR", "≥ 0.95", ""),
        Figure("tpr", "TPR", "≥ 0.6", ""),
        Figure("s", "S", "", "≥ 0.95"),
    ),
    "gecco": (
        Figure("event_recall", "event recall", "≥ 0.80", ""),
        Figure("f1", "F1 a sample", "≥ 0.55", "≥ 0.80"),
        Figure("precision", "precision"),
        Figure("recall", "recall"),
    ),
    "pyhydroqc": (
        Figure("f1", "F1: events found, readings right", "≥ 0.60", "≥ 0.80"),
        Figure("precision", "precision (readings)"),
        Figure("recall", "recall (events)"),
        Figure("f1_package", "F1 as the data's own package counts"),
        Figure("f1_readings", "F1 of single readings"),
    ),
    "bwdf": (
        Figure("found_10pct_24h", "10 % bursts found in 24 h", "≥ 0.90", ""),
        Figure("found_5pct_24h", "5 % bursts found in 24 h", "", "≥ 0.90"),
        Figure("false_per_dma_month", "false alarms a DMA and month", "≤ 1", ""),
    ),
    "district": (
        Figure("faults", "scripted faults"),
        Figure("found", "of them found", "all", ""),
        Figure("located", "of them located (leak 150 m, manhole ± 1)", "all", ""),
        Figure("false_per_1000_sensor_days", "false alarms per 1,000 sensors and day", "≤ 1", ""),
        Figure("findings_per_fault", "findings a fault"),
        Figure("burst_distance_m", "bursts: median distance, m", "≤ 150", ""),
        Figure("burst_delay_s", "bursts: median delay, s"),
        Figure("blockage_delay_s", "blockages: median delay, s"),
        Figure("gas_leak_delay_s", "gas leaks: median delay, s"),
    ),
}


def run(name: str) -> None:
    """Run a set with the command that anybody would type; what it refuses is told, and the others go on."""
    sys.stderr.write(f"{name} …\n")
    command = [sys.executable, "-m", "dashboards", "evaluate", name, "--log", str(LOG)]
    command += ["--seed", str(UNSEEN)] if name == "district" else []
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        sys.stderr.write(f"{name} was not run\n")


def newest() -> dict[str, Any]:
    """Return the newest entry of each set in the log."""
    lines = LOG.read_text("utf-8").splitlines() if LOG.is_file() else []
    return {entry["result"]["set"]: entry for entry in map(json.loads, lines)}


def table(entries: Mapping[str, Any]) -> str:
    """Return the table as Markdown, each set with the day, commit and versions of its run."""
    lines = [
        "| set | figure | reached | at least | aim | random alarms | always alarm |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in SETS:
        lines += _rows(name, entries[name]) if name in entries else [f"| {name} | not run | | | | | |"]
    lines.append("")
    for name, entry in entries.items():
        versions = ", ".join(f"{package} {version}" for package, version in entry["versions"].items())
        result = entry["result"]
        lines.append(
            f"- {name}: {entry['time'][:16].replace('T', ' ')} UTC, commit {entry['commit'] or 'unknown'}, {versions}; "
            f"{result['claims']} claims of {result['readings']:,} readings; training part {result['training'][:12]}, "
            f"numbers {entry['thresholds']['numbers'][:12]}"
        )
    return "\n".join(lines)


def _rows(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    result = entry["result"]
    for figure in FIGURES[name]:
        if figure.key in result["score"]:
            reached, random, always = (
                _text(result[part].get(figure.key)) for part in ("score", "random_control", "always_control")
            )
            cells = (name, figure.title, reached, figure.least, figure.aim, random, always)
            yield f"| {' | '.join(cells)} |"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def main(names: list[str]) -> None:
    """Run what was asked for, and put the table in its place."""
    for name in [] if names == ["--table"] else names or SETS:
        run(name)
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(newest())}\n\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
