"""What the columns of a GIS layer mean: names in English and Chinese, CJJ 61's among them, and how values are read.

Names are compared in lower case without blanks and punctuation. CJJ 61-2017
(城市地下管线探测技术规程) gives pipe sizes in millimetres, ``DN300`` or width by height ``400X600``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from twin.asset import LinkKind, NodeKind, System, ZoneKind
from twin.model import LayerColumns
from twin.readers.mapping import UNITS

if TYPE_CHECKING:
    from twin.asset import Attribute

ALIASES: Mapping[str, Sequence[str]] = {
    "id": (
        *(
            "id",
            "编号",
            "管点编号",
            "管线编号",
            "管段编号",
            "物探点号",
            "expno",
            "图上点号",
            "mapno",
            "guid",
            "globalid",
        ),
        *("nodeid", "pointid", "linkid", "pipeid", "assetid", "facilityid", "objectid", "gid", "name", "名称"),
    ),
    "name": ("name", "名称", "标识", "label"),
    "kind": ("kind", "type", "类型", "facilityt"),
    "appurtenance": ("subsid", "附属物", "附属设施", "附属物名称"),
    "feature": ("feature", "特征", "管点特征", "点特征"),
    "service": ("service", "systemtype", "drainagetype", "排水类型", "类别"),
    "status": ("status", "ustatus", "使用状态", "状态", "initialstatus"),
    "material": ("material", "材质", "管材", "管线材料", "pipemat", "mat", "svconnmat"),
    "year": (
        "year",
        "建设年代",
        "埋设年代",
        "mdate",
        "建设年份",
        "installyear",
        "yearbuilt",
        "yearinstalled",
        "建成年份",
    ),
    "diameter_mm": ("diametermm", "dn", "管径", "管径或断面", "psize", "断面尺寸", "管径mm", "公称直径"),
    "diameter_m": ("diameterm", "管径m"),
    "diameter": ("diameter", "pipesize", "size", "svconnsize"),
    "length_m": ("lengthm", "length", "管长", "长度"),
    "from": (
        "from",
        "fromnode",
        "startnode",
        "startnodename",
        "sexp",
        "起点点号",
        "起点编号",
        "起始点号",
        "管线点预编号",
    ),
    "to": ("to", "tonode", "endnode", "endnodename", "eexp", "终点点号", "终点编号", "终止点号", "连接点号"),
    "start_level_m": ("startlevelm", "startlevel", "startinvert", "shigh", "起点高程", "起点管底高程"),
    "end_level_m": ("endlevelm", "endlevel", "endinvert", "ehigh", "终点高程", "终点管底高程"),
    "ground_m": ("groundm", "ground", "groundlevel", "地面高程", "地面", "high", "rim", "rimelevation", "coverlevel"),
    "invert_m": ("invertm", "invert", "invertlevel", "管底高程", "井底高程", "管底"),
    "elevation": ("elevation", "elev", "高程"),
    "start_depth_m": ("startdepthm", "sdeep", "起点埋深"),
    "end_depth_m": ("enddepthm", "edeep", "终点埋深"),
    "well_depth_m": ("welldepthm", "welldeep", "井深", "井底深"),
    "depth_m": ("depthm", "depth", "埋深"),
    "width_m": ("widthm", "断面宽"),
    "owner": ("owner", "belong", "权属", "权属单位", "产权单位", "管理单位"),
    "laying": ("laying", "embed", "埋设方式", "敷设方式"),
    "height_m": ("heightm", "height", "高度", "建筑高度"),
    "storeys": ("storeys", "stories", "floors", "层数", "楼层"),
    "usage": ("usage", "use", "用途", "facilityt"),
    "residents": ("residents", "pop", "population", "人口", "常住人口"),
}
"""Names of columns by what they mean; the first that is there is taken, a column means one thing only."""
_DIAMETERS = frozenset(("diameter", "diameter_m", "diameter_mm"))
_SURVEYED = frozenset(("sexp", "eexp", "expno", "psize", "embed", "ustatus", "subsid", "sdeep", "edeep", "mapno"))
"""Names that CJJ 61's tables have and others have not: codes in such a table are CJJ 61's."""

_NODE_WORDS = (
    (NodeKind.OUTFALL, ("outfall", "排出口", "排放口", "出水口", "排水口", "污水处理")),
    (NodeKind.INLET, ("catchbasin", "catch basin", "inlet", "雨水篦", "雨水口", "篦", "箅")),
    (NodeKind.MANHOLE, ("manhole", "检查井", "窨井", "人孔", "检修井")),
    (NodeKind.HYDRANT, ("hydrant", "消火栓", "消防栓", "消防井")),
    (NodeKind.METER, ("meter", "水表", "流量计", "燃气表", "计量")),
    (NodeKind.VALVE, ("valve", "阀", "闸门")),
    (NodeKind.REGULATOR, ("regulator", "调压")),
    (NodeKind.PUMP, ("pump", "泵")),
    (NodeKind.TANK, ("tank", "水池", "水塔", "水箱", "压力调节塔")),
    (NodeKind.RESERVOIR, ("reservoir", "水库")),
    (NodeKind.STORAGE, ("storage", "调蓄", "化粪池", "隔油池", "沉淀池", "净化池")),
    (NodeKind.SOURCE, ("source", "门站", "气源", "水源", "热源", "水厂出水", "锅炉房")),
    (NodeKind.CUSTOMER, ("customer", "用户")),
    (NodeKind.DIVIDER, ("divider", "分流")),
    (
        NodeKind.MANHOLE,
        (
            "污水井",
            "雨水井",
            "跌水井",
            "溢流井",
            "水封井",
            "沉泥井",
            "冲洗井",
            "通风井",
            "渗水井",
            "出气井",
            "地下井室",
        ),
    ),
)
_LINK_WORDS = (
    (LinkKind.SERVICE, ("service", "servcon", "接户", "入户")),
    (LinkKind.VALVE, ("valve", "阀")),
    (LinkKind.PUMP, ("pump", "泵")),
    (LinkKind.ORIFICE, ("orifice",)),
    (LinkKind.WEIR, ("weir", "堰")),
    (LinkKind.REGULATOR, ("regulator", "调压")),
    (LinkKind.COMPRESSOR, ("compressor", "压缩机")),
    (LinkKind.CONDUIT, ("conduit", "暗渠", "沟渠")),
)
_ZONE_WORDS = (
    (ZoneKind.DMA, ("dma", "metered", "计量")),
    (ZoneKind.SUBCATCHMENT, ("catchment", "汇水")),
    (ZoneKind.WATER_BODY, ("water_body", "river", "lake", "canal", "河流", "水系", "水体")),
    (ZoneKind.ROAD, ("road", "street", "道路", "街道")),
    (ZoneKind.DISTRICT, ("district", "zone", "分区", "片区")),
)
_BUILDING_WORDS = ("building", "bldg", "footprint", "house", "建筑", "房屋")
_SERVICE_WORDS = (
    ("combined", ("combined", "合流")),
    ("storm", ("storm", "雨水")),
    ("sanitary", ("sanitary", "wastewater", "sewage", "foul", "污水")),
)
_SYSTEM_WORDS = (
    (
        System.DRAINAGE,
        ("sewer", "sewage", "wastewater", "storm", "drain", "catchment", "manhole", "排水", "污水", "雨水"),
    ),
    (System.GAS, ("gas", "燃气", "天然气", "煤气")),
    (System.HEAT, ("heat", "steam", "热力", "供热")),
    (System.WATER, ("water", "hydrant", "dma", "basedemand", "minorloss", "给水", "供水", "消火栓")),
)
_SYSTEM_CODES = (
    (System.DRAINAGE, {"ps", "ws", "ys", "hs"}),
    (System.GAS, {"ng", "rq", "tr", "mq"}),
    (System.HEAT, {"rl"}),
    (System.WATER, {"js"}),
)
_SIZE = re.compile(r"^\s*(?:DN|D|Φ|φ)?\s*(\d+(?:\.\d+)?)\s*(?:[xX×*]\s*(\d+(?:\.\d+)?))?\s*(?:mm)?\s*$")
_YEAR = re.compile(r"\s*(1[89]\d\d|20\d\d)(?!\d)")
_LARGEST_M = 3.0
_INCH_STEP = 1 / 8
_SMALLEST_MM, _LARGEST_INCHES = 15.0, 144.0
"""A bare diameter column is in metres if it reaches no farther than the first and has a value that is no multiple of an
eighth (inches come in those); in millimetres if it lies above the third and passes the fourth."""


def plain(name: str) -> str:
    """Return a column's name as it is compared.

    >>> plain("Start_Node (name)")
    'startnodename'
    """
    return re.sub(r"[\W_]+", "", name.lower())


def understood(
    columns: Sequence[str], said: LayerColumns | None = None, aliases_of: Mapping[str, Sequence[str]] = ALIASES
) -> dict[str, str]:
    """Return which column means what: as `said`, else by its name; ``id`` is chosen by `identity` instead.

    A meaning that is said to be no column, or the same value for every row, is not looked for.
    """
    by_name = {plain(column): column for column in reversed(columns)}
    given = said or LayerColumns()
    meanings = {meaning: column for meaning, word in given.columns.items() if (column := _column(word, columns))}
    taken = set(meanings.values())
    settled = {*given.columns, *given.fixed}
    if settled & _DIAMETERS:  # one of the three is said: the others are no guess any more
        settled |= _DIAMETERS
    for meaning, aliases in aliases_of.items():
        if meaning in settled:
            continue
        column = next((by_name[a] for a in aliases if a in by_name and by_name[a] not in taken), None)
        if column is not None and meaning != "id":
            meanings[meaning] = column
            taken.add(column)
    return meanings


def _column(word: str, columns: Sequence[str]) -> str | None:
    """Return the column of this name, else the one that differs only in case, blanks or punctuation."""
    return word if word in columns else next((name for name in columns if word and plain(name) == plain(word)), None)


def is_survey(columns: Sequence[str]) -> bool:
    """Say whether a table's columns are named as CJJ 61 or a Chinese survey names them."""
    return any(plain(name) in _SURVEYED or not name.isascii() for name in columns)


