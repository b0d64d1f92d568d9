"""Codes of CJJ 61-2017 (城市地下管线探测技术规程) as tables that a person can read: each `.tsv` names its annex.

The tables are facts of the standard: classes of pipelines (annex B), materials, ways of laying and states of use
(annex C), features and appurtenances (annex F).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["PipeClass", "PointCode", "classes", "codes", "laying", "materials", "status"]


@dataclass(frozen=True, slots=True)
class PipeClass:
    """A sub-class of pipelines: its class (给水, JS) and its own name and code (原水, JY)."""

    class_name: str
    class_code: str
    name: str
    code: str


@dataclass(frozen=True, slots=True)
class PointCode:
    """An eight-digit code of annex F: what it stands for (检查井) and of which sub-class.

    `geometry` is point, line, area or empty (其他); `kind` is 特征, 附属物 or empty.
    """

    code: str
    name: str
    pipe_class: str
    geometry: str
    kind: str


@cache
def classes() -> Sequence[PipeClass]:
    """Return the sub-classes of annex B."""
    return tuple(
        PipeClass(row["class_name"], row["class_code"], row["sub_name"], row["sub_code"]) for row in _rows("classes")
    )


@cache
def codes() -> Mapping[str, PointCode]:
    """Return annex F by code (water supply and drainage; the other classes' parts are not in the table)."""
    return {
        row["code"]: PointCode(row["code"], row["name"], row["class"], row["geom"].strip("0"), row["point_kind"] or "")
        for row in _rows("codes")
    }


@cache
def materials() -> Mapping[str, str]:
    """Return annex C's materials: name by code.

    >>> materials()["QM"]
    '球墨铸铁'
    """
    return _named("materials")


@cache
def laying() -> Mapping[str, str]:
    """Return annex C's ways of laying: name by code.

    >>> laying()["XTD"]
    '小通道'
    """
    return _named("laying")


@cache
def status() -> Mapping[str, str]:
    """Return annex C's states of use: name by code.

    >>> status()["1"]
    '废弃'
    """
    return _named("status")


def _named(table: str) -> Mapping[str, str]:
    return {row["code"]: row["name"] for row in _rows(table)}


def _rows(table: str) -> Sequence[dict[str, str]]:
    text = files(__name__).joinpath(f"{table}.tsv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines, delimiter="\t"))
