"""The sections of the settings: every key with its type, default, bounds and meaning."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CitySettings(_Section):
    """The city that is shown."""

    file: Path = Field(default=Path("city.gpkg"), description="city database, a GeoPackage")
    district: str = Field(
        default="main", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="district segment of the topics"
    )
    title: str = Field(default="城市生命线运行监测", description="title of the operations view")
    time_zone: str = Field(default="Asia/Shanghai", description="time zone of the screens (IANA name)")
    bounds: tuple[float, float, float, float] | None = Field(
        default=None, description="how far the city reaches: [west, south, east, north] in its CRS; models beyond wait"
    )


class ClockSettings(_Section):
    """The city's clock: the machine's, or a recording's (both times given)."""

    epoch: datetime | None = Field(
        default=None, description="what the recording's clock read at `started` (with offset)"
    )
    started: datetime | None = Field(
        default=None, description="machine time at which the recording's clock was started"
    )
    speed: float = Field(default=1.0, gt=0, le=100_000, description="recording seconds a machine second")


class MqttSettings(_Section):
    """The broker."""

    url: str = Field(default="mqtt://127.0.0.1:1883", description="broker: mqtt://host:port or mqtts://host:port")
    username: str = Field(default="", description="login at the broker; empty for none")
    password: SecretStr = Field(default=SecretStr(""), description="password at the broker")
    password_file: Path | None = Field(default=None, description="file that holds the password, in place of it")
    ca: Path | None = Field(default=None, description="certificates that sign the broker's (PEM); the system's if none")
    certificate: Path | None = Field(default=None, description="client certificate (PEM), for brokers that ask for one")
    key: Path | None = Field(default=None, description="key of the client certificate (PEM)")
    embedded: bool = Field(default=True, description="`up` runs a small broker itself at the url (demo only)")


class IngestSettings(_Section):
    """What ingest accepts and keeps."""

    spool: Path = Field(default=Path("spool.sqlite"), description="durable spool, quarantine and ledger (SQLite)")
    districts: list[str] = Field(
        default_factory=list[str], description="districts that ingest takes in; city.district alone if empty"
    )
    workers: int = Field(default=1, ge=1, le=64, description="processes that share the districts on this machine")
    rate_factor: float = Field(
        default=20.0, ge=0, description="times its reporting rate that a device may send for long (E_RATE); 0: any rate"
    )
    history_days: int = Field(default=400, gt=0, description="readings older than this are refused (E_OLD)")
    future_s: int = Field(
        default=300, gt=0, description="readings farther ahead of the city's clock are refused (E_FUTURE)"
    )


class StoreSettings(_Section):
    """Where readings stay."""

    url: str = Field(
        default="sqlite:readings.sqlite",
        description="sqlite:FILE, influx+http:, influxql+http:, victoria+http: (docs/stores.md)",
    )
    token: SecretStr = Field(default=SecretStr(""), description="access token of the store")
    token_file: Path | None = Field(default=None, description="file that holds the token, in place of it")
    retention_days: int = Field(default=400, ge=0, description="readings older than this are deleted; 0: never")
    rollup_days: int = Field(default=0, ge=0, description="minutes and hours older than this are deleted; 0: never")


class GatewaySettings(_Section):
    """Doors for devices that speak no MQTT: each message is published for them, and answered once it is receipted."""

    enabled: bool = Field(default=False, description="`up` runs the gateway too")
    hj212: str = Field(default="", description="host:port that listens for HJ 212 frames; empty for none")
    http: str = Field(default="", description="host:port of POST /api/v1/readings; empty for none")
    certificate: Path | None = Field(default=None, description="certificate of the HTTP door (PEM): HTTPS")
    key: Path | None = Field(default=None, description="key of that certificate (PEM)")
    username: str = Field(default="", description="login of the gateway at the broker; mqtt.username if empty")
    password_file: Path | None = Field(default=None, description="file that holds the password of that login")


class MonitorSettings(_Section):
    """Ingest watching itself."""

    metrics: str = Field(default="", description="host:port of /metrics in `chengmai ingest`; empty for none")
    dead_man_url: SecretStr = Field(
        default=SecretStr(""), description="URL that is called as long as all is well; empty for none"
    )
    dead_man_s: int = Field(default=60, ge=5, description="seconds between two of those calls")


class OperationsSettings(_Section):
    """Registry, alarms and their history."""

    url: str = Field(default="sqlite:///operations.sqlite", description="SQLAlchemy URL: SQLite or PostgreSQL")
    trail_anchor: Path | None = Field(
        default=None,
        description="heads of the audit trail, kept where its writers cannot rewrite them; "
        "trail.anchor beside the database if not given",
    )


class DetectionSettings(_Section):
    """What wakes someone."""

    limits: Path | None = Field(
        default=None, description="limits of the city (TOML); the packaged defaults if not given"
    )
    disabled: list[str] = Field(default_factory=list[str], description="names of detectors that are switched off")
    hydraulics: list[Path] = Field(
        default_factory=list[Path],
        description="EPANET input files of the water networks, called as they were when loaded into the city",
    )


class WebSettings(_Section):
    """The operations view."""

    host: str = Field(default="127.0.0.1", description="address that the dashboard listens on")
    port: int = Field(default=8050, ge=1, le=65535, description="port that the dashboard listens on")
    names: list[str] = Field(
        default_factory=list[str],
        description="host names that browsers may call the dashboard by, such as a proxy's; addresses and localhost go",
    )
    language: Literal["zh", "en"] = Field(default="zh", description="language at first sight")


class SimulationSettings(_Section):
    """Simulated field devices."""

    enabled: bool = Field(default=False, description="`up` plays the devices of `district` too")
    district: Path = Field(default=Path("district"), description="folder of the sample district")
    seed: int = Field(default=7, ge=0, description="seed of noise, places and times")
    interval_s: float = Field(default=5.0, gt=0, description="seconds between two messages of a device")
    faults: list[str] = Field(
        default_factory=list[str],
        description="scripted faults, KIND[@SECONDS[:ASSET]], seconds after the start",
    )


class LogSettings(_Section):
    """Logs of the parts."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least level that is written"
    )
    format: Literal["text", "json"] = Field(default="text", description="for people or for machines")
    folder: Path = Field(default=Path("logs"), description="where `up` keeps one log a part")