def spelled(words: Sequence[str | None], names: Mapping[str, str]) -> tuple[list[str | None], bool]:
    """Return the names that codes stand for, and whether the words were such codes: all of them, or none is taken.

    >>> spelled(["PE", "QM", None], {"PE": "聚乙烯塑料", "QM": "球墨铸铁"})
    (['聚乙烯塑料', '球墨铸铁', None], True)
    """
    found = {word for word in words if word}
    if not found or not all(word.upper() in names or word in names.values() for word in found):
        return list(words), False
    return [names.get(word.upper(), word) if word else word for word in words], any(w.upper() in names for w in found)


def identity(frame: pd.DataFrame, said: LayerColumns | None = None) -> str | None:
    """Return the column that names each row once, None where there is none; the one that is `said` before others."""
    by_name = {plain(str(column)): str(column) for column in reversed(frame.columns)}
    word = said.columns.get("id") if said else None
    for alias in (plain(word), *ALIASES["id"]) if word else ALIASES["id"]:
        column = by_name.get(alias)
        if column is not None and frame[column].notna().all() and frame[column].is_unique:
            return column
    return None


@dataclass(frozen=True, slots=True)
class Sizes:
    """Pipe sizes in metres, NaN where there is none: diameter or height, and width where the section is not round."""

    height: np.ndarray
    width: np.ndarray
    doubt: str = ""


