"""`chengmai replay`: a recorded table, through the broker as its devices would send it."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from dashboards.commands.ingest import address_of, recording_clock, worker_of
from dashboards.settings import Settings, clock_of, settings_of
from sensors.clock import SystemClock, to_ms
from twin.asset import System
from twin.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from ingest.mqtt.connection import Address
    from ingest.replay.recording import Recording
    from ingest.replay.replay import Kept
    from ingest.store import ReadingStore
    from sensors.device import Device

SETTLE_S = 600.0
"""How long store and detection may take for what is spooled when the last receipt has come."""


def replay(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV or parquet: times in the first column, one column a sensor.")],
    *,
    register: Annotated[bool, typer.Option("--register", help="Register the columns as devices first.")] = False,
    unit: Annotated[
        list[str] | None,
        typer.Option(help="What columns measure, [COLUMNS=]QUANTITY[:UNIT], such as 'n*=pressure:mH2O'; repeatable."),
    ] = None,
    system: Annotated[System, typer.Option(help="System of the registered devices.")] = System.WATER,
    place: Annotated[str | None, typer.Option(help="E,N of the registered devices, in the city's CRS.")] = None,
    tz: Annotated[str | None, typer.Option(help="Time zone of times that name none (IANA).")] = None,
    speed: Annotated[str, typer.Option(help="Recorded seconds a second, or max: as fast as receipts come.")] = "max",
    start: Annotated[datetime | None, typer.Option(help="First time, in --tz (UTC without it).")] = None,
    end: Annotated[datetime | None, typer.Option(help="Time to stop before, in --tz (UTC without it).")] = None,
    district: Annotated[str | None, typer.Option(help="District of the topics; the settings' by default.")] = None,
    city_clock: Annotated[
        bool, typer.Option("--city-clock", help="Shift the times so that the recording begins now; for a live city.")
    ] = False,
    with_ingest: Annotated[
        bool, typer.Option("--with-ingest", help="Run ingest here too, on the recording's clock, and compare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Publish a recorded table as devices would, wait until receipts cover it, and say what became of it.

    Exit status 1 when the store was compared (--with-ingest) and does not hold every reading as it was recorded.
    """
    from ingest.replay.recording import read_recording

    settings = settings_of(ctx)
    zone = ZoneInfo(tz) if tz in _zones() else None
    if tz is not None and zone is None:
        raise InputError(f"no time zone {tz}", where="--tz", expected="an IANA name, such as Asia/Shanghai")
    first, last = (moment and moment.replace(tzinfo=moment.tzinfo or zone or UTC) for moment in (start, end))
    recording = read_recording(file, zone=tz, start=first, end=last)
    pace = _pace(speed, city_clock=city_clock)
    if city_clock:
        recording = recording.shifted(to_ms(clock_of(settings).now()))
    named = district or settings.city.district
    devices = _devices(
        settings,
        recording,
        measured=unit or [],
        district=named,
        system=system,
        place=_place(place),
        register=register,
    )
    with ExitStack() as stack:
        address = address_of(settings)
        if with_ingest:
            stack.enter_context(_broker(settings, address))
            stack.enter_context(_ingest(settings, named))
        report = _run(address, recording, devices, pace, named)
        if with_ingest:
            report |= _settled(settings, recording, devices)
    _tell(report, as_json=as_json)
    if "store" in report and report["store"]["once"] != report["store"]["expected"]:
        raise typer.Exit(1)


def _zones() -> set[str]:
    from zoneinfo import available_timezones

    return available_timezones()


def _pace(speed: str, *, city_clock: bool) -> float | None:
    if city_clock and speed == "max":
        return 1.0
    if speed == "max":
        return None
    try:
        pace = float(speed)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise InputError(f"{speed!r} is no speed", where="--speed", expected="a number above 0, or max")
    return pace


