"""Settings: one TOML file and the environment, every key documented, unknown keys refused.

A value comes from, in this order: the command line, the environment (``CHENGMAI_WEB__PORT=8060``), the settings file,
the default. Paths are relative to the folder of the settings file, or to the working folder without one.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import typer
from pydantic import BaseModel, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import EnvSettingsSource

from dashboards.setting_sections import (
    CitySettings,
    ClockSettings,
    DetectionSettings,
    GatewaySettings,
    IngestSettings,
    LogSettings,
    MonitorSettings,
    MqttSettings,
    OperationsSettings,
    SimulationSettings,
    StoreSettings,
    WebSettings,
)
from sensors.clock import Clock, ScaledClock, SystemClock
from twin.errors import SettingsError, without_secrets

PREFIX = "CHENGMAI_"


class Settings(BaseSettings):
    """Everything that can be set; made by `load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False
    )

    city: CitySettings = CitySettings()
    clock: ClockSettings = ClockSettings()
    mqtt: MqttSettings = MqttSettings()
    ingest: IngestSettings = IngestSettings()
    gateway: GatewaySettings = GatewaySettings()
    monitor: MonitorSettings = MonitorSettings()
    store: StoreSettings = StoreSettings()
    operations: OperationsSettings = OperationsSettings()
    detection: DetectionSettings = DetectionSettings()
    web: WebSettings = WebSettings()
    simulation: SimulationSettings = SimulationSettings()
    log: LogSettings = LogSettings()

    _home: Path = PrivateAttr(default_factory=Path.cwd)
    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict[str, str])

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the caller only: `load` merges the sources itself, to say where each came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def found(self, home: Path, origins: Mapping[str, str]) -> Settings:
        """Note where the settings were found: the folder of relative paths, and each key's origin."""
        self._home, self._origins = home, origins
        return self

    def origin(self, key: str) -> str:
        """Return where the value of ``section.key`` comes from."""
        return self._origins.get(key, "default")

    @property
    def home(self) -> Path:
        """The folder that relative paths start from."""
        return self._home

    def resolve(self, path: Path) -> Path:
        """Return `path` as an absolute path; relative ones start from `home`."""
        return (self._home / path.expanduser()).resolve()

    def store_url(self) -> str:
        """Return the store's URL with a relative SQLite file made absolute."""
        scheme, _, rest = self.store.url.partition(":")
        return f"sqlite:{self.resolve(Path(rest))}" if scheme == "sqlite" else self.store.url

    @property
    def districts(self) -> list[str]:
        """The districts that ingest takes in."""
        return self.ingest.districts or [self.city.district]

    def spool_of(self, district: str) -> Path:
        """Return the spool of a district: `ingest.spool` for the city's own, a file beside it for others."""
        path = self.resolve(self.ingest.spool)
        return path if district == self.city.district else path.with_name(f"{path.stem}-{district}{path.suffix}")

    def mqtt_password(self) -> str:
        """Return the password at the broker, from its file where one is named (SettingsError)."""
        return self._secret("mqtt.password_file", self.mqtt.password_file, self.mqtt.password)

    def gateway_login(self) -> tuple[str, str]:
        """Return the gateway's login and password at the broker: its own, or the city's (SettingsError)."""
        if not self.gateway.username:
            return self.mqtt.username, self.mqtt_password()
        key = "gateway.password_file"
        return self.gateway.username, self._secret(key, self.gateway.password_file, SecretStr(""))

    def store_token(self) -> str:
        """Return the token of the store, from its file where one is named (SettingsError)."""
        return self._secret("store.token_file", self.store.token_file, self.store.token)

    def _secret(self, key: str, file: Path | None, secret: SecretStr) -> str:
        if file is None:
            return secret.get_secret_value()
        path = self.resolve(file)
        try:
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "is not UTF-8"
            raise SettingsError(
                what or "cannot be read", where=f"{key}: {path}", expected="a file of one line"
            ) from None
        if not text or "\n" in text:
            raise SettingsError("holds no secret", where=f"{key}: {path}", expected="a file of one line")
        return text

    def operations_url(self) -> str:
        """Return the SQLAlchemy URL of the operations database with a relative SQLite file made absolute."""
        head, slashes, rest = self.operations.url.partition(":///")
        return f"{head}:///{self.resolve(Path(rest))}" if head == "sqlite" and slashes else self.operations.url

    def trail_anchor(self) -> Path:
        """Return the file of the audit trail's heads: the one named, or one beside the operations database.

        A database on a server has no folder here: its anchor is in `home`.
        """
        if self.operations.trail_anchor is not None:
            return self.resolve(self.operations.trail_anchor)
        head, slashes, file = self.operations_url().partition(":///")
        folder = Path(file).parent if head == "sqlite" and slashes else self._home
        return self.resolve(folder / "trail.anchor")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting in force: its dotted key, the value as text (secrets masked), where it comes from, what it means."""

    key: str
    value: str
    origin: str
    description: str


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Load settings from the file at `path` (or none), the environment and `overrides` (a nested mapping).

    Raises SettingsError with the file or variable, the key, and what was expected.
    """
    unknown_variables(os.environ)
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if path is not None:
        layers.append((str(path), _toml(path)))
    layers.append(("environment", EnvSettingsSource(Settings)()))
    layers.append(("command line", overrides or {}))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in layers:
        for key, value in _flat(values):
            _put(merged, key, value)
            origins[key] = origin
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise _setting_error(error, origins) from None
    _check(settings, origins)
    return settings.found(path.resolve().parent if path else Path.cwd(), origins)


def in_force(settings: Settings) -> list[Setting]:
    """Return every setting with its value (secrets masked) and where it comes from, in the order of the sections."""
    rows: list[Setting] = []
    for name in Settings.model_fields:
        section: BaseModel = getattr(settings, name)
        for key, field in type(section).model_fields.items():
            dotted = f"{name}.{key}"
            value = getattr(section, key)
            shown = ("***" if value.get_secret_value() else "") if isinstance(value, SecretStr) else value
            rows.append(
                Setting(
                    dotted,
                    "" if shown is None else without_secrets(str(shown)),
                    settings.origin(dotted),
                    field.description or "",
                )
            )
    return rows


def unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse a ``CHENGMAI_…`` variable that names no setting: a typo there would be silent otherwise."""
    known = {f"{PREFIX}{s}__{k}".upper() for s, k in _known_keys()} | _RESERVED
    for name in environment:
        if name.startswith(PREFIX) and name.upper() not in known:
            raise SettingsError("no such setting", where=f"environment variable {name}", expected=_nearest(name, known))


_RESERVED = {"CHENGMAI_SETTINGS", "CHENGMAI_DATA"}


def _known_keys() -> Iterator[tuple[str, str]]:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        for key in section.model_fields:
            yield name, key


_SECRETS = {
    f"{name}.{key}"
    for name, section in Settings.model_fields.items()
    if isinstance(section.annotation, type) and issubclass(section.annotation, BaseModel)
    for key, field in section.annotation.model_fields.items()
    if field.annotation is SecretStr
}


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError("no such file", where=str(path), code="E_MISSING") from None
    except OSError as error:
        raise SettingsError(error.strerror or "cannot be read", where=str(path)) from None
    except UnicodeDecodeError:
        raise SettingsError("is not UTF-8", where=str(path), expected="a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(error), where=str(path), expected="a TOML file") from None


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield ``section.key`` and value; what is no section stays as it is, for validation to refuse."""
    for name, section in values.items():
        if isinstance(section, Mapping):
            yield from ((f"{name}.{key}", value) for key, value in section.items())
        else:
            yield name, section


def _put(merged: dict[str, Any], key: str, value: Any) -> None:
    name, dot, leaf = key.partition(".")
    if dot:
        merged.setdefault(name, {})[leaf] = value
    else:
        merged[name] = value


def _setting_error(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][:2])
    origin = next((o for k, o in origins.items() if k == key or k.startswith(f"{key}.")), "settings")
    where = f"{origin}: {key}"
    if first["type"] == "extra_forbidden":
        keys = {f"{s}.{k}" for s, k in _known_keys()}
        sections = set(Settings.model_fields)
        return SettingsError("no such setting", where=where, expected=_nearest(key, keys if "." in key else sections))
    said = "what it is set to" if key in _SECRETS else repr(first["input"])
    return SettingsError(f"{said} does not fit", where=where, expected=first["msg"])


def _check(settings: Settings, origins: Mapping[str, str]) -> None:
    if settings.city.time_zone not in available_timezones():
        raise SettingsError(
            f"there is no time zone {settings.city.time_zone!r}",
            where=f"{origins.get('city.time_zone', 'settings')}: city.time_zone",
            expected="an IANA name such as Asia/Shanghai",
        )
    bounds = settings.city.bounds
    if bounds is not None and not (bounds[0] < bounds[2] and bounds[1] < bounds[3]):
        raise SettingsError(
            f"{list(bounds)} encloses nothing",
            where=f"{origins.get('city.bounds', 'settings')}: city.bounds",
            expected="[west, south, east, north] with west < east and south < north",
        )
    clock = settings.clock
    if (clock.epoch is None) != (clock.started is None):
        raise SettingsError(
            "only one of epoch and started is given",
            where=f"{origins.get('clock.epoch', origins.get('clock.started', 'settings'))}: clock",
            expected="both, or neither",
        )
    for key in ("epoch", "started"):
        moment = getattr(clock, key)
        if moment is not None and moment.tzinfo is None:
            raise SettingsError(
                f"{moment.isoformat()} has no offset",
                where=f"{origins.get(f'clock.{key}', 'settings')}: clock.{key}",
                expected="a time such as 2026-01-01T00:00:00+08:00",
            )


def _nearest(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"perhaps {close[0]}" if close else f"one of {', '.join(sorted(known))}"


@dataclass(slots=True)
class SettingsSource:
    """Where a command finds its settings: loaded when first asked for, so that `doctor` runs on broken ones too.

    `then` is called once with the settings of logs, before anything is logged.
    """

    path: Path | None
    then: Callable[[LogSettings], None]
    _loaded: Settings | None = None

    def settings(self) -> Settings:
        """Return the settings, loaded once."""
        if self._loaded is None:
            self._loaded = load(self.path)
            self.then(self._loaded.log)
        return self._loaded


def settings_of(ctx: typer.Context) -> Settings:
    """Return the settings of the running command."""
    source = ctx.find_object(SettingsSource)
    return source.settings() if source else load()


def clock_of(settings: Settings) -> Clock:
    """Return the city's clock: the machine's, or the recording's where `clock` gives both its times."""
    clock = settings.clock
    if clock.epoch is None or clock.started is None:
        return SystemClock()
    return ScaledClock(clock.epoch, clock.started, clock.speed)
