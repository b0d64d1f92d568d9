"""The drains, alive: EPA SWMM (dynamic wave) stepped through pyswmm, in dry weather unless it is told of rain.

A blockage is an opening left in a conduit: at most q = Cd A √(2 g h) passes, h the depth at its upper end. It is set
as the conduit's flow limit, which SWMM's dynamic wave takes during a run (checked with pyswmm 2.2, swmm-toolkit 0.17:
the level above rises, the flow below falls, and both return when it is cleared).

A dry-weather day is run once and kept (`dry_day`): depths and flows every five minutes for history, and SWMM's state
at every full hour, from which a live run starts at any time of day. One simulation at a time in a process.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pyswmm import Link, Links, Node, Nodes, RainGages, Simulation
from pyswmm.errors import MultiSimulationError
from pyswmm.swmm5 import PYSWMMException
from pyswmm.warnings import SimulationContextWarning

from twin.errors import BusyError, InputError, UnknownError

DISCHARGE = 0.6
"""Discharge coefficient of a hole with a sharp edge."""
GRAVITY = 9.80665
SAMPLE = timedelta(minutes=5)
"""Step of the dry-weather day."""

_VERSION = 1  # of what is kept
_WARM_UP = timedelta(hours=12)
_LONGEST = timedelta(days=3650)
_FOOT = 0.3048
_FLOW_M3S = {"CFS": _FOOT**3, "GPM": 6.30902e-5, "MGD": 4.38126e-2, "CMS": 1.0, "LPS": 1e-3, "MLD": 1 / 86.4}
_LEAST_LIMIT = 1e-9  # m³/s; a flow limit of 0 means none
_POOL_M2, _POOL_S = 20.0, 120.0  # of a pool behind a blockage that builds up: its surface, and how fast it is held


class DrainageModel:
    """A SWMM run from `start` (aware) on, by local time; `advance` moves it, the rest says how it stands at `time`.

    `hot_start` is a state saved by `save`. InputError when SWMM refuses the file, BusyError while another run of this
    process is open.
    """

    def __init__(self, inp: Path, start: datetime, time_zone: ZoneInfo, hot_start: Path | None = None) -> None:
        self.start = start
        self._folder = tempfile.TemporaryDirectory(prefix="drainage-")
        try:
            self._run = _open(inp, Path(self._folder.name), start.astimezone(time_zone).replace(tzinfo=None), hot_start)
        except BaseException:
            self._folder.cleanup()
            raise
        self._flow_m3s = _FLOW_M3S[str(self._run.flow_units)]
        self._metre = _FOOT if self._run.system_units == "US" else 1.0
        self._nodes: dict[str, Node] = {}  # looked up when first asked for: pyswmm searches all names each time
        self._links: dict[str, Link] = {}
        self._gages = list(RainGages(self._run))
        self._openings: dict[str, float] = {}
        self._dams: dict[str, float] = {}
        self._seconds = 0
        self.rain(0.0)

    @property
    def time(self) -> datetime:
        """The moment of the present state."""
        return self.start + timedelta(seconds=self._seconds)

    def all_nodes(self) -> list[str]:
        """Return the names of the nodes, in SWMM's order."""
        self._nodes = {str(node.nodeid): node for node in Nodes(self._run)}
        return list(self._nodes)

    def all_links(self) -> list[str]:
        """Return the names of the links, in SWMM's order."""
        self._links = {str(link.linkid): link for link in Links(self._run)}
        return list(self._links)

    def advance(self, to: datetime, step: timedelta = timedelta(seconds=10)) -> None:
        """Move on to `to`, looking at blockages every `step`; never back.

        SWMM moves in routing steps: `time` is then at or up to one of them after `to`.
        """
        target = math.floor((to - self.start).total_seconds())
        while self._seconds < target:
            self._limit_flows()
            self._run.step_advance(min(int(step.total_seconds()), target - self._seconds))
            next(self._run)
            self._seconds = round((self._run.current_time - self._run.start_time).total_seconds())

    def level(self, node: str) -> float:
        """Return the depth of water at a node above its invert, m."""
        return self._node(node).depth * self._metre

    def flow(self, link: str) -> float:
        """Return the flow of a link in its direction, m³/s."""
        return self._link(link).flow * self._flow_m3s

    def running(self, pump: str) -> bool:
        """Say whether a pump delivers."""
        return abs(self.flow(pump)) > 1e-6

    def rain(self, intensity: float) -> None:
        """Let it rain at `intensity`, m/s, on every gage from the next step on."""
        per_hour = intensity * 3600 * (1000 if self._metre == 1.0 else 1 / 0.0254)
        for gage in self._gages:
            gage.total_precip = per_hour

    def block(self, link: str, opening_m2: float) -> None:
        """Leave an opening of `opening_m2` in a conduit, until `clear`."""
        self.clear(link)
        self._openings[link] = opening_m2

    def dam(self, link: str, level_m: float) -> None:
        """Let a blockage build up in a conduit until water stands at `level_m` at its upper end, and hold it there.

        What passes is what arrives, less what the pool still lacks: q = q_in + A (h - level) / τ.
        """
        self.clear(link)
        self._dams[link] = level_m

    def clear(self, link: str) -> None:
        """Remove a blockage."""
        self._openings.pop(link, None)
        self._dams.pop(link, None)
        self._link(link).flow_limit = 0.0

    def save(self, path: Path) -> None:
        """Write SWMM's state to a hot-start file."""
        self._run.save_hotstart(str(path))

    def close(self) -> None:
        """End the run and give its files back."""
        self._run.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _limit_flows(self) -> None:
        for name, opening in self._openings.items():
            head = max(self.level(self._link(name).inlet_node), 0.0)
            self._limit(name, DISCHARGE * opening * math.sqrt(2 * GRAVITY * head))
        for name, level in self._dams.items():
            upper = self._node(self._link(name).inlet_node)
            lacking = _POOL_M2 * (level - upper.depth * self._metre) / _POOL_S
            self._limit(name, upper.total_inflow * self._flow_m3s - lacking)

    def _limit(self, link: str, flow: float) -> None:
        self._link(link).flow_limit = max(flow, _LEAST_LIMIT) / self._flow_m3s

    def _node(self, name: str) -> Node:
        found = self._nodes.get(name)
        if found is None:
            try:
                found = self._nodes[name] = Nodes(self._run)[name]
            except PYSWMMException:
                raise UnknownError(f"no node is called {name!r}", where="drainage") from None
        return found

    def _link(self, name: str) -> Link:
        found = self._links.get(name)
        if found is None:
            try:
                found = self._links[name] = Links(self._run)[name]
            except PYSWMMException:
                raise UnknownError(f"no link is called {name!r}", where="drainage") from None
        return found


