"""Audit of a network as it is found: what does not hang together, what contradicts itself, what is missing.

Definitions, with the default of `--join grid`:

- Link ends are one node where the file names them so, else where `twin.audit.topology` joins them. Only nodes with
  links count below; points where no link ends are `unlinked_nodes`.
- ``components``: groups of links that hang together. ``dangling``: nodes where one link ends.
- ``near_no_node``: dangling nodes with a link of their system that does not end there within `near`, that distance
  included. The node of a grid is the middle of its cell.
- ``crossings_no_node``: pairs of links of one system whose insides meet in points (OGC *crosses*), whether or not they
  share an end as well. A link has nodes only at its ends.
- ``near_duplicate_nodes``: pairs of nodes of one system within `near` that no link joins.
- ``duplicate_edges``: links less the pairs of nodes that they join, whichever way round.

Everything is in plan. The other checks are described in `twin.audit.findings.Check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.audit import geometry as audit_geometry
from twin.audit import survey as audit_survey
from twin.audit.findings import Check, Finding
from twin.audit.join import Join
from twin.audit.subject import Subject

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 0.01
NEAR = 0.5


@dataclass(frozen=True, slots=True)
class Audit:
    """What was audited and found: `counts` has every check, also those that found nothing."""

    nodes: int
    links: int
    counts: Mapping[Check, int]
    findings: Sequence[Finding]


def audit(
    nodes: pd.DataFrame,
    links: pd.DataFrame,
    *,
    tolerance: float = TOLERANCE,
    near: float = NEAR,
    join: Join = Join.GRID,
    unit_m: float = 1.0,
) -> Audit:
    """Return what is found in a network: tables with the columns of `twin.asset`, geometries in ``geometry``.

    `tolerance` (the cell of the grid, or the longest step of a cluster) and `near` are in the unit of the coordinates,
    which is `unit_m` metres. `nodes` of the result are those that links end at, joints without a node among them.
    """
    subject = Subject.of(nodes, links, tolerance=tolerance, near=near, join=join, unit_m=unit_m)
    found = [
        *audit_geometry.groups(subject),
        *audit_geometry.ends(subject),
        *audit_geometry.crossings(subject),
        *audit_geometry.near_nodes(subject),
        *audit_geometry.doubles(subject),
        *audit_geometry.unlinked(subject),
        *audit_survey.segments(subject),
        *audit_survey.attributes(subject),
        *audit_survey.levels(subject),
        *audit_survey.points(subject),
    ]
    counts = dict.fromkeys(Check, 0)
    for finding in found:
        counts[finding.code] += 1
    return Audit(int((subject.topology.degree > 0).sum()), len(links), counts, found)
