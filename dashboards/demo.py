"""The demo's folder: the sample district, its city, its settings; made once, emptied of readings at each start."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from dashboards.detection_scope import DetectionScope
from dashboards.settings import Settings, load
from sensors.clock import to_ms
from sensors.detection.scope import Scope
from sensors.device import Device
from sensors.reading import Batch, Quality
from twin.asset import System
from twin.errors import InputError

FAULTS = ("blockage@10", "burst@30", "gas_leak@40", "stuck@60:GP-0010", "silent@60:GP-0009")
"""What happens in the demo, seconds after the devices' start. Places in the networks come from the seed; the devices
that fail measure something else, so that no fault hides another."""

_STAMP = "made-by"


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Everything that the demo keeps, under one folder."""

    folder: Path

    @property
    def settings_file(self) -> Path:
        """The settings that `chengmai up` would run this city with."""
        return self.folder / "chengmai.toml"

    @property
    def district(self) -> Path:
        """The files of the sample district."""
        return self.folder / "district"

    def configure(self, *, port: int, mqtt_port: int, seed: int) -> Settings:
        """Write the settings file and load it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values: dict[str, Any] = {
            "city": {"file": "city.gpkg", "district": "hewan", "title": "河湾片区城市生命线运行监测"},
            "mqtt": {"url": f"mqtt://127.0.0.1:{mqtt_port}", "embedded": True},
            "web": {"port": port},
            "detection": {"hydraulics": ["district/water.inp"]},
            "simulation": {"enabled": True, "district": "district", "seed": seed, "faults": list(FAULTS)},
        }
        self.settings_file.write_text(tomli_w.dumps(values), encoding="utf-8")
        return load(self.settings_file)

    def prepare(self, settings: Settings, at: datetime, say: Callable[[str], None]) -> None:
        """Make the district and load it where that is still to do, and register its devices; `say` tells progress."""
        stamp = self.district / _STAMP
        wanted = _generator(settings.simulation.seed)
        fresh = not stamp.is_file() or stamp.read_text("utf-8") != wanted
        if fresh:
            say("making the sample district …")
            self._make_district(settings)
            say("loading it into the city …")
            self._load_city(settings, at)
        self._empty(settings)
        devices = self._register(settings)
        if fresh:
            say("compiling the detectors and the traces …")
            with closing(DetectionScope(settings)) as scope:
                _compile_detectors(scope.of(devices), at)
            _compile_traces(settings.resolve(settings.city.file), devices)
            stamp.write_text(wanted, "utf-8")

    def _make_district(self, settings: Settings) -> None:
        from sample_models.district import make  # noqa: PLC0415  # heavy, and only at the first start

        make(self.district, seed=settings.simulation.seed)

    def _load_city(self, settings: Settings, at: datetime) -> None:
        from twin.load import load as load_files  # noqa: PLC0415

        city = settings.resolve(settings.city.file)
        for old in _with_journals(city):
            old.unlink(missing_ok=True)
        steps = json.loads((self.district / "district.json").read_text("utf-8"))["load"]
        for (system, crs), together in groupby(steps, key=lambda step: (step["system"], step["crs"])):
            paths = [self.district / step["path"] for step in together]
            for receipt in load_files(paths, city, crs=crs, system=System(system) if system else None, at=at):
                if receipt.errors:
                    first = receipt.errors[0]
                    raise InputError(first.message, where=receipt.file, code=first.code)

    def _empty(self, settings: Settings) -> None:
        """Forget the readings and alarms of the last demo: its devices begin anew."""
        for path in (settings.ingest.spool, Path("readings.sqlite"), Path("operations.sqlite")):
            for old in _with_journals(settings.resolve(path)):
                old.unlink(missing_ok=True)

    def _register(self, settings: Settings) -> list[Device]:
        """Register the devices at the interval that they are played at."""
        from sensors.operations import connect  # noqa: PLC0415
        from sensors.registry import Registry, read_devices  # noqa: PLC0415

        interval = timedelta(seconds=settings.simulation.interval_s)
        engine = connect(settings.operations_url())
        registry = Registry(engine)
        registry.put(replace(device, interval=interval) for device in read_devices(self.district / "devices.json"))
        devices = registry.devices()
        engine.dispose()
        return devices


def _compile_detectors(scope: Scope, at: datetime) -> None:
    """Let numba compile and keep the detectors' kernels, so that the first alarm does not wait for them."""
    from sensors.detection.pipeline import Pipeline  # noqa: PLC0415

    pipeline = Pipeline.build(scope)
    series = np.array([point.series for device in scope.devices for point in device.points], np.int32)
    none, good = np.zeros(len(series)), np.full(len(series), Quality.GOOD, np.uint8)
    for second in (0, 5):
        now = to_ms(at) + 1000 * second
        pipeline.update(Batch(series, np.full(len(series), now), none, good, none.astype(bool), now))


def _compile_traces(path: Path, devices: list[Device]) -> None:
    """Ask once what an event touches, so that numba keeps those kernels, too: the first operator does not wait."""
    from twin.city import City  # noqa: PLC0415
    from twin.trace import Question, Tracer  # noqa: PLC0415

    asked = {System.WATER: Question.IMPACT, System.DRAINAGE: Question.ADJACENCY}
    with City.open(path) as city:
        tracer = Tracer(city)
        for system, question in asked.items():
            asset = next((device.asset for device in devices if device.system is system and device.asset), None)
            if asset:
                tracer.ask(asset, question)


def _generator(seed: int) -> str:
    """Return a mark of what makes the district: its code and seed, so that a new version makes it anew."""
    digest = hashlib.sha256(str(seed).encode())
    for source in sorted(files("sample_models").iterdir(), key=lambda entry: entry.name):
        if source.name.endswith(".py"):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _with_journals(database: Path) -> Iterator[Path]:
    for suffix in ("", "-wal", "-shm", "-journal"):
        yield database.with_name(database.name + suffix)
