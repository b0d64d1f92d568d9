"""What detection may know of the city: its networks and their hydraulics, as the settings name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from dashboards.settings import Settings
from sensors import limits
from sensors.detection.scope import Scope
from sensors.device import Device
from twin.errors import ChengmaiError

if TYPE_CHECKING:
    from twin.city import City
    from twin.trace import Tracer

logger = structlog.get_logger()


class DetectionScope:
    """Makes scopes by the settings. A city that is not there, or cannot be read, is left out, with a word in the log.

    The networks are read when the city has changed, and not before there is one: a worker of a district without a city
    is as light as ever.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        path = settings.detection.limits
        self.limits = limits.load(None if path is None else settings.resolve(path))
        self._open: tuple[City, Tracer] | None = None
        self._revision = 0

    def revision(self) -> int:
        """Return the revision of the city, 0 where there is none; what it was where nothing can be learnt of it now."""
        try:
            opened = self._opened()
            self._revision = 0 if opened is None else opened[0].revision()
        except ChengmaiError as error:
            logger.warning("city_not_read", error=str(error))
        return self._revision

    def of(self, devices: Sequence[Device]) -> Scope:
        """Return the scope of `devices`."""
        hydraulics = {path.name: self._settings.resolve(path) for path in self._settings.detection.hydraulics}
        try:
            opened = self._opened()
            if opened is not None:
                city, tracer = opened
                return Scope(devices, self.limits, tracer.network, city, hydraulics)
        except ChengmaiError as error:
            logger.warning("detection_without_city", error=str(error))
        return Scope(devices, self.limits, hydraulics=hydraulics)

    def close(self) -> None:
        """Close the city; scopes that were made can ask it nothing any more."""
        if self._open is not None:
            self._open[0].close()
            self._open = None

    def _opened(self) -> tuple[City, Tracer] | None:
        path = self._settings.resolve(self._settings.city.file)
        if self._open is None and path.is_file() and path.stat().st_size:
            from twin.city import City  # noqa: PLC0415  # heavy, and needed only where there is a city
            from twin.trace import Tracer  # noqa: PLC0415  # as above

            city = City.open(path)
            self._open = city, Tracer(city)
        return self._open


__all__ = ["DetectionScope"]
