"""Local placements of an IFC file, held to what can be followed: the geometry kernel dies of a circle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ifcopenshell
import ifcopenshell.util.placement

from twin.errors import InputError
from twin.readers.ifc.properties import StepId


def check_placements(file: ifcopenshell.file, path: Path) -> None:
    """Raise InputError E_FORMAT where a placement of `file` stands relative to itself, or on what is no axes."""
    for placement in file.by_type("IfcLocalPlacement"):
        try:
            ifcopenshell.util.placement.get_axis2placement(placement.RelativePlacement)
        except (AssertionError, AttributeError, TypeError, ValueError):  # no axes, no point, no three numbers
            raise InputError(
                "a placement has no axes with three numbers a point",
                where=f"{path} #{placement.id()}",
                expected="IfcAxis2Placement3D",
                code="E_FORMAT",
            ) from None
    circle = _in_circle(
        {
            placement.id(): parent.id()
            for placement in file.by_type("IfcObjectPlacement")
            if (parent := getattr(placement, "PlacementRelTo", None)) is not None
        }
    )
    if circle is not None:
        raise InputError(
            "a placement stands relative to itself",
            where=f"{path} #{circle}",
            expected="PlacementRelTo without a circle",
            code="E_FORMAT",
        )


def _in_circle(parents: Mapping[StepId, StepId]) -> StepId | None:
    """Return a step from which following `parents` has no end; None where there is none.

    >>> _in_circle({1: 2, 2: 3}), _in_circle({1: 2, 2: 3, 3: 2})
    (None, 2)
    """
    ended: set[StepId] = set()
    for start in parents:
        chain: set[StepId] = set()
        step = start
        while step in parents and step not in ended:
            if step in chain:
                return step
            chain.add(step)
            step = parents[step]
        ended |= chain
    return None
