"""The doctor: what is wrong with an installation, and what to type."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from dashboards.audit_trail import trail_of
from dashboards.settings import Settings
from dashboards.supervisor import listens
from ingest import store
from ingest.ledger import Ledger
from ingest.mqtt.connection import Address
from ingest.watch.heartbeats import Heartbeats
from sensors.leases import spools
from sensors.operations import connect
from sensors.registry import Registry
from twin.city import City
from twin.errors import ChengmaiError

_LOW_DISK_BYTES = 2_000_000_000
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Verdict(StrEnum):
    """How a check ended; the value is the sign that people see."""

    GOOD = "✓"
    WARNING = "!"
    BAD = "✗"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to type about it."""

    verdict: Verdict
    subject: str
    found: str
    remedy: str = ""


def examine(load_settings: Callable[[], Settings]) -> list[Finding]:
    """Return what every check found; a check that fails never hides the ones after it."""
    findings = list(_installation())
    try:
        settings = load_settings()
    except ChengmaiError as error:
        return [*findings, Finding(Verdict.BAD, "settings", str(error), "correct the file or the variable")]
    findings.append(Finding(Verdict.GOOD, "settings", f"read; paths start from {settings.home}"))
    for check in (_disk, _city, _operations, _trail, _store, _broker, _ingest, _monitor, _web):
        try:
            findings.extend(check(settings))
        except ChengmaiError as error:
            findings.append(Finding(Verdict.BAD, check.__name__.strip("_"), str(error), _REMEDIES[check.__name__]))
    return findings


_REMEDIES = {
    "_disk": "free some space",
    "_city": "chengmai load FILES… --city FILE",
    "_operations": "check operations.url (chengmai config)",
    "_trail": "check operations.trail_anchor (chengmai config)",
    "_store": "check store.url and store.token (chengmai config)",
    "_broker": "check mqtt.url (chengmai config)",
    "_ingest": "check ingest.spool (chengmai config)",
    "_monitor": "check monitor.metrics (chengmai config)",
    "_web": "check web.host and web.port (chengmai config)",
}


def _installation() -> Iterator[Finding]:
    yield Finding(Verdict.GOOD, "python", sys.version.split()[0])
    missing: list[str] = []
    for line in requires("chengmai") or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            fits = requirement.specifier.contains(version(requirement.name), prereleases=True)
        except PackageNotFoundError:
            fits = False
        if not fits:
            missing.append(str(requirement))
    if missing:
        yield Finding(Verdict.BAD, "packages", f"missing or too old: {', '.join(missing)}", "pip install chengmai")
    else:
        yield Finding(Verdict.GOOD, "packages", f"chengmai {version('chengmai')} and all it needs")


def _disk(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.home).free
    verdict = Verdict.GOOD if free > _LOW_DISK_BYTES else Verdict.WARNING
    yield Finding(
        verdict, "disk", f"{free / 1e9:.1f} GB free at {settings.home}", "" if free > _LOW_DISK_BYTES else "free some"
    )


def _city(settings: Settings) -> Iterator[Finding]:
    with City.open(settings.resolve(settings.city.file)) as city:
        counts = ", ".join(f"{count} {name}" for name, count in city.counts().items() if count)
        yield Finding(Verdict.GOOD, "city", f"{city.crs or 'no CRS'}; {counts or 'empty'}")
        stray = [row.source for row in city.sources() if row.placement.decision != "placed"]
        if stray:
            yield Finding(
                Verdict.WARNING, "city", f"not on the map: {', '.join(stray)}", "chengmai load FILE --crs EPSG"
            )


def _operations(settings: Settings) -> Iterator[Finding]:
    engine = connect(settings.operations_url())
    try:
        devices, points = Counter[str](), 0
        for device in Registry(engine).each():
            if not device.retired:
                devices[device.district] += 1
                points += len(device.points)
    finally:
        engine.dispose()
    if devices:
        yield Finding(Verdict.GOOD, "operations", f"{devices.total()} devices with {points} points")
        if others := devices.keys() - set(settings.districts):
            count = sum(devices[district] for district in others)
            yield Finding(
                Verdict.WARNING,
                "operations",
                f"{count} devices are of {', '.join(sorted(others))};"
                f" ingest listens to {', '.join(settings.districts)} only",
                "set city.district, or ingest.districts",
            )
    else:
        yield Finding(Verdict.WARNING, "operations", "no devices registered", "chengmai devices import FILE")


def _trail(settings: Settings) -> Iterator[Finding]:
    engine = connect(settings.operations_url())
    try:
        found = trail_of(settings, engine).verify()
    finally:
        engine.dispose()
    if not found.faults and found.unanchored:
        yield Finding(Verdict.WARNING, "trail", found.unanchored, "see that operations.trail_anchor can be written")
    elif not found.faults:
        yield Finding(Verdict.GOOD, "trail", f"{found.entries} entries, unbroken; anchored up to {found.anchored}")
    for fault in found.faults:
        yield Finding(Verdict.BAD, "trail", fault, "find out who did it; chengmai trail verify (docs/security.md)")


