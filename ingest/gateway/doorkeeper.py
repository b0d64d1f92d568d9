"""The doorkeeper: which devices there are, who may speak for them, and who was turned away.

Nothing is kept of what an unproved sender says, but that it knocked: a station that no registry knows is listed among
the unknown devices, a wrong secret goes to the audit trail, both bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

import structlog

from ingest.payload import Measurement
from ingest.topic import Channel, Topic
from sensors.clock import Clock
from sensors.credentials import Credential
from sensors.device import DeviceId
from sensors.registry import Registry
from sensors.unknown_device import SeenPoint, Sighting, UnknownDevices
from twin.asset import System
from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

PROVED_S = 60.0
"""How long a secret that was found right is taken without asking again: a revoked login ends within a minute."""

TOLD_S = 600.0
"""Between two entries of the audit trail about one login and device."""

MAX_REMEMBERED = 100_000
MAX_SIGHTINGS = 1_000
MAX_TOLD = 20
"""Entries of the audit trail in one round; what is past it is counted in one more."""

MAX_NAME = 100
"""Characters kept of a name that a stranger made up."""

Prove: TypeAlias = Callable[[str, str], Credential | None]
"""Returns the login that a secret proves, or None (`sensors.credentials.Credentials.prove`)."""

Tell: TypeAlias = Callable[[str, str, Mapping[str, object]], None]
"""Writes to the audit trail: action, subject, detail."""


class _Place(NamedTuple):
    district: str
    system: System


class Doorkeeper:
    """Knows the devices of a city and checks secrets. `clock` is the machine's; `district` is where strangers count.

    `step` talks to the database and runs on a thread of its own choosing; `who` may, and is asynchronous. The rest
    answers from memory.
    """

    def __init__(
        self, registry: Registry, prove: Prove, unknown: UnknownDevices, tell: Tell, clock: Clock, *, district: str
    ) -> None:
        self._registry = registry
        self._prove = prove
        self._unknown = unknown
        self._tell = tell
        self._clock = clock
        self._district = district
        self._version = -1
        self._places: dict[str, _Place] = {}
        self._addresses: dict[str, DeviceId] = {}
        self._proved: OrderedDict[tuple[str, bytes], tuple[float, Credential]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()
        self._sightings: dict[str, Sighting] = {}
        self._refused: list[tuple[str, str]] = []
        self._untold = 0

    def topic(self, device: str, channel: Channel) -> Topic | None:
        """Return a channel of a device's topic, or None for a device that the registry does not know."""
        place = self._places.get(device)
        return None if place is None else Topic(place.district, place.system, DeviceId(device), channel)

    def at(self, address: str) -> DeviceId | None:
        """Return the device at an address of its own protocol, or None."""
        return self._addresses.get(address)

    async def who(self, login: str, secret: str) -> Credential | None:
        """Return the login that the secret proves, or None; UnavailableError or BusyError as the database is."""
        key = login, hashlib.sha256(secret.encode()).digest()
        now = self._clock.seconds()
        since, known = self._proved.get(key, (-PROVED_S, None))
        if known is not None and now - since < PROVED_S:
            return known
        found = await asyncio.to_thread(self._prove, login, secret)
        if found is None:
            self._proved.pop(key, None)
            return None
        self._proved[key] = now, found
        self._proved.move_to_end(key)
        if len(self._proved) > MAX_REMEMBERED:
            self._proved.popitem(last=False)
        return found

    def refuse(self, login: str, subject: str) -> None:
        """Note that `login` was not let speak for `subject`: a device, or itself where the secret is wrong."""
        login, subject = login[:MAX_NAME], subject[:MAX_NAME]
        now = self._clock.seconds()
        logger.warning("sender_refused", login=login, subject=subject)
        if now - self._told.get((login, subject), -TOLD_S) < TOLD_S:
            return
        self._told[login, subject] = now
        self._told.move_to_end((login, subject))
        if len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        with self._lock:
            if len(self._refused) < MAX_TOLD:
                self._refused.append((login, subject))
            else:
                self._untold += 1

    def see(self, address: str, measurements: Iterable[Measurement]) -> None:
        """Note a message of a device that no registry knows."""
        with self._lock:
            before = self._sightings.get(address)
            if before is None and len(self._sightings) >= MAX_SIGHTINGS:
                return
            now: datetime = self._clock.now()
            points = {one.point: SeenPoint(one.unit, one.value) for one in measurements}
            if before is None:
                self._sightings[address] = Sighting(address, self._district, None, now, now, points=points)
            else:
                points = {**before.points, **points}
                self._sightings[address] = replace(before, last=now, messages=before.messages + 1, points=points)

    def step(self) -> None:
        """Read the registry again if it has changed, and write down who was turned away.

        A database that does not answer leaves everything as it was; the first time it must (UnavailableError).
        """
        try:
            self._reload()
            self._write_down()
        except (UnavailableError, BusyError) as error:
            if self._version < 0:
                raise
            logger.warning("gateway_database_away", error=str(error))

    def _write_down(self) -> None:
        """Write down who was turned away; what cannot be written now is kept for the next round."""
        with self._lock:
            sightings, self._sightings = self._sightings, {}
            refused, self._refused = self._refused, []
            untold, self._untold = self._untold, 0
        try:
            self._unknown.note(sightings.values())
            sightings = {}
            while refused:
                login, subject = refused[0]
                self._tell("gateway.refuse", subject, {"login": login})
                del refused[0]
            if untold:
                self._tell("gateway.refuse", "others", {"count": untold})
        except (UnavailableError, BusyError):
            with self._lock:
                self._sightings = dict([*sightings.items(), *self._sightings.items()][:MAX_SIGHTINGS])
                kept = [*refused, *self._refused]
                self._refused = kept[:MAX_TOLD]
                self._untold += untold + len(kept) - len(self._refused)
            raise

    def _reload(self) -> None:
        version = self._registry.version()
        if version == self._version:
            return
        places: dict[str, _Place] = {}
        addresses: dict[str, DeviceId] = {}
        shared: dict[_Place, _Place] = {}
        for device in self._registry.each():
            if device.retired:
                continue
            place = _Place(device.district, device.system)
            places[device.id] = shared.setdefault(place, place)
            if device.address:
                addresses[device.address] = device.id
        self._places, self._addresses, self._version = places, addresses, version
        logger.info("registry_loaded", version=version, devices=len(places))


__all__ = ["Doorkeeper", "Prove", "Tell"]
