"""Surfaces of an IFC file's products, and an account of every product: meshed, empty, failed or excluded.

The OpenCASCADE kernel does the meshing; the faster ones are silently wrong on some products. Each representation is
meshed once in its own frame and placed by a matrix: with world coordinates the library meshes every instance anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import numpy as np
from ifcopenshell import entity_instance
from numpy.typing import NDArray

from twin.model import Issue
from twin.readers.ifc.file import quiet_stdout
from twin.readers.ifc.properties import StepId, guid
from twin.writers.glb import Colour, Surface

KERNEL = "opencascade"
GREY: Colour = (0.7, 0.7, 0.7, 1.0)

EXCLUDED_CLASSES = {
    "IfcFeatureElementSubtraction": "opening",  # seen in the element that it cuts
    "IfcAlignment": "alignment",  # its curve can keep the kernel busy for minutes
    "IfcLinearElement": "alignment",
    "IfcLinearPositioningElement": "alignment",
    "IfcPositioningElement": "positioning",  # IFC4X3: grids, referents
    "IfcGrid": "grid",
    "IfcAnnotation": "annotation",
    "IfcVirtualElement": "virtual element",
}
WITHOUT_SURFACE = frozenset(
    {
        "Annotation2D",
        "BoundingBox",
        "Box",
        "Curve",
        "Curve2D",
        "Curve3D",
        "GeometricCurveSet",
        "Point",
        "PointCloud",
        "Segment",
    }
)
"""Values of IfcShapeRepresentation.RepresentationType that describe no surface (IFC 4.3, IfcShapeRepresentation)."""
NOT_THE_BODY = frozenset({"Axis", "Box", "FootPrint", "Profile", "Reference", "CoG"})
"""Values of IfcShapeRepresentation.RepresentationIdentifier that stand beside the body (IFC 4.3, same clause)."""


@dataclass(slots=True)
class Geometry:
    """Surfaces by the product's step id, placement matrices, and what became of each product.

    `surfaces[step]` are in the model's frame, metres, z up, their `element` the product's number in order of meshing;
    `origins[step]` is where the product's placement puts its own origin, metres.
    """

    surfaces: dict[StepId, list[Surface]] = field(default_factory=dict[StepId, list[Surface]])
    origins: dict[StepId, NDArray[np.float64]] = field(default_factory=dict[StepId, NDArray[np.float64]])
    products: int = 0
    meshed: int = 0
    empty: int = 0
    failed: int = 0
    excluded: Counter[str] = field(default_factory=Counter[str])
    issues: list[Issue] = field(default_factory=list[Issue])


def geometry(file: ifcopenshell.file) -> Geometry:
    """Mesh every product of `file` that has a body, and count each of the others with its reason."""
    result = Geometry()
    todo: dict[StepId, entity_instance] = {}
    barred = _barred(file)
    for product in file.by_type("IfcProduct"):
        result.products += 1
        reason = barred.get(product.is_a()) or _without_body(product)
        if reason:
            result.excluded[reason] += 1
        else:
            todo[product.id()] = product
    if todo:
        with quiet_stdout():
            _mesh(file, todo, result)
    return result


def _barred(file: ifcopenshell.file) -> dict[str, str]:
    """Return class → reason for each class of `file` that is not meshed whatever it holds."""
    reasons: dict[str, str] = {}
    for parent, reason in EXCLUDED_CLASSES.items():
        try:
            instances = file.by_type(parent)
        except RuntimeError:  # the class is not in this schema
            continue
        for instance in instances:
            reasons.setdefault(instance.is_a(), reason)
    return reasons


def _without_body(product: entity_instance) -> str:
    parts = _representations(product)
    if not parts:
        return "no representation"
    return "" if any(_is_body(part) for part in parts) else "no body"


def _representations(product: entity_instance) -> Sequence[entity_instance]:
    shape = product.Representation
    return (shape.Representations or ()) if shape is not None else ()


def _is_body(part: entity_instance) -> bool:
    if part.RepresentationIdentifier in NOT_THE_BODY or part.RepresentationType in WITHOUT_SURFACE:
        return False
    return bool(part.Items)


def _mesh(file: ifcopenshell.file, todo: Mapping[StepId, entity_instance], result: Geometry) -> None:
    settings = ifcopenshell.geom.settings()
    settings.set("weld-vertices", False)  # noqa: FBT003 - the library's signature; vertices stay apart at edges, so that normals are the kernel's own
    shapes = _Shapes()
    returned: Counter[StepId] = Counter()
    for shape in _iterate(settings, file, list(todo.values())):
        returned[shape.id] += 1
        shapes.take(shape, result)  # a product with two bodies comes twice
    for step, product in todo.items():
        if returned[step]:
            _count(product, result)
            _hold_to_bodies(product, returned[step], result)
        else:
            _mesh_alone(settings, product, shapes, result)


def _hold_to_bodies(product: entity_instance, returned: int, result: Geometry) -> None:
    """Tell of a product that is there with some of its bodies only: it counts as meshed all the same."""
    bodies = sum(part.RepresentationIdentifier == "Body" and _is_body(part) for part in _representations(product))
    if returned < bodies:
        missing = f"{product.is_a()}: {bodies - returned} of its {bodies} bodies could not be meshed"
        result.issues.append(Issue("W_GEOMETRY", missing, guid(product)))


def _iterate(settings: Any, file: ifcopenshell.file, products: list[entity_instance]) -> Iterator[Any]:
    iterator = ifcopenshell.geom.iterator(settings, file, 1, include=products, geometry_library=KERNEL)
    yield from iterator


def _mesh_alone(settings: Any, product: entity_instance, shapes: _Shapes, result: Geometry) -> None:
    """Try a product that the iterator passed over, to learn why; what it does give counts like any other."""
    try:
        shape = ifcopenshell.geom.create_shape(settings, product, geometry_library=KERNEL)
    except RuntimeError as error:
        result.failed += 1
        reason = str(error).partition(". Product:")[0].strip()
        result.issues.append(Issue("E_GEOMETRY", f"{product.is_a()}: {reason}", guid(product)))
        return
    shapes.take(shape, result)
    _count(product, result)


def _count(product: entity_instance, result: Geometry) -> None:
    if result.surfaces.get(product.id()):
        result.meshed += 1
        return
    result.empty += 1
    result.issues.append(
        Issue(
            "E_EMPTY_GEOMETRY",
            f"{product.is_a()}: its body has no surface, or its openings leave none",
            guid(product),
        )
    )


@dataclass(frozen=True, slots=True)
class _Patch:
    """The triangles of one colour of a shared shape, in the shape's own frame."""

    colour: Colour
    positions: NDArray[np.float64]
    normals: NDArray[np.float64]
    triangles: NDArray[np.int32]


