"""Loading IFC models into a city against ifcopenshell alone doing the same reads, in the same run.

Bare: open, property sets of every product, geometry of the same products with the same kernel and settings, kept in
memory. Load: what a warm worker and the city do, so read, hand over (pickled), write. Both are warm, alternate, and the
median of each counts; `load_ratio` is of wall time, `cpu_ratio` of user and system time, which neighbours on the
machine disturb less. The goal of 1.2 is for files that take the bare library 2 s or more (`counts`).

`parallel_gain`: all files through `twin.load.load` with one worker against two, start of the workers included.

    python benchmarks/ifc.py [--json] [--rounds N] [FILE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import ifcopenshell.util.element

from twin.model import Model, ReadRequest
from twin.readers.ifc.file import quiet_stdout
from twin.workers import read

FILES = (
    "arch_office_a_2x3.ifc",
    "mep_hvac_heating_4.ifc",
    "arch_schependomlaan_frames_2x3.ifc",
    "arch_fzk_haus_4.ifc",
)
DATA = Path(os.environ.get("CHENGMAI_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CITY_CRS = "EPSG:4549"
NOT_MESHED = ("IfcFeatureElementSubtraction", "IfcAnnotation", "IfcGrid", "IfcVirtualElement")
WORTH_S = 2.0


def bare(path: Path) -> int:
    """Read `path` with the library alone; return the number of shapes."""
    file = ifcopenshell.open(path)
    assert isinstance(file, ifcopenshell.file)
    products = list[Any](file.by_type("IfcProduct"))
    kept = [ifcopenshell.util.element.get_psets(product) for product in products]
    meshed = [
        product
        for product in products
        if product.Representation is not None and not any(product.is_a(kind) for kind in NOT_MESHED)
    ]
    settings = ifcopenshell.geom.settings()
    settings.set("weld-vertices", False)  # noqa: FBT003 - the library's signature
    with quiet_stdout():
        shapes = list(ifcopenshell.geom.iterator(settings, file, 1, include=meshed, geometry_library="opencascade"))
    return len(kept) and len(shapes)


def whole(path: Path) -> int:
    """Load `path` as a warm worker and the city do; return the number of products meshed."""
    from twin.city import City  # workers import this module too, and need no city

    outcome = read(path, ReadRequest(path.name, CITY_CRS))
    model: Model | None = pickle.loads(pickle.dumps(outcome.model, pickle.HIGHEST_PROTOCOL))
    if model is None:
        raise SystemExit(str(outcome.error))
    with tempfile.TemporaryDirectory() as folder, City.create(Path(folder) / "city.gpkg", CITY_CRS) as city:
        city.replace(model, datetime.now(UTC))
    return int(model.account["meshed"])


def spent(run: Callable[[Path], int], path: Path) -> tuple[float, float]:
    """Return wall seconds and processor seconds of one run."""
    wall, cpu = time.perf_counter(), time.process_time()
    run(path)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Return medians over alternating rounds, and their ratios."""
    runs = [(*spent(bare, path), *spent(whole, path)) for _ in range(rounds)]
    bare_s, bare_cpu_s, load_s, load_cpu_s = (statistics.median(times) for times in zip(*runs, strict=True))
    return {
        "load_ratio": round(load_s / bare_s, 3),
        "cpu_ratio": round(load_cpu_s / bare_cpu_s, 3),
        "bare_s": round(bare_s, 3),
        "load_s": round(load_s, 3),
        "counts": bare_cpu_s >= WORTH_S,
    }


def in_parallel(paths: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Return what two workers gain over one, median of alternating rounds, and the processor time of each way."""
    one: list[tuple[float, float]] = []
    two: list[tuple[float, float]] = []
    for _ in range(rounds):
        one.append(_loaded(paths, 1))
        two.append(_loaded(paths, 2))
    (wall_1, cpu_1), (wall_2, cpu_2) = (tuple(map(statistics.median, zip(*runs, strict=True))) for runs in (one, two))
    return {
        "parallel_gain": round(wall_1 / wall_2, 3),
        "one_worker": {"wall_s": round(wall_1, 3), "cpu_s": round(cpu_1, 3)},
        "two_workers": {"wall_s": round(wall_2, 3), "cpu_s": round(cpu_2, 3)},
    }


def _loaded(paths: Sequence[Path], workers: int) -> tuple[float, float]:
    """Load `paths` into a new city; return wall seconds, and processor seconds of this process and its workers."""
    from twin.city import City
    from twin.load import load

    with tempfile.TemporaryDirectory() as folder:
        city = Path(folder) / "city.gpkg"
        City.create(city, CITY_CRS).close()
        wall, cpu = time.perf_counter(), _cpu_s()
        load(paths, city, at=datetime.now(UTC), workers=workers)
        return time.perf_counter() - wall, _cpu_s() - cpu


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    paths = options.files or [DATA / "ifc" / name for name in FILES]
    whole(paths[0])  # imports and the kernel's plug-ins are loaded once, by whichever comes first
    results = {path.stem: measure(path, options.rounds) for path in paths}
    together = in_parallel(paths, options.rounds)
    others = round(os.getloadavg()[0], 1)
    if options.json:
        print(json.dumps({**results, **together, "load_average": others}))
        return
    for name, result in results.items():
        print(
            f"{name}: {result['load_ratio']:.2f} × bare ({result['load_s']:.2f} s / {result['bare_s']:.2f} s; "
            f"processor time {result['cpu_ratio']:.2f} ×)"
        )
    one, two = together["one_worker"], together["two_workers"]
    print(
        f"two workers: {together['parallel_gain']:.2f} × faster ({one['wall_s']:.2f} s / {two['wall_s']:.2f} s; "
        f"processor time {one['cpu_s']:.2f} s / {two['cpu_s']:.2f} s; load average {others})"
    )


if __name__ == "__main__":
    main()
