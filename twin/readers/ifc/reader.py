"""IFC models (ISO 16739) as city assets: the spatial tree, elements, properties, ports, surfaces and placement."""

from __future__ import annotations

from pathlib import Path

import ifcopenshell
import numpy as np

from twin.errors import InputError
from twin.georeference import place
from twin.model import Issue, Model, ReadRequest
from twin.readers.ifc.anchor import anchor
from twin.readers.ifc.assets import IfcContent, buildings, elements, spaces, storeys
from twin.readers.ifc.file import IfcSource, is_ifc, open_ifc
from twin.readers.ifc.geometry import Geometry, geometry
from twin.readers.ifc.placement import check_placements
from twin.readers.ifc.properties import definitions, guid
from twin.readers.ifc.statements import project_unit_m, statements
from twin.readers.ifc.tree import Connections, connections, tree
from twin.readers.ifc.violation import first_violation
from twin.writers.glb import Surface, glb


class IfcReader:
    """The reader of IFC2X3, IFC4, IFC4X3 and its release candidates (entry point ``ifc``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether `path` is an IFC file, by name or first bytes."""
        return is_ifc(path)

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read `path` whole.

        Raises InputError with the codes of `open_ifc` and `check_placements`, and E_INVALID where the file breaks its
        schema so that it cannot be read.

        The kernel's own prints are kept off standard output by turning file descriptor 1 away meanwhile, so several
        files are read in processes, not threads.
        """
        opened = open_ifc(path)
        try:
            return _model(opened, path, request)
        except RecursionError:
            raise
        except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            # A number where the schema has a reference, and the like: the library hands out what is written.
            why = first_violation(opened.file)
            if why is None:
                raise
        # Past the block: nothing of the kernel's that the failed reading held lives on in a context of this error.
        raise InputError(
            f"breaks its schema, and could not be read: {why}",
            where=str(path),
            expected=f"a file that keeps to {opened.schema}",
            code="E_INVALID",
        )


def _model(opened: IfcSource, path: Path, request: ReadRequest) -> Model:
    check_placements(opened.file, path)
    said = definitions(opened.file)
    meshed = geometry(opened.file)
    joined = connections(opened.file)
    parents = tree(opened.file)
    unit = project_unit_m(opened.file)
    stated = statements(opened.file, said, anchor(opened.file, meshed, parents, unit))
    placement, frame = place(stated, city_crs=request.city_crs, file_crs=request.crs, bounds=request.bounds)
    content = IfcContent(request.source, opened.file, said, parents, joined, meshed, frame, unit)
    return Model(
        source=request.source,
        kind="ifc",
        placement=placement,
        buildings=buildings(content),
        storeys=storeys(content),
        spaces=spaces(content),
        elements=elements(content),
        mesh=_glb(opened.file, meshed, frame.anchor),
        issues=[*_about(opened), *meshed.issues],
        account=_account(opened, meshed, joined),
    )


def _glb(file: ifcopenshell.file, meshed: Geometry, anchor: tuple[float, float, float]) -> bytes | None:
    """Return the surfaces of everything but spaces, which would hide what stands in them."""
    table: list[tuple[str, str, str]] = []
    drawn: list[Surface] = []
    for step, surfaces in meshed.surfaces.items():
        product = file.by_id(step)
        if not surfaces or product.is_a("IfcSpatialElement" if file.schema != "IFC2X3" else "IfcSpace"):
            continue
        drawn.extend(
            Surface(len(table), each.colour, each.positions - np.array(anchor), each.normals, each.triangles)
            for each in surfaces
        )
        table.append((guid(product), product.is_a(), product.Name or ""))
    return glb(drawn, table)


def _about(opened: IfcSource) -> list[Issue]:
    issues: list[Issue] = []
    if opened.alias:
        issues.append(Issue("W_SCHEMA_ALIAS", f"{opened.schema} was read as {opened.alias}"))
    issues += [Issue("W_PARSE", remark) for remark in opened.remarks]
    if opened.encoding != "ascii":
        issues.append(
            Issue("W_ENCODING", f"strings hold raw {opened.encoding} bytes, which ISO 10303-21 does not allow")
        )
    nameless = [product for product in opened.file.by_type("IfcProduct") if not product.GlobalId]
    if nameless:
        shown = ", ".join(f"{product.is_a()} #{product.id()}" for product in nameless[:3])
        issues.append(Issue("W_GUID", f"{len(nameless)} products without a GlobalId go by their number: {shown}"))
    return issues


def _account(opened: IfcSource, meshed: Geometry, joined: Connections) -> dict[str, object]:
    return {
        "schema": opened.schema,
        "schema_alias": opened.alias,
        "products": meshed.products,
        "meshed": meshed.meshed,
        "empty": meshed.empty,
        "failed": meshed.failed,
        "excluded": dict(sorted(meshed.excluded.items())),
        "ports": joined.ports,
        "port_connections": joined.joints,
    }
