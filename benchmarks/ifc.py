"""Loading an IFC model through the reader against ifcopenshell alone doing the same reads, in the same run.

Bare: open, property sets of every product, geometry of every product with the same kernel and settings. Both are warm,
alternate, and the median of each counts. Absolute times are printed with the ratio; only the ratio travels.

    python benchmarks/ifc.py [--json] [--rounds N] [FILE ...]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import ifcopenshell
import ifcopenshell.geom
import ifcopenshell.util.element

from twin.model import ReadRequest
from twin.readers.ifc import IfcReader
from twin.readers.ifc_file import quiet_stdout

FILES = (
    "arch_office_a_2x3.ifc",
    "mep_hvac_heating_4.ifc",
    "arch_schependomlaan_frames_2x3.ifc",
    "arch_fzk_haus_4.ifc",
)
DATA = Path(os.environ.get("CHENGMAI_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def bare(path: Path) -> int:
    """Read `path` with the library alone; return the number of shapes."""
    file = ifcopenshell.open(path)
    assert isinstance(file, ifcopenshell.file)
    kept = [ifcopenshell.util.element.get_psets(product) for product in file.by_type("IfcProduct")]
    settings = ifcopenshell.geom.settings()
    settings.set("weld-vertices", False)  # noqa: FBT003 - the library's signature
    with quiet_stdout():
        shapes = list(ifcopenshell.geom.iterator(settings, file, 1, geometry_library="opencascade"))
    return len(kept) and len(shapes)


def whole(path: Path) -> int:
    """Read `path` as `chengmai load` does; return the number of products meshed."""
    return int(IfcReader().read(path, ReadRequest(path.name)).account["meshed"])


def seconds(run: Callable[[Path], int], path: Path) -> float:
    start = time.perf_counter()
    run(path)
    return time.perf_counter() - start


def measure(path: Path, rounds: int) -> dict[str, float]:
    """Return medians over alternating rounds, and their ratio."""
    pairs = [(seconds(bare, path), seconds(whole, path)) for _ in range(rounds)]
    bare_s, whole_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {"load_ratio": round(whole_s / bare_s, 3), "bare_s": round(bare_s, 3), "load_s": round(whole_s, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    paths = options.files or [DATA / "ifc" / name for name in FILES]
    whole(paths[0])  # imports and the kernel's plug-ins are loaded once, by whichever comes first
    results = {path.stem: measure(path, options.rounds) for path in paths}
    if options.json:
        print(json.dumps(results))
        return
    for name, result in results.items():
        print(f"{name}: {result['load_ratio']:.2f} × bare ({result['load_s']:.2f} s / {result['bare_s']:.2f} s)")


if __name__ == "__main__":
    main()
