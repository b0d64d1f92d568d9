"""Cross-sections of a SWMM file: heights and widths of standard, custom and irregular shapes and of streets, metres.

Rossman & Simon, SWMM User's Manual 5.2 (EPA/600/R-22/030), appendix D.2: [XSECTIONS], [TRANSECTS] (HEC-2 format, of
which X1 has a width factor in field 8 and an elevation offset in field 9), [STREETS], [CURVES] of type SHAPE.
"""

from __future__ import annotations

from collections.abc import Mapping

from twin.readers.draft import Draft
from twin.readers.inp import Inp, Line

_ONE_NUMBER = frozenset(
    (
        *("CIRCULAR", "FORCE_MAIN", "FILLED_CIRCULAR", "CUSTOM", "EGG", "HORSESHOE", "GOTHIC", "CATENARY"),
        *("SEMIELLIPTICAL", "BASKETHANDLE", "SEMICIRCULAR"),
    )
)
"""Shapes whose second number is no width."""


def add_sections(inp: Inp, length_m: float, links: Mapping[str, Draft]) -> None:
    """Give links the height and width of their sections; `length_m` is the file's unit of length.

    The numbers of the row stay in ``section_geometry``, in the file's units, and what they name in ``section``.
    """
    transects, streets, shapes = _transects(inp), _streets(inp), _shapes(inp)
    for line in inp.lines("XSECTIONS"):
        link = links.get(line.text(0, "link").upper())
        if link is None:
            continue
        shape = line.text(1, "shape").upper()
        link.properties["shape"] = shape.lower()
        link.properties["section_geometry"] = " ".join(line.words[2:])
        if shape in ("IRREGULAR", "STREET"):
            link.properties["section"] = line.maybe(2)
            height, width = (transects if shape == "IRREGULAR" else streets).get(line.maybe(2).upper(), (0.0, 0.0))
        elif shape == "DUMMY":
            height, width = 0.0, 0.0
        else:
            height = line.maybe_number(2, "height")
            width = 0.0 if shape in _ONE_NUMBER else line.maybe_number(3, "width")
            _note_barrels(line, link)
        if shape == "CUSTOM":
            link.properties["section"] = line.maybe(3)
            width = height * shapes.get(line.maybe(3).upper(), 0.0)
        link.diameter = height * length_m if height > 0 else None
        link.width = width * length_m if width > 0 else None


def _note_barrels(line: Line, link: Draft) -> None:
    if (barrels := line.maybe_number(6, "barrels", 1)) > 1:
        link.properties["barrels"] = int(barrels)


def _transects(inp: Inp) -> dict[str, tuple[float, float]]:
    """Return height and width of each transect, between its lowest and highest, its first and last station."""
    found: dict[str, tuple[float, float]] = {}
    name, factor = "", 1.0
    points: list[tuple[float, float]] = []
    for line in inp.lines("TRANSECTS"):
        card = line.text(0, "card").upper()
        if card == "X1":
            name, points = line.text(1, "transect").upper(), []
            factor = line.maybe_number(8, "width factor") or 1.0
        elif card == "GR" and name:
            for at in range(1, len(line.words) - 1, 2):
                points.append((line.number_at(at, "elevation"), line.number_at(at + 1, "station")))
            levels, stations = [level for level, _ in points], [station for _, station in points]
            if points:
                found[name] = max(levels) - min(levels), (max(stations) - min(stations)) * factor
    return found


def _streets(inp: Inp) -> dict[str, tuple[float, float]]:
    """Return height (of the curb) and width (of the road and its backing, on both sides or one) of each street."""
    return {
        line.text(0, "street").upper(): (
            line.maybe_number(2, "curb height"),
            (line.maybe_number(1, "road width") + line.maybe_number(8, "backing width"))
            * line.maybe_number(7, "sides", 2.0),
        )
        for line in inp.lines("STREETS")
    }


def _shapes(inp: Inp) -> dict[str, float]:
    """Return the largest width of each SHAPE curve, as a share of its height."""
    found: dict[str, float] = {}
    shape = ""
    for line in inp.lines("CURVES"):
        words = list(line.words[1:])
        if words and words[0][:1].isalpha():
            shape = line.text(0, "curve").upper() if words.pop(0).upper() == "SHAPE" else ""
        if shape and shape == line.text(0, "curve").upper():
            first = len(line.words) - len(words)
            for at in range(first + 1, len(line.words), 2):
                found[shape] = max(found.get(shape, 0.0), line.number_at(at, "width"))
    return found
