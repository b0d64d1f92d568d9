"""Survey tables of a part of the sample district, as a surveyor hands them in (CJJ 61): workbook, GBK CSV, field book.

``python -m sample_models.survey FOLDER [SEED]`` writes ``survey.xlsx`` (a sheet of points and one of lines a class),
the same tables as ``csv/JSPoint.csv`` … in GBK, and ``fieldbook.xlsx`` (two rows of head, a blank point number repeats
the one above). X is the northing, Y the easting. The street lights in it are no system of the city.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import random
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl

from sample_models.buildings import make_blocks
from sample_models.drainage import make_drainage
from sample_models.gas import make_gas
from sample_models.pipes import Net, Node, Pipe
from sample_models.streets import make_streets
from sample_models.water import make_water

RADIUS_M = 260.0
"""How far from its first crossing the district was surveyed."""
POINT_HEAD = ("Exp_No", "Map_No", "X", "Y", "High", "Feature", "Subsid", "WellDeep", "Belong", "MDate", "Road")
LINE_HEAD = (
    *("S_EXP", "E_EXP", "S_DEEP", "E_DEEP", "S_HIGH", "E_HIGH", "MATERIAL", "PSIZE", "PRESSURE", "FLOWDIR", "EMBED"),
    *("MDATE", "BELONG", "USTATUS"),
)
BOOK_HEADS = (
    (
        *("管线点预编号", "连接点号", "埋设方式", "管线材料", "管径或断面", "特征", "附属物", "坐标(m)", None),
        *("高程(m)", None, None, "埋深(m)"),
    ),
    (None, None, None, None, None, None, None, "X", "Y", "地面", "管顶", "管底", None),
)
_MATERIALS = {"球墨铸铁": "QM", "灰口铸铁": "ZT", "铸铁": "ZT", "钢": "G", "混凝土": "T", "PE": "PE", "PVC": "PVC"}
_APPURTENANCES = {
    "manhole": "检查井",
    "inlet": "雨水箅",
    "hydrant": "消防栓",
    "valve": "阀门",
    "meter": "水表",
    "regulator": "调压箱",
    "storage": "排水泵站",
}
_FEATURES = {1: "预留口", 2: "转折点", 3: "三通", 4: "四通"}
_LIGHTS = 3
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Table:
    """A sheet: its name, the rows of its head, its rows."""

    name: str
    heads: Sequence[Sequence[Any]]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """The surveyed part of a network: nodes and pipes by their class, and how far above its end a drain arrives."""

    of: str
    nodes: Sequence[Node]
    pipes: Sequence[Pipe]
    drops: Mapping[str, float]

    def end_levels(self, pipe: Pipe) -> tuple[float, float]:
        """Return what is measured at both ends: the inside bottom of drains, the top of other pipes."""
        by_name = {node.name: node for node in self.nodes}
        start, end = by_name[pipe.start].level_m, by_name[pipe.end].level_m + self.drops.get(pipe.name, 0.0)
        rise = 0.0 if self.of in ("WS", "YS") else pipe.diameter_mm / 2000
        return round(start + rise, 3), round(end + rise, 3)


def make_survey(folder: Path, *, seed: int = 7) -> list[Path]:
    """Write the tables into `folder` (made where it is missing) and return the files, the same bytes for a seed."""
    parts = surveyed(seed)
    tables = [table for part in parts for table in (points_of(part), lines_of(part))]
    files = {"survey.xlsx": workbook([*tables, *_lights(parts[0])]), "fieldbook.xlsx": workbook([book_of(parts[1])])}
    files |= {f"csv/{table.name}.csv": text(table).encode("gbk") for table in tables}
    (folder / "csv").mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def surveyed(seed: int = 7) -> list[Part]:
    """Return the surveyed parts of the water (JS), sanitary (WS), storm (YS) and gas (RQ) networks."""
    streets = make_streets(random.Random(seed))
    blocks = make_blocks(streets, random.Random(seed + 1))
    water = make_water(streets, blocks, random.Random(seed + 2)).net
    drainage = make_drainage(streets, blocks)
    gas = make_gas(streets, blocks, random.Random(seed + 3))
    centre = next(iter(drainage.net.nodes.values())).xy
    parts: list[Part] = []
    for of, net, grade in (
        ("JS", water, ""),
        ("WS", drainage.net, "sanitary"),
        ("YS", drainage.net, "storm"),
        ("RQ", gas, ""),
    ):
        drops = drainage.drops if net is drainage.net else {}
        parts.append(_part(of, net, grade, centre, drops))
    return parts


def _part(of: str, net: Net, grade: str, centre: tuple[float, float], drops: Mapping[str, float]) -> Part:
    near = {
        name: node
        for name, node in net.nodes.items()
        if math.dist(node.xy, centre) < RADIUS_M and (not grade or node.grade == grade)
    }
    pipes = [p for p in net.pipes if p.start in near and p.end in near and p.diameter_mm and p.kind != "pump"]
    used = {end for pipe in pipes for end in (pipe.start, pipe.end)}
    return Part(of, [node for name, node in near.items() if name in used], pipes, drops)


def points_of(part: Part) -> Table:
    """Return the sheet of points."""
    degree = Counter(end for pipe in part.pipes for end in (pipe.start, pipe.end))
    valves = {
        end for pipe in part.pipes if pipe.kind == "valve" for end in (pipe.start, pipe.end) if end.startswith("JV")
    }
    rows = [
        (
            node.name,
            f"{part.of}{number}",
            node.xy[1],
            node.xy[0],
            node.ground_m,
            *((None, "阀门") if node.name in valves else _what(node, degree[node.name])),
            round(node.ground_m - node.level_m, 2) if node.kind == "manhole" else None,
            "河湾片区",
            None,
            node.place,
        )
        for number, node in enumerate(part.nodes, start=1)
    ]
    return Table(f"{part.of}Point", (POINT_HEAD,), rows)


def lines_of(part: Part) -> Table:
    """Return the sheet of lines; every fifth pipe is written against its flow (FLOWDIR 1)."""
    ground = {node.name: node.ground_m for node in part.nodes}
    rows: list[Sequence[Any]] = []
    for number, pipe in enumerate(part.pipes):
        ends = [(name, level) for name, level in zip((pipe.start, pipe.end), part.end_levels(pipe), strict=True)]
        if against := number % 5 == 4:
            ends.reverse()
        depths = [round(ground[name] - level, 2) for name, level in ends]
        rows.append(
            (
                *(name for name, _ in ends),
                *depths,
                *(level for _, level in ends),
                _MATERIALS.get(pipe.material, pipe.material),
                f"DN{pipe.diameter_mm}",
                pipe.grade if part.of == "RQ" else None,
                int(against),
                "ZM",
                f"{pipe.year}-06-01",
                "河湾片区",
                0,
            )
        )
    return Table(f"{part.of}Line", (LINE_HEAD,), rows)


def book_of(part: Part) -> Table:
    """Return the field book of a drain: a row a pipe at each point, the point's number in the first of them only."""
    degree = Counter(end for pipe in part.pipes for end in (pipe.start, pipe.end))
    rows: list[Sequence[Any]] = []
    for node in part.nodes:
        met = [pipe for pipe in part.pipes if node.name in (pipe.start, pipe.end)]
        for number, pipe in enumerate(met):
            first = number == 0
            at_start = pipe.start == node.name
            level = part.end_levels(pipe)[0 if at_start else 1]
            place = (node.xy[1], node.xy[0], node.ground_m) if first else (None, None, None)
            rows.append(
                (
                    node.name if first else None,
                    pipe.end if at_start else pipe.start,
                    "直埋",
                    pipe.material,
                    f"DN{pipe.diameter_mm}",
                    *(_what(node, degree[node.name]) if first else (None, None)),
                    *place,
                    None,
                    level,
                    round(node.ground_m - level, 2),
                )
            )
    title = (f"地下管线探测记录表 {part.of}",)
    return Table(part.of, (title, *BOOK_HEADS), [*rows, (), ("探测单位：河湾测绘队（虚构）",)])


