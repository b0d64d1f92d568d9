"""A city of the campaign: settings, broker, store and ingest, all real, in a folder of its own."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingest.store import open_store
from sensors.clock import from_ms, to_ms

from .broker import Hardened, Mosquitto
from .processes import Server, chengmai, exported, victoria, wait_until

DISTRICT = "main"
_DAY_MS = 86_400_000
_MPA = 1e6
"""Values go out in MPa and are stored in Pa."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the spool of a district counts, in readings, read from the file while others write it."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    spooled: int = 0

    @property
    def balance(self) -> int:
        return self.received - self.stored - self.duplicates - self.quarantined - self.spooled


class City:
    """Made with its servers, none of which runs yet; `close` stops what does.

    `store` is the store's URL, or "" for a VictoriaMetrics of the city's own, which `front` may put something before;
    `spool` its spool's file where it is not in the folder; `wrapped` stands before the command of ingest; `hardened`
    has a broker as `chengmai broker config` sets it up.
    """

    def __init__(
        self,
        folder: Path,
        *,
        store: str = "",
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        wrapped: Sequence[str] = (),
        spool: Path | None = None,
        front: Callable[[str], str] = str,
        hardened: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.broker = Hardened(folder / "broker") if hardened else Mosquitto(folder / "broker")
        self.victoria, self.victoria_base = victoria(folder / "victoria")
        store = store.replace("sqlite:", f"sqlite:{folder}/")
        self._own_store = not store
        self._token = str((settings or {}).get("store", {}).get("token", ""))
        self._store_url = store or f"victoria+{front(self.victoria_base)}"
        self.settings = folder / "chengmai.toml"
        sections: dict[str, dict[str, Any]] = {
            "city": {"district": DISTRICT},
            "mqtt": {**self.broker.settings, "embedded": False},
            "ingest": {"rate_factor": 0.0},
            "store": {"url": self._store_url},
            # What makes an alarm here are limits and silence; the campaign's values move in no natural way.
            "detection": {"disabled": ["quality", "rate_of_change", "seasonal"]},
        }
        for name, values in (settings or {}).items():
            sections.setdefault(name, {}).update(values)
        self.settings.write_text(_toml(sections))
        self.broker.prepare(self.settings)
        self.spool = spool or folder / "spool.sqlite"
        self.ingest = Server(
            [*wrapped, sys.executable, "-m", "dashboards", "--settings", str(self.settings), "ingest"],
            folder / "ingest.log",
            self._takes_in,
        )
        self.ingest.environment.update(environment or {})
        self._series: dict[tuple[str, str], int] = {}
        self._ingests = [self.ingest]
        self._before = Ledger()
        self._refused_before = 0

    def start(self) -> None:
        """Start broker, store and ingest."""
        self.broker.start()
        if self._own_store:
            self.victoria.start()
        self.start_ingest()

    def start_ingest(self) -> None:
        """Start ingest, and wait until it hears the broker."""
        self._started_ms = now_ms()
        self.ingest.start()

    def another_ingest(self, name: str) -> Server:
        """Start one more `chengmai ingest` with the same settings, and return it."""
        beside = Server(self.ingest.command, self.folder / f"{name}.log", lambda: True)
        beside.environment.update(self.ingest.environment)
        beside.start()
        self._ingests.append(beside)
        return beside

    def owner(self) -> int:
        """Return the process that holds the lease of the district: its id stands in the worker's name."""
        with closing(sqlite3.connect(f"file:{self.folder}/operations.sqlite?mode=ro", uri=True)) as operations:
            (worker,) = operations.execute("SELECT worker FROM leases WHERE district = ?", (DISTRICT,)).fetchone()
        return int(worker.split("-")[-2])

    def close(self) -> None:
        """Stop whatever runs."""
        for server in (*self._ingests, self.victoria, self.broker):
            server.stop()

    def register(
        self,
        names: Iterable[str],
        *,
        interval_s: float = 3600.0,
        points: Sequence[str] = ("pressure",),
        quantity: str = "pressure",
        unit: str = "MPa",
    ) -> list[str]:
        """Register water devices with points of one quantity, give them logins, and return their names."""
        made = [
            {
                "device": name,
                "district": DISTRICT,
                "system": "water",
                "interval_s": interval_s,
                "points": [{"name": point, "quantity": quantity, "unit": unit} for point in points],
            }
            for name in names
        ]
        listed = self.folder / "devices.json"
        listed.write_text(json.dumps(made))
        chengmai(self.settings, "devices", "import", str(listed))
        for device in json.loads(chengmai(self.settings, "devices", "list", "--json")):
            self._series |= {(device["device"], point["name"]): point["series"] for point in device["points"]}
        self.broker.admit(device["device"] for device in made)
        return [device["device"] for device in made]

    def begin(self) -> None:
        """Count from here on: another case begins in this city."""
        self._before = Ledger()
        self._before, self._refused_before = self.ledger(), self._refused()

    def ledger(self) -> Ledger:
        """Return the ledger since `begin`, what waits counted row by row; zeros before there is a spool."""
        try:
            with self._spool() as spool:
                spool.execute("BEGIN")
                counters = dict(spool.execute("SELECT name, value FROM counters"))
                query = "SELECT coalesce(sum(readings), 0) FROM batches WHERE id > ?"
                (spooled,) = spool.execute(query, (counters["cursor_stored"],)).fetchone()
        except sqlite3.OperationalError:
            return Ledger()
        before = self._before
        return Ledger(
            counters["received"] - before.received,
            counters["stored"] - before.stored,
            counters["duplicates"] - before.duplicates,
            counters["quarantined"] - before.quarantined,
            spooled,
        )

    def quarantined(self, where: str = "") -> list[tuple[str, bytes, str]]:
        """Return topic, payload and code of what is in quarantine, of topics that contain `where`."""
        with self._spool() as spool:
            query = "SELECT topic, payload, code FROM quarantine WHERE id > ? AND (instr(topic, ?) OR ? = '')"
            rows = spool.execute(query, (self._refused_before, where, where))
            return [(topic, bytes(payload), code) for topic, payload, code in rows]

    def refused_by_store(self, device: str, point: str) -> dict[int, float]:
        """Return what the store took in no form and is kept in quarantine: MPa by ms since 1970."""
        rows = self.quarantined(f"{device}/{point}")
        kept = [json.loads(payload) for topic, payload, _ in rows if topic == f"{device}/{point}"]
        return {row["ts"]: row["v"] / _MPA for row in kept}

    def seen(self, devices: Iterable[str]) -> int:
        """Return how many messages of `devices` (with boot and seq) the spool knows, each once."""
        return sum(len(self.seen_of(device)) for device in devices)

    def seen_of(self, device: str, boot: int = 1) -> set[int]:
        """Return the seqs of a boot that the spool knows."""
        with self._spool() as spool:
            query = "SELECT ranges FROM seen WHERE device = ? AND boot = ?"
            row = spool.execute(query, (device, boot)).fetchone()
        return {seq for first, last in json.loads(row[0] if row else "[]") for seq in range(first, last + 1)}

    def settled(self, readings: int, timeout_s: float = 120.0) -> Ledger:
        """Wait until `readings` have come in and none waits for the store; return the ledger."""

        def done() -> bool:
            assert any(one.alive for one in self._ingests), f"ingest ended: {self.ingest.tail()}"
            ledger = self.ledger()
            return ledger.received >= readings and not ledger.spooled

        wait_until(done, f"{readings} readings received and none spooled (is {self.ledger()})", timeout_s)
        return self.ledger()

    def alarms(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return alarms, closed ones too, whose fields are as `wanted`, by `chengmai alarms list`."""
        found = json.loads(chengmai(self.settings, "alarms", "list", "--all", "--limit", "100000", "--json"))
        return [alarm for alarm in found if all(alarm.get(key) == value for key, value in wanted.items())]

    def stored(self, device: str, point: str = "pressure") -> list[tuple[int, float]]:
        """Return what the store holds of a point: (ms since 1970, MPa), asked of VictoriaMetrics itself."""
        series = self._series[device, point]
        if self._own_store:
            rows = exported(self.victoria_base, series, 1, now_ms() + 400 * _DAY_MS)
        else:
            store = open_store(self._store_url, self._token)
            frame = store.read([series], from_ms(0), from_ms(now_ms() + 400 * _DAY_MS))
            rows = [(to_ms(row.time.to_pydatetime()), float(row.value)) for row in frame.itertuples()]
        return [(time_ms, value / _MPA) for time_ms, value in rows]

    def latest(self, device: str, point: str = "pressure") -> tuple[int, float] | None:
        """Return the current value as the city shows it: (ms since 1970, MPa)."""
        latest = open_store(self._store_url, self._token).latest()
        found = np.flatnonzero(latest.series == self._series[device, point])
        return (int(latest.time[found[0]]), float(latest.value[found[0]]) / _MPA) if len(found) else None

    def qualities(self, device: str, point: str = "pressure") -> list[int]:
        """Return the quality flags of a point's readings as the city shows them."""
        series = self._series[device, point]
        return (
            open_store(self._store_url, self._token)
            .read([series], from_ms(0), from_ms(now_ms() + _DAY_MS))["quality"]
            .tolist()
        )

    def stored_series(self) -> set[int]:
        """Return the numbers of all series that the store holds."""
        return set(open_store(self._store_url, self._token).latest().series.tolist())

    def command(self, *arguments: str) -> str:
        """Run `chengmai` with the city's settings, and return what it wrote."""
        return chengmai(self.settings, *arguments)

    def number(self, device: str, point: str = "pressure") -> int:
        """Return the series number of a point."""
        return self._series[device, point]

    def series(self) -> set[int]:
        """Return the series numbers that the registry knows."""
        return set(self._series.values())

    def _spool(self) -> Any:
        return closing(sqlite3.connect(f"file:{self.spool}?mode=ro", uri=True, timeout=10, isolation_level=None))

    def _refused(self) -> int:
        with self._spool() as spool:
            return spool.execute("SELECT coalesce(max(id), 0) FROM quarantine").fetchone()[0]

    def status(self) -> dict[str, Any]:
        """Return the last heart-beat of ingest; empty before the first."""
        try:
            with self._spool() as spool:
                row = spool.execute("SELECT state FROM states WHERE name = 'status'").fetchone()
        except sqlite3.OperationalError:
            return {}
        return {} if row is None else json.loads(row[0])

    def _takes_in(self) -> bool:
        status = self.status()
        if not status:
            return False
        beat_ms = np.datetime64(status["beat"].removesuffix("Z"), "ms").astype(int)
        return bool(status["connected"]) and beat_ms > self._started_ms


def now_ms() -> int:
    """Return the machine's time, ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines: list[str] = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


__all__ = ["DISTRICT", "City", "Ledger", "now_ms"]