@dataclass(frozen=True, slots=True)
class DryDay:
    """A day without rain, every five minutes from local midnight.

    `depth` (288, nodes) in m above the inverts, `flow` (288, links) in m³/s; columns in the order of `nodes` and
    `links`. `folder` holds SWMM's state at each full hour.
    """

    nodes: dict[str, int]
    links: dict[str, int]
    depth: NDArray[np.float32]
    flow: NDArray[np.float32]
    folder: Path

    def level(self, node: str, local: datetime) -> float:
        """Return the depth at a node at a local time of day, m, linear between samples."""
        return _at(self.depth[:, self.nodes[node]], local)

    def flow_of(self, link: str, local: datetime) -> float:
        """Return the flow of a link at a local time of day, m³/s, linear between samples."""
        return _at(self.flow[:, self.links[link]], local)

    def hot_start(self, hour: int) -> Path:
        """Return the file of SWMM's state at a full hour."""
        return self.folder / f"{hour:02d}.hsf"


def dry_day(inp: Path, day: date, time_zone: ZoneInfo, cache: Path) -> DryDay:
    """Return the dry-weather day of the network in `inp`, out of the folder `cache` or run and kept there.

    The key is the input file and whether `day` is a weekend, which SWMM's patterns may tell apart.
    """
    weekend = day.weekday() >= 5
    digest = hashlib.sha256(f"{_VERSION} {weekend} ".encode() + inp.read_bytes()).hexdigest()[:16]
    folder = cache / f".dry-day-{digest}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".dry-day-new-", dir=cache))
        try:
            _record(inp, day, time_zone, work)
            work.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process has just made it
                raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    with np.load(folder / "day.npz") as kept:
        nodes, links = ({str(name): n for n, name in enumerate(kept[key])} for key in ("nodes", "links"))
        return DryDay(nodes, links, kept["depth"], kept["flow"], folder)


def _record(inp: Path, day: date, time_zone: ZoneInfo, folder: Path) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=time_zone)
    with DrainageModel(inp, midnight - _WARM_UP, time_zone) as model:
        model.advance(midnight, SAMPLE)
        nodes, links = model.all_nodes(), model.all_links()
        depth: list[list[float]] = []
        flow: list[list[float]] = []
        samples = timedelta(days=1) // SAMPLE
        for n in range(samples):
            model.advance(midnight + n * SAMPLE, SAMPLE)
            depth.append([model.level(node) for node in nodes])
            flow.append([model.flow(link) for link in links])
            if n * 24 % samples == 0:
                model.save(folder / f"{n * 24 // samples:02d}.hsf")
        np.savez_compressed(
            folder / "day.npz",
            nodes=np.array(nodes),
            links=np.array(links),
            depth=np.array(depth, np.float32),
            flow=np.array(flow, np.float32),
        )


def _at(day: NDArray[np.float32], local: datetime) -> float:
    seconds = local.hour * 3600 + local.minute * 60 + local.second
    place, share = divmod(seconds / SAMPLE.total_seconds(), 1)
    before, after = day[int(place) % len(day)], day[(int(place) + 1) % len(day)]
    return float(before + (after - before) * share)


def _open(inp: Path, folder: Path, local: datetime, hot_start: Path | None) -> Simulation:
    try:
        run = Simulation(str(inp), str(folder / "drainage.rpt"), str(folder / "drainage.out"))
    except MultiSimulationError:
        raise BusyError("another SWMM run is open in this process", where=str(inp)) from None
    except Exception as error:  # noqa: BLE001  # SWMM's toolkit raises nothing narrower
        raise _refused(inp, error) from None
    try:
        run.start_time = local
        run.end_time = local + _LONGEST
        run.report_start = local + _LONGEST  # nothing goes into the results file, however long this runs
        if hot_start is not None:
            run.use_hotstart(str(hot_start))
        with warnings.catch_warnings(action="ignore", category=SimulationContextWarning):
            run.start()  # not in a with block: the run lives as long as the model
    except Exception as error:  # noqa: BLE001  # as above
        run.close()
        raise _refused(inp, error) from None
    return run


def _refused(inp: Path, error: Exception) -> InputError:
    why = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"SWMM refuses it: {why}", where=str(inp), expected="a SWMM 5 input file")
