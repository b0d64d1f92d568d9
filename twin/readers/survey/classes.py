"""Which class of pipelines a row of a survey is about (CJJ 61-2017 annex B), and which system of the city that is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from twin import norms
from twin.asset import System

_SYSTEMS = {"JS": System.WATER, "PS": System.DRAINAGE, "RQ": System.GAS, "RL": System.HEAT}
_SERVICES = {"YS": "storm", "WS": "sanitary", "HS": "combined"}
_LETTERS = re.compile(r"^([A-Za-z]{2})(?:$|[^A-Za-z]|point|line)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Class:
    """A class or sub-class: its code (WS), its class's (PS), its name, its system (None: the city has none), service.

    `service` is sanitary, storm or combined of drains, else the name of the sub-class (中水, 天然气).
    """

    code: str
    group: str
    name: str
    system: System | None
    service: str | None


@cache
def classes() -> Mapping[str, Class]:
    """Return the classes and sub-classes of annex B by code; a class's code before a sub-class's."""
    found: dict[str, Class] = {}
    for row in norms.classes():
        system = _SYSTEMS.get(row.class_code)
        found[row.class_code] = Class(row.class_code, row.class_code, row.class_name, system, None)
    for row in norms.classes():
        system = _SYSTEMS.get(row.class_code)
        service = _SERVICES.get(row.code, None if system is System.DRAINAGE else row.name)
        found.setdefault(row.code, Class(row.code, row.class_code, row.name, system, service))
    return found


@cache
def named(word: str) -> Class | None:
    """Return the class that a sheet, file, point number, cell or annex F code names; None where it names none.

    >>> [found.name for word in ("WSPoint", "JS102", "给水管线", "rq_line") if (found := named(word))]
    ['污水', '给水', '给水', '燃气']
    """
    if code := norms.codes().get(word):
        return classes().get(code.pipe_class.partition("/")[2][:2])
    if (letters := _LETTERS.match(word)) and (found := classes().get(letters[1].upper())):
        return found
    by_name = {found.name: found for found in classes().values()}
    return next((by_name[name] for name in sorted(by_name, key=len, reverse=True) if name in word), None)
