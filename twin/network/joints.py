"""Where the pipes of a building model meet the city's network: one joint a building connection, with its confidence."""

from __future__ import annotations

from dataclasses import dataclass

from twin.asset import AssetId


@dataclass(frozen=True, slots=True)
class Joint:
    """An element of a building model that is joined to a network node.

    `distance_m` lies between the element's free port and the node, in three dimensions where both have a height.
    `confidence` is 0 to 1; `why` says what it rests on.
    """

    node: AssetId
    element: AssetId
    distance_m: float
    confidence: float
    why: str