def sizes(values: pd.Series, unit: str) -> Sizes:
    """Return the sizes written in a column; `unit` is empty where nobody says it.

    Units are those of `twin.readers.mapping`. Without one, plain numbers are metres when none is above 3 and some are
    no multiple of 1/8 (inches come in those), millimetres when none is below 15 and some are above 144 (inches reach
    that), and else nobody knows: `doubt` says so and nothing is taken.

    >>> sizes(pd.Series(["DN300", "400X600"]), "mm").height.tolist()
    [0.3, 0.6]
    """
    found = [_SIZE.match(str(value)) if value is not None and value == value else None for value in values]  # noqa: PLR0124  # NaN
    first = np.array([float(m.group(1)) if m else np.nan for m in found])
    second = np.array([float(m.group(2)) if m and m.group(2) else np.nan for m in found])
    first[first == 0] = np.nan
    if not unit:
        unit, doubt = _size_unit(values, first)
        if doubt:
            nothing = np.full(len(values), np.nan)
            return Sizes(nothing, nothing, doubt)
    factor = UNITS[unit]
    boxed = ~np.isnan(second)
    odd = int(values.notna().sum()) - sum(m is not None for m in found)
    return Sizes(
        np.where(boxed, second, first) * factor,
        np.where(boxed, first, np.nan) * factor,
        f"{odd} values are no pipe sizes" if odd else "",
    )


