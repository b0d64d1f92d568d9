"""Answers to what an event touches: asked once a state of the city, kept for everybody who asks it again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.city_view import CityView
from dashboards.marks import marks_of
from dashboards.overlay import Bounds, Ground
from twin.asset import System
from twin.effects.service import SERVING
from twin.errors import InputError
from twin.trace import Answer, Question, Tracer

KEPT = 64
"""Answers kept, the one asked longest ago forgotten first: as many as a shift looks at again."""

MOST_STUCK = 100
"""Valves that a question may call stuck."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and how the map draws it: GeoJSON whose features have a role, and its bounds in degrees."""

    answer: Answer
    features: Mapping[str, Any]
    bounds: Bounds | None
    ground: Ground

    def place(self, asset: str) -> tuple[float, float] | None:
        """Return longitude and latitude (degrees) of an asset; None where it has no place."""
        return self.ground.place(asset)


class Answers:
    """Asks the city's networks. Any thread may; one question is worked out at a time, the others wait for theirs.

    `resolve` turns what a person names (a device) into the asset that it stands on and its system, and leaves the rest
    as it is, of no system.
    """

    def __init__(self, city: CityView, resolve: Callable[[str], tuple[str, System | None]]) -> None:
        self._city = city
        self._resolve = resolve
        self._lock = threading.Lock()
        self._tracer: Tracer | None = None
        self._ground: tuple[int, Ground] | None = None
        self._kept: OrderedDict[tuple[Any, ...], Answered] = OrderedDict()

    def ask(
        self,
        asset: str,
        question: Question,
        *,
        to: str | None = None,
        stuck: Sequence[str] = (),
        system: System | None = None,
    ) -> Answered:
        """Return the answer about an asset or device; raises UnknownError, InputError.

        `to` is the other end of a path or profile, `stuck` are valves that cannot be closed, `system` says which of a
        building's services an impact is asked of: of a device, what it measures where nobody says.
        """
        if len(stuck) > MOST_STUCK:
            raise InputError(f"{len(stuck)} valves are stuck", where="stuck", expected=f"at most {MOST_STUCK}")
        asset, measured = self._resolve(asset)
        stuck = tuple(sorted(set(stuck)))
        if system is None and question is Question.IMPACT and measured in SERVING:
            system = measured
        with self._lock:
            city = self._city.opened()
            valves = frozenset(city.valve_states().items())
            key = (city.revision(), valves, asset, question, to, stuck, system)
            if key not in self._kept:
                self._kept[key] = self._work_out(asset, question, to, stuck, system)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[key]

    def _work_out(
        self, asset: str, question: Question, to: str | None, stuck: Sequence[str], system: System | None
    ) -> Answered:
        if self._tracer is None:
            self._tracer = Tracer(self._city.opened())
        more = {"system": system} if system else {}
        answer = self._tracer.ask(asset, question, to=to, stuck=stuck, **more)
        ground = self._standing()
        features, bounds = ground.draw(marks_of(answer, ground.shape))
        return Answered(answer, features, bounds, ground)

    def _standing(self) -> Ground:
        described = self._city.describe()
        if self._ground is None or self._ground[0] != described.revision:
            modelled = [building for model in described.models for building in model.buildings]
            self._ground = described.revision, Ground(self._city.layers(), self._city.crs, modelled)
        return self._ground[1]
