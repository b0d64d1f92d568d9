"""What an IFC file associates with its objects and types: materials, classifications, systems, each walked once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import ifcopenshell
from ifcopenshell import entity_instance

NO_SUPPLY = ("IfcZone", "IfcStructuralAnalysisModel")
"""Kinds of IfcSystem that are no system of a building."""

# A material set's class and the attributes with its parts; subclasses before their parents.
_PARTS = (
    ("IfcMaterialLayerSetUsage", "ForLayerSet"),
    ("IfcMaterialLayerSet", "MaterialLayers"),
    ("IfcMaterialProfileSetUsageTapering", "ForProfileSet", "ForProfileEndSet"),
    ("IfcMaterialProfileSetUsage", "ForProfileSet"),
    ("IfcMaterialProfileSet", "MaterialProfiles"),
    ("IfcMaterialConstituentSet", "MaterialConstituents"),
    ("IfcMaterialList", "Materials"),
    ("IfcMaterialLayer", "Material"),
    ("IfcMaterialProfile", "Material"),
    ("IfcMaterialConstituent", "Material"),
)


def materials(file: ifcopenshell.file) -> dict[int, tuple[str, ...]]:
    """Return the names of the materials of each object and type, by step id, in the order of their layers or parts."""
    named: dict[int, tuple[str, ...]] = {}
    found: dict[int, tuple[str, ...]] = {}
    for relation in file.by_type("IfcRelAssociatesMaterial"):
        material = relation.RelatingMaterial
        if material is None:
            continue
        if material.id() not in named:
            named[material.id()] = tuple(dict.fromkeys(_materials(material)))
        for related in relation.RelatedObjects or ():
            found[related.id()] = (*found.get(related.id(), ()), *named[material.id()])
    return found


def _materials(material: entity_instance) -> Iterator[str]:
    if material.is_a("IfcMaterial"):
        yield material.Name or ""
        return
    for kind, *attributes in _PARTS:
        if material.is_a(kind):
            for attribute in attributes:
                for part in _listed(getattr(material, attribute)):
                    yield from _materials(part)
            return


def _listed(value: entity_instance | Iterable[entity_instance] | None) -> Iterable[entity_instance]:
    if value is None:
        return ()
    return (value,) if isinstance(value, entity_instance) else value


def classifications(file: ifcopenshell.file) -> dict[int, tuple[str, ...]]:
    """Return ``System:Code Name`` of every classification of each object and type, by step id."""
    found: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for relation in file.by_type("IfcRelAssociatesClassification"):
        reference = relation.RelatingClassification
        if reference is None:
            continue
        text = _classification(reference)
        for related in relation.RelatedObjects or ():
            found[related.id()][text] = None
    return {step: tuple(texts) for step, texts in found.items()}


def _classification(reference: entity_instance) -> str:
    if reference.is_a("IfcClassification"):
        return str(reference.Name or "")
    if reference.is_a("IfcClassificationNotation"):  # IFC2X3
        return ".".join(str(facet.NotationValue) for facet in reference.NotationFacets or ())
    code = getattr(reference, "Identification", None) or getattr(reference, "ItemReference", None)
    words = " ".join(str(word) for word in (code, reference.Name) if word)
    system = _system_of(reference)
    return f"{system}:{words}" if system else words


def _system_of(reference: entity_instance) -> str:
    """Follow a reference up to the classification system it belongs to; a circle in the file ends the search."""
    seen: set[int] = set()
    source = reference.ReferencedSource
    while source is not None and source.id() not in seen:
        if source.is_a("IfcClassification"):
            return str(source.Name or "")
        seen.add(source.id())
        source = getattr(source, "ReferencedSource", None)
    return ""


def systems(file: ifcopenshell.file) -> Mapping[int, str]:
    """Return the names of each object's systems by step id, joined by "; " where it has several."""
    members: defaultdict[int, dict[str, None]] = defaultdict(dict)
    for relation in sorted(file.by_type("IfcRelAssignsToGroup"), key=lambda relation: relation.id()):
        group = relation.RelatingGroup
        if group is None or not group.is_a("IfcSystem") or any(group.is_a(kind) for kind in NO_SUPPLY):
            continue
        name = group.Name or group.ObjectType or group.GlobalId
        for member in relation.RelatedObjects or ():
            members[member.id()][name] = None
    return {step: "; ".join(names) for step, names in members.items()}
