"""What the text beside a pipe says plainly: its material and the year it was laid, ``球墨铸铁 2003``, ``DI 1998``.

EPANET and SWMM files have no field for either; modellers write them into descriptions and tags. Only what can be read
in one way is taken: one material that is known by name, one year that stands beside it, alone, or after a word for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from twin import norms
from twin.asset import Attribute

_ENGLISH = frozenset(
    (
        *("di", "ci", "dip", "cip", "ductile", "cast-iron", "steel", "galvanized", "galvanised", "copper", "concrete"),
        *("pvc", "upvc", "cpvc", "hdpe", "mdpe", "ldpe", "pe", "pe80", "pe100", "pp", "ppr", "abs", "grp", "frp"),
        *("ac", "asbestos-cement", "rcp", "vcp", "vc", "clay", "brick", "pccp", "hobas", "cmp", "prc"),
    )
)
_CHINESE = frozenset(
    (
        *("铸铁", "灰口铸铁", "球墨铸铁", "灰铸铁", "钢管", "镀锌钢管", "不锈钢", "不锈钢管", "无缝钢管", "焊接钢管"),
        *("混凝土管", "钢筋混凝土", "钢筋混凝土管", "砼", "砼管", "聚乙烯", "聚氯乙烯", "塑料", "塑料管", "玻璃钢管"),
        *("铸铁管", "球墨铸铁管", "石棉水泥", "陶土", "陶土管", "双壁波纹管", "预应力混凝土", "铝塑管", "铜管"),
    )
)
_YEAR = re.compile(r"(?:18[5-9]\d|19\d\d|20\d\d)年?")
_YEAR_WORDS = frozenset(("year", "laid", "installed", "built", "since", "建成", "建设", "敷设", "埋设", "投运", "年份"))


def described_material(properties: Mapping[str, Attribute]) -> str | None:
    """Return the one material that the description or else the tag names, as written; None for none or several."""
    for text in _texts(properties):
        found = {word for word in _words(text) if _is_material(word)}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def described_year(properties: Mapping[str, Attribute]) -> int | None:
    """Return the one year that the description or else the tag states plainly; None for none or several.

    >>> described_year({"description": "DI 1998 Main St"}), described_year({"description": "Highway 1998"})
    (1998, None)
    """
    for text in _texts(properties):
        words = _words(text)
        found = [index for index, word in enumerate(words) if _YEAR.fullmatch(word)]
        if len(found) == 1:
            [at] = found
            beside = {*words[max(at - 1, 0) : at], *words[at + 1 : at + 2]}
            plain = len(words) == 1 or any(_is_material(word) or word.lower() in _YEAR_WORDS for word in beside)
            return int(words[at][:4]) if plain else None
    return None


def _texts(properties: Mapping[str, Attribute]) -> list[str]:
    return [text for key in ("description", "tag") if isinstance(text := properties.get(key), str)]


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,;:/|_()=，；：、（）]+", text) if word]


def _is_material(word: str) -> bool:
    return word.lower() in _ENGLISH or word in _CHINESE or word in norms.materials().values()
