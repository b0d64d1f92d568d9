"""The origin of a model's mesh: its own zero, or a round point amid geometry that lies far from it."""

from __future__ import annotations

from collections.abc import Iterator

import ifcopenshell
import ifcopenshell.util.placement
import numpy as np
from ifcopenshell import entity_instance
from numpy.typing import NDArray

from twin.readers.ifc.geometry import Geometry
from twin.readers.ifc.tree import Tree

FAR_M = 4000.0
"""Geometry further than this from the model's zero gets a mesh with an origin of its own: beyond it single precision
no longer holds half a millimetre."""


def anchor(file: ifcopenshell.file, meshed: Geometry, tree: Tree, unit_m: float) -> tuple[float, float, float]:
    """Return the model's zero, or a whole-metre point amid what lies far from it, in the model's frame, metres.

    Where nothing was meshed, the starts of alignment segments count, and without these the products' placements.
    """
    found = _of_meshes(meshed)
    if not len(found):
        found = _of_alignments(file, tree, unit_m)
    if not len(found):
        found = _of_placements(file, unit_m)
    found = found[np.isfinite(found).all(axis=1)]
    if not len(found) or float(np.abs(found).max()) <= FAR_M:
        return (0.0, 0.0, 0.0)
    easting, northing, height = np.round((found.min(axis=0) + found.max(axis=0)) / 2).tolist()
    return (easting, northing, height)


def _of_meshes(meshed: Geometry) -> NDArray[np.float64]:
    corners = [
        corner
        for surfaces in meshed.surfaces.values()
        for surface in surfaces
        if len(surface.positions)
        for corner in (surface.positions.min(axis=0), surface.positions.max(axis=0))
    ]
    return np.array(corners).reshape(-1, 3)


def _of_alignments(file: ifcopenshell.file, tree: Tree, unit_m: float) -> NDArray[np.float64]:
    if file.schema != "IFC4X3":
        return np.empty((0, 3))
    return np.array(list(_starts(file, tree))).reshape(-1, 3) * unit_m


def _starts(file: ifcopenshell.file, tree: Tree) -> Iterator[NDArray[np.float64]]:
    for product in file.by_type("IfcAlignmentSegment"):
        design = product.DesignParameters
        if design is None or not design.is_a("IfcAlignmentHorizontalSegment") or design.StartPoint is None:
            continue
        start = [*design.StartPoint.Coordinates, 0.0, 0.0][:3]
        alignment = tree.ancestor(product, "IfcAlignment")
        yield (_matrix(alignment) @ np.array([*start, 1.0]))[:3]


def _of_placements(file: ifcopenshell.file, unit_m: float) -> NDArray[np.float64]:
    origins = [_matrix(product)[:3, 3] for product in file.by_type("IfcElement")]
    return np.array(origins).reshape(-1, 3) * unit_m


def _matrix(product: entity_instance | None) -> NDArray[np.float64]:
    """Return the placement of `product`, the identity where it has no local one."""
    placement = None if product is None else product.ObjectPlacement
    if placement is None or not placement.is_a("IfcLocalPlacement"):
        return np.eye(4)
    return ifcopenshell.util.placement.get_local_placement(placement)
