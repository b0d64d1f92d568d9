"""`chengmai simulate` and `chengmai fault`: field devices that measure a simulated city, and what breaks in it."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.commands.ingest import address_of
from dashboards.settings import Settings, clock_of, settings_of

if TYPE_CHECKING:
    from sensors.clock import Clock


_SPEED = (
    "City seconds a second from now on, for the devices only; says what [clock] the other parts need. "
    "Messages come as much faster: simulation.interval_s is the city's time."
)


def simulate(
    ctx: typer.Context,
    *,
    district: Annotated[Path | None, typer.Option(help="Folder of the district (simulation.district).")] = None,
    speed: Annotated[float | None, typer.Option(min=0.1, help=_SPEED)] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="KIND[@SECONDS[:ASSET]], again for more (simulation.faults).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of noise, places and times (simulation.seed).")] = None,
    duration: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")] = None,
) -> None:
    """Run the field devices of a district as MQTT clients, with values out of its hydraulic models."""
    from datetime import timedelta

    from ingest.replay.player import Order, Player
    from sensors.simulation.faults import parse
    from sensors.simulation.field import FieldModel
    from sensors.simulation.site import read_site

    settings = settings_of(ctx)
    folder = settings.resolve(district or settings.simulation.district)
    script = [parse(text) for text in (settings.simulation.faults if fault is None else fault)]
    clock = _clock(settings, speed)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    seeded = settings.simulation.seed if seed is None else seed
    model = FieldModel(read_site(folder), clock.now(), folder, seed=seeded, faults=script)

    def switch(order: Order) -> None:
        kind = parse(order.fault).kind
        if order.on:
            model.break_(kind, order.asset)
        else:
            model.mend(kind, order.asset)

    player = Player(
        model,
        address_of(settings),
        clock,
        settings.resolve(Path("devices-state.json")),
        interval=timedelta(seconds=settings.simulation.interval_s),
        order=switch,
    )
    if duration is not None:
        timer = threading.Timer(duration, stop.set)
        timer.daemon = True
        timer.start()
    try:
        player.run(stop)
    finally:
        model.close()


def fault(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="burst, blockage, gas_leak, stuck or silent.")],
    state: Annotated[str, typer.Argument(help="on or off.")],
    at: Annotated[str | None, typer.Option(help="Asset or device; where the seed says (on), everywhere (off).")] = None,
) -> None:
    """Switch a fault of the simulated city on or off, while `simulate` runs."""
    import msgspec

    from ingest.mqtt.connection import Connection, negotiate
    from ingest.replay.player import Order, fault_topic
    from sensors.simulation.faults import FaultKind
    from twin.errors import InputError, UnavailableError

    if kind not in list(FaultKind):
        raise InputError(f"{kind!r} is no fault", expected=", ".join(FaultKind))
    if state not in ("on", "off"):
        raise InputError(f"{state!r} is no state", expected="on or off")
    settings = settings_of(ctx)
    address = address_of(settings)
    name = f"fault-{datetime.now(UTC).timestamp():.0f}"
    version = negotiate(address, _PATIENCE_S)
    connection = Connection(address, name, clean=True, manual_ack=False, version=version, quiet=True).start()
    try:
        connection.wait(_PATIENCE_S)
        payload = msgspec.json.encode(Order(kind, state == "on", at))
        connection.publish(fault_topic(settings.city.district), payload)
        if not connection.drain(_PATIENCE_S):
            raise UnavailableError("did not acknowledge", where=str(address), expected="a broker")
    finally:
        connection.close()
    typer.echo(f"{kind} {state}{f' at {at}' if at else ''}")


_PATIENCE_S = 5.0


def _clock(settings: Settings, speed: float | None) -> Clock:
    """Return the city's clock, or one that runs `speed` times as fast from now on and is told to the other parts."""
    from sensors.clock import ScaledClock

    if speed is None:
        return clock_of(settings)
    clock = ScaledClock(clock_of(settings).now(), datetime.now(UTC), speed)
    values = {"EPOCH": clock.epoch.isoformat(), "STARTED": clock.started.isoformat(), "SPEED": f"{speed:g}"}
    needed = " ".join(f"CHENGMAI_CLOCK__{name}={value}" for name, value in values.items())
    typer.echo(f"only the devices run {speed:g} times as fast; start ingest and serve with {needed}", err=True)
    return clock
