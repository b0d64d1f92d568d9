"""Settings: one TOML file and the environment, every key documented, unknown keys refused.

A value comes from, in this order: the command line, the environment (``CHENGMAI_WEB__PORT=8060``), the settings file,
the default. Paths are relative to the folder of the settings file, or to the working folder without one.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import EnvSettingsSource, InitSettingsSource

from sensors.clock import Clock, ScaledClock, SystemClock
from twin.errors import SettingsError

PREFIX = "CHENGMAI_"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CitySettings(_Section):
    """The city that is shown."""

    file: Path = Field(Path("city.gpkg"), description="city database, a GeoPackage")
    district: str = Field("main", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="district segment of the topics")
    title: str = Field("城市生命线运行监测", description="title of the operations view")
    time_zone: str = Field("Asia/Shanghai", description="time zone of the screens (IANA name)")


class ClockSettings(_Section):
    """The city's clock: the machine's, or a recording's (both times given)."""

    epoch: datetime | None = Field(None, description="what the recording's clock read at `started` (with offset)")
    started: datetime | None = Field(None, description="machine time at which the recording's clock was started")
    speed: float = Field(1.0, gt=0, le=100_000, description="recording seconds a machine second")


class MqttSettings(_Section):
    """The broker."""

    url: str = Field("mqtt://127.0.0.1:1883", description="broker: mqtt://host:port or mqtts://host:port")
    username: str = Field("", description="login at the broker; empty for none")
    password: SecretStr = Field(SecretStr(""), description="password at the broker")
    embedded: bool = Field(default=True, description="`up` runs a small broker itself at the url (demo only)")


class IngestSettings(_Section):
    """What ingest accepts and keeps."""

    spool: Path = Field(Path("spool.sqlite"), description="durable spool, quarantine and ledger (SQLite)")
    history_days: int = Field(400, gt=0, description="readings older than this are refused (E_OLD)")
    future_s: int = Field(300, gt=0, description="readings farther ahead of the city's clock are refused (E_FUTURE)")


class StoreSettings(_Section):
    """Where readings stay."""

    url: str = Field("sqlite:readings.sqlite", description="sqlite:FILE or influx+http://host:8086/ORG/BUCKET")
    token: SecretStr = Field(SecretStr(""), description="access token of the store")


class OperationsSettings(_Section):
    """Registry, alarms and their history."""

    url: str = Field("sqlite:///operations.sqlite", description="SQLAlchemy URL: SQLite or PostgreSQL")


class DetectionSettings(_Section):
    """What wakes someone."""

    limits: Path | None = Field(None, description="limits of the city (TOML); the packaged defaults if not given")
    disabled: list[str] = Field(default_factory=list[str], description="names of detectors that are switched off")


class WebSettings(_Section):
    """The operations view."""

    host: str = Field("127.0.0.1", description="address that the dashboard listens on")
    port: int = Field(8050, ge=1, le=65535, description="port that the dashboard listens on")
    language: Literal["zh", "en"] = Field("zh", description="language at first sight")


class SimulationSettings(_Section):
    """Simulated field devices."""

    enabled: bool = Field(default=False, description="`up` plays the devices of `district` too")
    district: Path = Field(Path("district"), description="folder of the sample district")
    seed: int = Field(7, ge=0, description="seed of noise, places and times")
    interval_s: float = Field(5.0, gt=0, description="seconds between two messages of a device")
    faults: list[str] = Field(
        default_factory=list[str], description="scripted faults, KIND[@SECONDS[:ASSET]], seconds after the start"
    )


class LogSettings(_Section):
    """Logs of the parts, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is written")
    format: Literal["text", "json"] = Field("text", description="for people or for machines")


class Settings(BaseSettings):
    """Everything that can be set. `home` is the folder that relative paths start from."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False
    )

    city: CitySettings = CitySettings()
    clock: ClockSettings = ClockSettings()
    mqtt: MqttSettings = MqttSettings()
    ingest: IngestSettings = IngestSettings()
    store: StoreSettings = StoreSettings()
    operations: OperationsSettings = OperationsSettings()
    detection: DetectionSettings = DetectionSettings()
    web: WebSettings = WebSettings()
    simulation: SimulationSettings = SimulationSettings()
    log: LogSettings = LogSettings()