@dataclass(slots=True)
class _Shapes:
    """Meshes already read out of the library, by its name of the shape, and the number of products met so far."""

    read: dict[str, list[_Patch]] = field(default_factory=dict[str, list[_Patch]])
    numbers: dict[StepId, int] = field(default_factory=dict[StepId, int])

    def take(self, shape: Any, result: Geometry) -> None:
        """Place `shape` in the model's frame and keep it with its product."""
        mesh = shape.geometry
        patches = self.read.get(mesh.id)
        if patches is None:
            patches = self.read[mesh.id] = list(_patches(mesh))
        # The library hands the matrix out column by column.
        matrix = np.frombuffer(shape.transformation_buffer, np.float64).reshape(4, 4).T
        rotation, origin = matrix[:3, :3], matrix[:3, 3]
        mirrored = float(np.linalg.det(rotation)) < 0
        number = self.numbers.setdefault(shape.id, len(self.numbers))
        result.origins[shape.id] = origin
        result.surfaces.setdefault(shape.id, []).extend(
            Surface(
                number,
                patch.colour,
                patch.positions @ rotation.T + origin,
                patch.normals @ rotation.T,
                patch.triangles[:, ::-1] if mirrored else patch.triangles,
            )
            for patch in patches
        )


def _patches(mesh: Any) -> Iterator[_Patch]:
    triangles = np.frombuffer(mesh.faces_buffer, np.int32).reshape(-1, 3)
    if not len(triangles):
        return
    positions = np.frombuffer(mesh.verts_buffer, np.float64).reshape(-1, 3)
    normals = np.frombuffer(mesh.normals_buffer, np.float64).reshape(-1, 3)
    if len(normals) != len(positions):  # the kernel gives none for faces given as triangles
        positions, normals, triangles = _flat(positions, triangles)
    colours = [_colour(style) for style in mesh.materials]
    materials = np.frombuffer(mesh.material_ids_buffer, np.int32)
    numbers = np.unique(materials)
    for number in numbers.tolist():
        colour = colours[number] if 0 <= number < len(colours) else GREY
        if len(numbers) == 1:
            yield _Patch(colour, positions, normals, triangles)
        else:
            used, corners = np.unique(triangles[materials == number], return_inverse=True)
            yield _Patch(colour, positions[used], normals[used], corners.reshape(-1, 3).astype(np.int32))


def _flat(
    positions: NDArray[np.float64], triangles: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Give each triangle corners of its own, with the triangle's normal."""
    corners = positions[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    numbers = np.arange(triangles.size, dtype=np.int32).reshape(-1, 3)
    return corners.reshape(-1, 3), np.repeat(normals, 3, axis=0), numbers


def _colour(style: Any) -> Colour:
    diffuse = style.diffuse
    red, green, blue = diffuse.r(), diffuse.g(), diffuse.b()
    if not (red == red and green == green and blue == blue):  # noqa: PLR0124 - NaN where the file states no colour
        return GREY
    opacity = 1.0 - style.transparency if style.has_transparency() else 1.0
    return (round(red, 3), round(green, 3), round(blue, 3), round(min(max(opacity, 0.05), 1.0), 2))
