"""Where each object of an IFC file belongs: its building, storey and parents; which ports join which elements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ifcopenshell
from ifcopenshell import entity_instance

from twin.readers.ifc.properties import StepId


@dataclass(frozen=True, slots=True)
class Tree:
    """Parents by step id: containment, aggregation, nesting, voids and fillings, in that order of weight."""

    parents: Mapping[StepId, entity_instance]

    def ancestor(self, entity: entity_instance, kind: str) -> entity_instance | None:
        """Return the nearest parent of `entity` of class `kind`, or None; a circle in the file ends the search."""
        seen: set[StepId] = set()
        current = self.parents.get(entity.id())
        while current is not None and current.id() not in seen:
            if current.is_a(kind):
                return current
            seen.add(current.id())
            current = self.parents.get(current.id())
        return None


# Relation, the attribute that names the parent, the attribute that names its children.
_PARENT_RELATIONS = (
    ("IfcRelContainedInSpatialStructure", "RelatingStructure", "RelatedElements"),
    ("IfcRelAggregates", "RelatingObject", "RelatedObjects"),
    ("IfcRelNests", "RelatingObject", "RelatedObjects"),
    ("IfcRelVoidsElement", "RelatingBuildingElement", "RelatedOpeningElement"),
    ("IfcRelFillsElement", "RelatingOpeningElement", "RelatedBuildingElement"),
)


def tree(file: ifcopenshell.file) -> Tree:
    """Read the parent of every object of `file`."""
    parents: dict[StepId, entity_instance] = {}
    for relation_class, parent_attribute, child_attribute in _PARENT_RELATIONS:
        for relation in file.by_type(relation_class):
            parent = getattr(relation, parent_attribute)
            children = getattr(relation, child_attribute)
            if parent is None or children is None:
                continue
            for child in (children,) if isinstance(children, entity_instance) else children:
                parents.setdefault(child.id(), parent)
    return Tree(parents)


@dataclass(frozen=True, slots=True)
class Connections:
    """Elements joined through ports, by step id; how many ports and joints the file states.

    `free` are an element's ports without a partner: where it goes on outside the model, or ends.
    """

    neighbours: Mapping[StepId, Iterable[StepId]]
    free: Mapping[StepId, Sequence[entity_instance]]
    ports: int
    joints: int


def connections(file: ifcopenshell.file) -> Connections:
    """Read ports of both generations: nested in their element (IFC4) or tied by IfcRelConnectsPortToElement."""
    owners: dict[StepId, StepId] = {}
    for relation in file.by_type("IfcRelConnectsPortToElement"):
        if relation.RelatingPort is not None and relation.RelatedElement is not None:
            owners[relation.RelatingPort.id()] = relation.RelatedElement.id()
    for relation in file.by_type("IfcRelNests"):
        for child in relation.RelatedObjects or ():
            if child.is_a("IfcPort") and relation.RelatingObject is not None:
                owners.setdefault(child.id(), relation.RelatingObject.id())
    neighbours: defaultdict[StepId, dict[StepId, None]] = defaultdict(dict)  # a dict keeps the file's order
    joints = file.by_type("IfcRelConnectsPorts")
    taken: set[StepId] = set()
    for relation in joints:
        taken.update(port.id() for port in (relation.RelatingPort, relation.RelatedPort) if port is not None)
        ends = [owners.get(port.id()) for port in (relation.RelatingPort, relation.RelatedPort) if port is not None]
        if len(ends) == 2 and ends[0] is not None and ends[1] is not None and ends[0] != ends[1]:
            neighbours[ends[0]][ends[1]] = None
            neighbours[ends[1]][ends[0]] = None
    ports = file.by_type("IfcPort")
    free: defaultdict[StepId, list[entity_instance]] = defaultdict(list)
    for port in ports:
        if port.id() in owners and port.id() not in taken:
            free[owners[port.id()]].append(port)
    return Connections(neighbours, free, len(ports), len(joints))