def size_unit(values: pd.Series) -> str:
    """Return the unit that sizes are in by their values alone, mm or m; empty where nobody knows."""
    found = [_SIZE.match(str(value)) for value in values.dropna().tolist()]
    return _size_unit(values.dropna(), np.array([float(m.group(1)) for m in found if m and float(m.group(1))]))[0]


def _size_unit(values: pd.Series, numbers: np.ndarray) -> tuple[str, str]:
    named = values.astype(str).str.contains(r"DN|[xX×*]", regex=True).any()
    known = numbers[~np.isnan(numbers)]
    if named or (len(known) and known.min() >= _SMALLEST_MM and known.max() > _LARGEST_INCHES):
        return "mm", ""
    if len(known) and known.max() <= _LARGEST_M and (known % _INCH_STEP != 0).any():
        return "m", ""
    return "", "does not say its unit; kept as a property only"


def numbers(values: pd.Series) -> np.ndarray:
    """Return a column as floats, NaN where it has no number."""
    return pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)


def years(values: pd.Series) -> list[int | None]:
    """Return years out of numbers or dates; None where there is none between 1800 and 2100.

    >>> years(pd.Series(["2004-05-01", 1998, 0, None]))
    [2004, 1998, None, None]
    """
    return [year(str(value)) for value in values.tolist()]


def year(word: str) -> int | None:
    """Return the year that a word begins with, None where it begins with none between 1800 and 2100."""
    found = _YEAR.match(word)
    return int(found[1]) if found else None


def node_kind(words: str) -> NodeKind | None:
    """Return the kind of node that `words` name, None where they name none."""
    return _first(_NODE_WORDS, words)


def link_kind(words: str) -> LinkKind | None:
    """Return the kind of link that `words` name, None where they name none."""
    return _first(_LINK_WORDS, words)


def zone_kind(words: str) -> ZoneKind | None:
    """Return the kind of area that `words` name, None where they name none."""
    return _first(_ZONE_WORDS, words)


def is_building(words: str) -> bool:
    """Say whether `words` name buildings."""
    return any(word in words.lower() for word in _BUILDING_WORDS)


def service(words: str) -> str | None:
    """Return sanitary, storm or combined where `words` name one."""
    return _first(_SERVICE_WORDS, words)


def system(words: str) -> System | None:
    """Return the system that a name, or words out of a column, speak of; None where they speak of none.

    >>> system("kh_ng_pipelines"), system("Sewer pipe"), system("roads")
    (<System.GAS: 'gas'>, <System.DRAINAGE: 'drainage'>, None)
    """
    found = _first(_SYSTEM_WORDS, words)
    if found:
        return found
    codes = set(re.split(r"[^a-z]+", words.lower()))
    return next((named for named, known in _SYSTEM_CODES if known & codes), None)


def attributes(frame: pd.DataFrame) -> list[dict[str, Attribute]]:
    """Return each row's values as plain attributes; missing ones are left out."""
    names = [str(column) for column in frame.columns]
    columns = [[_attribute(value) for value in frame[column].tolist()] for column in frame.columns]
    rows = zip(*columns, strict=True) if columns else ((),) * len(frame)
    return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]


def _attribute(value: Any) -> Attribute:
    if isinstance(value, (str, bool, int)):
        return value
    if value is None or value is pd.NaT or value is pd.NA or value != value:  # noqa: PLR0124  # NaN
        return None
    if isinstance(value, float):
        return value
    return value.isoformat() if isinstance(value, pd.Timestamp) else str(value)


def _first(table: Any, words: str) -> Any:
    text = words.lower()
    return next((named for named, known in table if any(word in text for word in known)), None)