def _place(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        easting, northing = (float(part) for part in text.split(","))
    except ValueError:
        easting = northing = math.nan
    if not math.isfinite(easting) or not math.isfinite(northing):
        raise InputError(f"{text!r} is no place", where="--place", expected="E,N in metres")
    return easting, northing


def _devices(
    settings: Settings,
    recording: Recording,
    *,
    measured: list[str],
    district: str,
    system: System,
    place: tuple[float, float] | None,
    register: bool,
) -> dict[str, Device]:
    """Return the device of each column, with its series; registered first where asked."""
    from ingest.replay.recording import Measure, device_name, devices_of
    from sensors.operations import connect
    from sensors.registry import Registry

    engine = connect(settings.operations_url())
    try:
        registry = Registry(engine)
        if register:
            measures = [Measure.parse(text) for text in measured]
            new = devices_of(recording, measures, district=district, system=system, place=place)
            registry.put(new.values())
            return {column: registry.get(device.id) for column, device in new.items()}
        known: dict[str, Device] = {device.id: device for device in registry.devices()}
    finally:
        engine.dispose()
    taken: set[str] = set()
    devices: dict[str, Device] = {}
    for column in recording.columns:
        name = device_name(column, taken)
        taken.add(name)
        if name not in known:
            raise InputError(f"column {column} has no device {name}", where="registry", expected="--register --unit …")
        devices[column] = known[name]
    return devices


@contextmanager
def _broker(settings: Settings, address: Address) -> Generator[None]:
    """Run the embedded broker, unless one answers already or the settings name another."""
    from ingest.broker.embedded import EmbeddedBroker
    from ingest.mqtt.connection import negotiate

    try:
        negotiate(address, 2.0)
    except UnavailableError:
        if not settings.mqtt.embedded:
            raise
        with EmbeddedBroker(address.host, address.port):
            yield
    else:
        yield


@contextmanager
def _ingest(settings: Settings, district: str) -> Generator[None]:
    """Run ingest in this process, on the recording's clock."""
    stop = threading.Event()
    city = settings.model_copy(update={"city": settings.city.model_copy(update={"district": district})})
    with worker_of(city, recording_clock(settings)) as worker, ThreadPoolExecutor(1, "ingest") as pool:
        running = pool.submit(worker.run, stop)
        try:
            yield
        finally:
            stop.set()
            running.result()  # what made it fail, if it did, says more than the receipts that never came


def _run(
    address: Address,
    recording: Recording,
    devices: Mapping[str, Device],
    pace: float | None,
    district: str,
) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ingest.replay.replay import Replay

    shown = (TextColumn("readings sent"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True)) as progress:
        task = progress.add_task("replay", total=recording.readings)
        done = Replay(
            address,
            district,
            recording,
            devices,
            speed=pace,
            progress=lambda readings: progress.update(task, completed=readings),
        ).run()
    return {"devices": len(devices), "left_out": list(recording.left_out), **asdict(done)}


def _settled(settings: Settings, recording: Recording, devices: Mapping[str, Device]) -> dict[str, Any]:
    """Wait until store and detection are past everything; compare the store with the file, and list the alarms."""
    from ingest.replay.replay import compare
    from ingest.spool import Spool
    from ingest.store import open_store
    from sensors.alarm_log import AlarmLog
    from sensors.operations import connect
    from sensors.sentence import sentence

    spool = Spool(settings.resolve(settings.ingest.spool))
    _wait(spool)
    ledger = spool.ledger()
    spool.close()
    store: ReadingStore = open_store(settings.store_url(), settings.store_token())
    kept: Kept = compare(recording, devices, store)
    engine = connect(settings.operations_url())
    alarms = AlarmLog(engine, SystemClock()).list()
    engine.dispose()
    return {
        "store": asdict(kept),
        "ledger": {**asdict(ledger), "balance": ledger.balance},
        "alarms": [{"onset": alarm.onset.isoformat(), "sentence": sentence(alarm, "en")} for alarm in alarms],
    }


def _wait(spool: Any) -> None:
    stop = threading.Event()
    for _ in range(round(SETTLE_S / 0.2)):
        if not spool.ledger().spooled and not spool.undetected():
            return
        stop.wait(0.2)
    raise UnavailableError("readings are still in the spool", where=str(spool.path), expected="store and detection")


def _tell(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report, ensure_ascii=False))
        return
    typer.echo(
        f"sent {report['readings']:,} readings of {report['devices']} devices in {report['messages']:,} messages, "
        f"{report['seconds']:.1f} s; receipted {report['receipted']:,}; sent again {report['resent']:,} messages"
    )
    if report["left_out"]:
        typer.echo(f"columns without numbers: {', '.join(report['left_out'])}")
    for code, count in report["refused"].items():
        typer.echo(f"refused {code}: {count:,}")
    if "store" not in report:
        return
    store, ledger = report["store"], report["ledger"]
    typer.echo(
        f"in the store exactly once: {store['once']:,} of {store['expected']:,}; missing {store['missing']:,}, "
        f"with another value {store['different']:,}"
    )
    typer.echo("ledger: " + ", ".join(f"{name} {count:,}" for name, count in ledger.items()))
    typer.echo(f"{len(report['alarms'])} alarms")
    for alarm in report["alarms"]:
        typer.echo(f"  {alarm['onset']}  {alarm['sentence']}")