def _store(settings: Settings) -> Iterator[Finding]:
    readings = store.open_store(settings.store_url(), settings.store_token())
    newest = readings.latest().time
    age = f"newest {datetime.fromtimestamp(newest.max() / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if len(newest) else "empty"
    yield Finding(Verdict.GOOD, "store", f"{settings.store.url.partition(':')[0]}: {len(newest)} series, {age}")


def _broker(settings: Settings) -> Iterator[Finding]:
    address = Address.parse(settings.mqtt.url)
    if not listens(address.host, address.port):
        yield Finding(
            Verdict.BAD,
            "broker",
            f"nobody listens at {settings.mqtt.url}",
            "chengmai up" if settings.mqtt.embedded else "start the broker, or correct mqtt.url",
        )
        return
    yield Finding(Verdict.GOOD, "broker", f"listens at {settings.mqtt.url}")
    if settings.mqtt.embedded:
        yield Finding(
            Verdict.WARNING,
            "broker",
            "embedded: MQTT 3.1.1, anonymous, forgets sessions when it stops; for demos only",
            "chengmai broker config FOLDER, run Mosquitto, set mqtt.embedded = false (docs/security.md)",
        )
    elif not address.tls and address.host not in _LOOPBACK:
        yield Finding(
            Verdict.WARNING,
            "broker",
            "logins and readings cross the network in the clear",
            "chengmai broker config FOLDER; mqtt.url = mqtts://… and mqtt.ca (docs/security.md)",
        )


def _ingest(settings: Settings) -> Iterator[Finding]:
    engine = connect(settings.operations_url())
    paths = {district: settings.spool_of(district) for district in settings.districts}
    heartbeats = Heartbeats(paths, lambda: spools(engine))
    try:
        pulses = heartbeats.look()
    finally:
        heartbeats.close()
        engine.dispose()
    for district, pulse in pulses.items():
        where = f"{district}: " if len(pulses) > 1 else ""
        status, ledger = pulse.status, pulse.ledger
        if pulse.elsewhere:
            yield Finding(Verdict.GOOD, "ingest", f"{where}is worked on another machine")
            continue
        if status is None or ledger is None:
            found = str(pulse.error or "has never run here")
            yield Finding(Verdict.BAD, "ingest", f"{where}{found}", "chengmai up, or chengmai ingest")
            continue
        if not status.alive:
            yield Finding(Verdict.BAD, "ingest", f"{where}is not running", "chengmai up, or chengmai ingest")
        elif not status.connected:
            found = f"{where}runs, but is not connected to {status.broker}"
            yield Finding(Verdict.BAD, "ingest", found, "see its log")
        elif pulse.ill:
            yield Finding(
                Verdict.BAD, "ingest", f"{where}runs, but {pulse.ill}", "see its log, and chengmai alarms list"
            )
        else:
            found = f"{where}{status.readings_per_s:.0f} readings/s, {ledger.spooled} spooled"
            yield Finding(Verdict.GOOD, "ingest", found)
        yield _balance(where, ledger, status.unaccounted)


def _balance(where: str, ledger: Ledger, audited: int) -> Finding:
    """Return what the ledger says; `audited` is its balance when the rows were counted last."""
    off = ledger.balance or audited
    found = (
        f"{where}{ledger.received} received = {ledger.stored} stored + {ledger.duplicates} duplicates"
        f" + {ledger.quarantined} quarantined + {ledger.spooled} spooled"
    )
    if off:
        return Finding(
            Verdict.BAD, "ledger", f"{found}; {off} unaccounted for", "chengmai backup FOLDER, and report it"
        )
    return Finding(Verdict.GOOD, "ledger", found)


def _monitor(settings: Settings) -> Iterator[Finding]:
    monitor = settings.monitor
    if monitor.metrics:
        host, _, port = monitor.metrics.rpartition(":")
        if port.isdigit() and listens(host.strip("[]") or "127.0.0.1", int(port)):
            yield Finding(Verdict.GOOD, "metrics", f"served at http://{monitor.metrics}/metrics")
        else:
            yield Finding(Verdict.BAD, "metrics", f"nobody listens at {monitor.metrics}", "chengmai ingest")
    if not monitor.dead_man_url.get_secret_value() and not settings.mqtt.embedded:
        yield Finding(
            Verdict.WARNING,
            "dead man",
            "nobody outside is told when this machine dies",
            "set monitor.dead_man_url (docs/operations.md)",
        )


def _web(settings: Settings) -> Iterator[Finding]:
    url = f"http://{settings.web.host}:{settings.web.port}/"
    if listens(settings.web.host, settings.web.port):
        yield Finding(Verdict.GOOD, "dashboard", f"listens at {url}")
    else:
        yield Finding(Verdict.BAD, "dashboard", f"nobody listens at {url}", "chengmai up, or chengmai serve")
    if settings.web.host not in _LOOPBACK:
        yield Finding(
            Verdict.WARNING,
            "dashboard",
            f"open to the network at {settings.web.host}, without a login",
            "set web.host = 127.0.0.1 and put a proxy with a login in front",
        )
