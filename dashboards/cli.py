"""The `chengmai` command: every command is registered here, and every error becomes one line."""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dashboards import logs
from dashboards.commands import (
    alarms,
    audit,
    backup,
    broker,
    check,
    columns,
    config,
    credentials,
    demo,
    device_check,
    devices,
    diff,
    doctor,
    evaluate,
    export,
    gateway,
    handover,
    ingest,
    load,
    place,
    quantities,
    quarantine,
    replay,
    report,
    serve,
    simulate,
    trace,
    trail,
    up,
)
from dashboards.settings import SettingsSource
from twin.errors import ChengmaiError

app = typer.Typer(
    name="chengmai",
    help="城脉: a city twin for gas, water and drainage. Files in, readings in, alarms out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # it would read an asset id such as a:link:b as an emoji, and [psi] as markup
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def chengmai(
    ctx: typer.Context,
    settings: Annotated[
        Path | None,
        typer.Option(envvar="CHENGMAI_SETTINGS", help="Settings file (TOML); see `chengmai config`."),
    ] = None,
) -> None:
    """城脉: a city twin for gas, water and drainage. Files in, readings in, alarms out."""
    ctx.obj = SettingsSource(settings, logs.configure)


app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("load")(load.load)
app.command("columns")(columns.columns)
app.command("sources")(load.sources)
app.command("diff")(diff.diff)
app.command("place")(place.place)
app.command("check")(check.check)
app.command("audit")(audit.audit)
app.command("report")(report.report)
app.command("trace")(trace.trace)
app.command("valve")(trace.valve)
app.command("simulate")(simulate.simulate)
app.command("fault")(simulate.fault)
app.command("ingest")(ingest.ingest)
app.command("gateway")(gateway.gateway)
app.command("ledger")(quarantine.ledger)
app.add_typer(quarantine.app, name="quarantine")
app.command("replay")(replay.replay)
app.command("serve")(serve.serve)
app.add_typer(devices.app, name="devices")
app.command("device-check")(device_check.device_check)
app.add_typer(alarms.app, name="alarms")
app.command("handover")(handover.handover)
app.command("performance")(handover.performance)
app.command("export")(export.export)
app.command("evaluate")(evaluate.evaluate)
app.command("quantities")(quantities.quantities)
app.add_typer(broker.app, name="broker")
app.add_typer(credentials.app, name="credentials")
app.add_typer(trail.app, name="trail")
app.command("config")(config.config)
app.command("doctor")(doctor.doctor)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)


def main() -> None:
    """Run the command line; a refused input is one line on standard error and exit status 1."""
    try:
        app()
    except ChengmaiError as error:
        print(error, file=sys.stderr)  # noqa: T201  # the one line that a person reads
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  # the last line of defence: no traceback on the screen, all of it on file
        log = Path("chengmai-error.log")
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv)}\n{traceback.format_exc()}\n")
        print(f"E_BUG {type(error).__name__}: {error} (details in {log.resolve()})", file=sys.stderr)  # noqa: T201
        sys.exit(70)
