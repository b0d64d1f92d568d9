"""`chengmai demo`: the sample district, live, with one command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("chengmai-demo"),
    port: Annotated[int, typer.Option(help="Port of the dashboard.")] = 8050,
    mqtt_port: Annotated[int, typer.Option(help="Port of the embedded broker.")] = 18883,
    seed: Annotated[int, typer.Option(help="Seed of the district, the noise and the faults.")] = 7,
) -> None:
    """Run the sample district: broker, field devices with faults, ingest, detection and dashboard; Ctrl-C stops."""
    from dashboards.commands.up import supervise
    from dashboards.demo import DemoFolder
    from dashboards.settings import clock_of
    from dashboards.supervisor import require_free_port

    begin = time.monotonic()

    def say(line: str) -> None:
        typer.echo(f"{time.monotonic() - begin:6.1f} s  {line}")

    require_free_port("127.0.0.1", port, "--port")
    require_free_port("127.0.0.1", mqtt_port, "--mqtt-port")
    home = DemoFolder(folder.resolve())
    settings = home.configure(port=port, mqtt_port=mqtt_port, seed=seed)
    home.prepare(settings, clock_of(settings).now(), say)
    supervise(settings, ["--settings", str(home.settings_file)], say)
