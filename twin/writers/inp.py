"""Input files of EPANET and SWMM as text: sections of rows, names that the engines take, and the file's remainder.

Numbers have twelve significant digits, so that a value which was converted to SI comes back as it was written;
coordinates have all that they have.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from twin.asset import AssetId, Link, Node
from twin.model import Decision, Model
from twin.network import OUT_OF_USE, SHUT

FIRST = ("", "TITLE")
"""Sections of the remainder that stand before the network's; EPANET's options may name nodes, and so come after it."""
DRAWN = frozenset(("LABELS", "BACKDROP", "MAP", "SYMBOLS"))
"""Sections of the remainder that have coordinates of the file's own."""

LONGEST_NAME = 31
"""Bytes of a name in EPANET (EN_MAXID)."""

_HEADER = re.compile(r"^[ \t]*\[([^\]\n]*)\]?.*$", re.MULTILINE)
_UNFIT = re.compile(r"[\s;\"\[\]]+")

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Written:
    """An input file: bytes (UTF-8), how many assets it holds, a line for what was left out or taken as a default."""

    data: bytes
    counts: Mapping[str, int]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Remainder:
    """What an input file says and no asset holds: each section's name (none before the first) and whole text."""

    sections: Sequence[tuple[str, str]]

    @staticmethod
    def of(model: Model, kind: str, default: str) -> Remainder:
        """Return the model's remainder if it came from a file of `kind`, else that of the text `default`."""
        text = zlib.decompress(model.remainder).decode() if has_remainder(model, kind) and model.remainder else default
        heads = list(_HEADER.finditer(text))
        first = text[: heads[0].start()] if heads else text
        ends = [head.start() for head in heads[1:]] + [len(text)]
        parts = [(head[1].strip().upper(), text[head.start() : end]) for head, end in zip(heads, ends, strict=False)]
        return Remainder((("", first), *parts))

    @property
    def text(self) -> str:
        """The text of all sections."""
        return "".join(text for _, text in self.sections)

    def around(self, model: Model, network: Iterable[str], notes: list[str]) -> bytes:
        """Return the file: the first sections, those of the `network`, then all others.

        Sections with coordinates of the file's own are left out where the network was brought to other ones.
        """
        moved = model.placement.decision is Decision.PLACED and model.placement.accuracy_m != 0.0
        left = sorted({name for name, text in self.sections if name in DRAWN and moved and len(text.splitlines()) > 1})
        if left:
            notes.append(f"[{'], ['.join(left)}] left out: in other coordinates than the city's")
        kept = [(name, text.strip("\n")) for name, text in self.sections if name not in left and text.strip()]
        before = [text for name, text in kept if name in FIRST]
        after = [text for name, text in kept if name not in FIRST]
        return ("\n\n".join((*before, *network, *after)) + "\n").encode()


def has_remainder(model: Model, kind: str) -> bool:
    """Say whether the model brings what a file of `kind` said beyond its assets."""
    return model.kind == kind and model.remainder is not None


def section(name: str, columns: str, rows: Iterable[Row]) -> list[str]:
    """Return the section as a list of its text, empty where it has no rows."""
    lines = ["\t".join(row) for row in rows]
    return ["\n".join((f"[{name}]", f";;{columns}", *lines))] if lines else []


def number(value: float) -> str:
    """Return a number with twelve significant digits.

    >>> number(0.1 + 0.2), number(12 * 0.0254 / 0.0254), number(3350177.74101)
    ('0.3', '12', '3350177.74101')
    """
    return format(value, ".12g")


def is_shut(asset: Node | Link) -> bool:
    """Say whether the status of a valve or pipe lets nothing through."""
    return (asset.status or "").strip().lower() in SHUT


def is_out_of_use(link: Link) -> bool:
    """Say whether a link is a pipe that carries nothing any more."""
    return (link.status or "").strip().lower() in OUT_OF_USE


def described(row: Row, asset: Node | Link) -> Row:
    """Return `row` with the asset's description as the comment that ends it."""
    description = asset.properties.get("description")
    return (*row, f";{description}") if description else row


def names(assets: Iterable[Node | Link], fit: Callable[[str], str], key: Callable[[str], str]) -> dict[AssetId, str]:
    """Return a name for each asset that is its own under `key`: the asset's name as `fit` makes it fit for the engine.

    A name that is taken gets a number, within as many bytes as EPANET takes.
    """
    given: dict[AssetId, str] = {}
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    for asset in assets:
        name = wanted = fit(asset.name or asset.id)
        while key(name) in taken:
            counts[wanted] += 1
            number = f"_{counts[wanted] + 1}"
            name = wanted.encode()[: LONGEST_NAME - len(number)].decode(errors="ignore") + number
        taken.add(key(name))
        given[asset.id] = name
    return given


def plain_name(name: str) -> str:
    """Return a name without what would end it in an input file: blanks, semicolons, quotation marks, brackets.

    >>> plain_name("P 101;a")
    'P_101_a'
    """
    return _UNFIT.sub("_", name)


def coordinates(nodes: Iterable[Node], named: Mapping[AssetId, str]) -> list[str]:
    """Return [COORDINATES]; nodes without a point have none."""
    rows = [
        (named[node.id], repr(node.point.x), repr(node.point.y)) for node in nodes if not shapely.is_empty(node.point)
    ]
    return section("COORDINATES", "node\tx\ty", rows)


def vertices(links: Iterable[Link], nodes: Mapping[AssetId, Node], named: Mapping[AssetId, str]) -> list[str]:
    """Return [VERTICES]: the corners of each link that are not its ends' points."""
    rows: list[Row] = []
    for link in links:
        corners = shapely.get_coordinates(link.line)
        for end, at in ((link.start, 0), (link.end, -1)):
            point = nodes[end].point if end is not None and end in nodes else None
            if len(corners) and point is not None and not point.is_empty and _meets(corners[at], point.x, point.y):
                corners = np.delete(corners, at, axis=0)
        rows += [(named[link.id], repr(x), repr(y)) for x, y in corners.tolist()]
    return section("VERTICES", "link\tx\ty", rows)


def _meets(corner: np.ndarray, x: float, y: float) -> bool:
    return bool(np.hypot(corner[0] - x, corner[1] - y) < 1e-3)


def level_of(node: Node) -> float | None:
    """Return the level of a node's pipe: its invert, else the ground less its depth, else the height of its point."""
    if node.invert_m is not None:
        return node.invert_m
    if node.ground_m is not None:
        return node.ground_m - (node.depth_m or 0.0)
    return float(node.point.z) if node.point.has_z else None


def numeric(asset: Node | Link, name: str, default: float = 0.0) -> float:
    """Return a property that is a number, `default` where the asset has none of that name."""
    value = asset.properties.get(name)
    return float(value) if isinstance(value, int | float) else default


def word(asset: Node | Link, name: str, default: str = "") -> str:
    """Return a property that is text, `default` where the asset has none of that name."""
    value = asset.properties.get(name)
    return value if isinstance(value, str) and value else default