def workbook(tables: Sequence[Table]) -> bytes:
    """Return a workbook with a sheet a table, the same bytes each time."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for table in tables:
        sheet = book.create_sheet(table.name)
        for row in (*table.heads, *table.rows):
            sheet.append(list(row))
    made = io.BytesIO()
    book.save(made)
    out = io.BytesIO()
    with zipfile.ZipFile(made) as written, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as fixed:
        for info in written.infolist():
            data = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"1980-01-01T00:00:00Z", written.read(info))
            fixed.writestr(zipfile.ZipInfo(info.filename, _FIXED_DATE), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def text(table: Table) -> str:
    """Return a table as CSV."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([*table.heads, *table.rows])
    return out.getvalue()


def _what(node: Node, degree: int) -> tuple[str | None, str | None]:
    """Return feature (特征) and appurtenance (附属物); a point has one of them."""
    if node.kind == "outfall":
        return "出水口", None
    if appurtenance := _APPURTENANCES.get(node.kind):
        return None, appurtenance
    return _FEATURES.get(degree, "转折点"), None


def _lights(part: Part) -> list[Table]:
    """Return a few street lights and their cables (LD, class DL)."""
    nodes = part.nodes[:_LIGHTS]
    blank = (None,) * (len(POINT_HEAD) - 5)
    points = [(f"LD{n}", f"LD{n}", node.xy[1] + 3, node.xy[0], node.ground_m, *blank) for n, node in enumerate(nodes)]
    lines = [(f"LD{n}", f"LD{n + 1}", *(None,) * (len(LINE_HEAD) - 2)) for n in range(_LIGHTS - 1)]
    return [Table("LDPoint", (POINT_HEAD,), points), Table("LDLine", (LINE_HEAD,), lines)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m sample_models.survey", description="Make sample survey tables.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("seed", type=int, nargs="?", default=7)
    given = parser.parse_args()
    for made_file in make_survey(given.folder, seed=given.seed):
        print(made_file)  # noqa: T201  # what the caller asked for
