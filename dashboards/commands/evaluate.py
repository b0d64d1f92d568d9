"""`chengmai evaluate`: what detection is worth on a set whose truth is known."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.logs import configure
from dashboards.settings import settings_of
from twin.errors import InputError

if TYPE_CHECKING:
    from sensors.evaluation.run import Result
    from sensors.evaluation.thresholds import State

_SHARED = "CHENGMAI_DATA"
_DISTRICT = "district"
_WHOLE = 1000.0


def evaluate(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SET", help="ltown, batadal, gecco, pyhydroqc, bwdf or district.")],
    *,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the set; else of CHENGMAI_DATA. The sample district is made.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="batadal: file to learn from, in place of dataset03.csv.")] = None,
    test: Annotated[Path | None, typer.Option(help="batadal: file to score, in place of dataset04.csv.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn: injected faults, random claims.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="district: how many seeds from --seed on.")] = 20,
    log: Annotated[Path, typer.Option(help="JSON lines that every scoring run is appended to.")] = Path(
        "evaluations.jsonl"
    ),
    claims: Annotated[Path | None, typer.Option(help="Write what was claimed there, a JSON line a claim.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Feed a set to the detectors as if it were live, and score what they say by a truth that another process reads.

    Beside the score stand two controls of the same run: random alarms of the same number and lengths (mean of 20
    draws), and alarms that always stand. Every run is appended to the log.
    """
    import msgspec

    from sensors.evaluation import Options
    from sensors.evaluation import log as runs
    from sensors.evaluation.run import evaluate as evaluate_set
    from sensors.evaluation.run import evaluate_seeds
    from sensors.evaluation.thresholds import state

    settings = settings_of(ctx)  # logs go to standard error from here on
    runs.ready(log)
    shared = os.environ.get(_SHARED)
    options = Options(seed, train, test, None if shared is None else Path(shared))
    with TemporaryDirectory(prefix="chengmai-") as made:
        folder = _folder(name, data, options.shared, Path(made))
        result = (
            evaluate_seeds(name, folder, options, seeds, begin=partial(configure, settings.log))
            if name == _DISTRICT
            else evaluate_set(name, folder, options)
        )
    if claims is not None:
        _write(claims, b"".join(msgspec.json.encode(claim) + b"\n" for claim in result.said))
    result = msgspec.structs.replace(result, said=())
    thresholds = state(name, result.training)
    files = [path.name for path in (train, test) if path is not None]
    entry = runs.Entry(
        datetime.now(UTC), runs.commit(), runs.versions(), thresholds, folder.resolve().name, files, seed, result
    )
    runs.append(log, entry)
    if as_json:
        rest = msgspec.to_builtins(result)
        score = rest.pop("score")
        typer.echo(msgspec.json.encode({**rest, **score, "thresholds": thresholds}))
    else:
        _print(result, thresholds)


def _folder(name: str, data: Path | None, shared: Path | None, made: Path) -> Path:
    """Return the folder of the set: the one given, that of the shared data, or the sample district, made in `made`."""
    from sensors.evaluation import SETS

    if name not in SETS:
        raise InputError(f"no set is called {name!r}", expected=", ".join(SETS))
    if data is not None:
        if not data.is_dir():
            raise InputError("no such folder", where=str(data), expected=f"the data of {name}", code="E_MISSING")
        return data
    if name == _DISTRICT:
        from sample_models.district import make
        from sensors.evaluation.district import load_city

        folder = make(made / _DISTRICT).parent
        load_city(folder)  # once, and not for every seed
        return folder
    if shared is None:
        raise InputError("says not where the set is", where=name, expected=f"--data DIR, or {_SHARED}")
    return _folder(name, shared / "timeseries" / SETS[name], shared, made)


def _write(path: Path, lines: bytes) -> None:
    try:
        path.write_bytes(lines)
    except OSError as error:
        raise InputError(error.strerror or "cannot be written", where=str(path), code="E_WRITE") from None


def _print(result: Result, thresholds: State) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    console = Console(emoji=False, markup=False, highlight=False)
    columns = (Column(result.set, no_wrap=True), "score", "random alarms", "always alarm")
    table = Table(*columns, box=None, pad_edge=False)
    for name, value in result.score.items():
        if isinstance(value, list | dict):
            continue  # for --json
        controls = (result.random_control.get(name), result.always_control.get(name))
        table.add_row(name, *(_text(each) for each in (value, *controls)))
    console.print(table)
    console.print(
        f"{result.claims} claims of {result.readings:,} readings, fed in {result.seconds:g} s; "
        f"training part {result.training[:12]}, scored part {result.scored[:12]}"
    )
    for detector, reason in sorted(result.degraded.items()):
        console.print(f"off: {detector}: {reason}")
    if thresholds.same_numbers is False:
        console.print("thresholds have changed since they were chosen on the training part")
    if thresholds.same_training is False:
        console.print("thresholds were chosen on another training part than this one")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < _WHOLE else f"{value:,.0f}"
    return "-" if value is None else str(value)
