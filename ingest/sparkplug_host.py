"""The city as a Sparkplug host application: which topics it hears, and how it says that it lives.

Eclipse Sparkplug 3.0.0, requirements tck-id-host-topic-phid-birth-* and -death-*: the host subscribes to its own STATE,
then publishes its birth there, retained, with QoS 1; its death is the will, with the same timestamp.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from ingest.mqtt.connection import Will
from ingest.payload.formats import SPARKPLUG_PREFIX

_OF_NODES = ("NBIRTH", "NDATA", "NDEATH")
_OF_DEVICES = ("DBIRTH", "DDATA", "DDEATH")


def filters(district: str, addresses: Iterable[str]) -> list[str]:
    """Return what a district's worker hears: the group called like the district, those of registered addresses, itself.

    A group belongs to one district, since both of two would take in what it sends. It hears its own STATE to contradict
    the death certificate of a predecessor that comes late.

    >>> filters("hewan", ["spBv1.0/pumps/N7/P1", "hj212/MN1"])[6:8]
    ['spBv1.0/pumps/NBIRTH/+', 'spBv1.0/pumps/NDATA/+']
    """
    groups = {address.split("/")[1] for address in addresses if address.startswith(SPARKPLUG_PREFIX)}
    heard = [
        f"{SPARKPLUG_PREFIX}{group}/{kind}/{rest}"
        for group in (district, *sorted(groups - {district}))
        for kinds, rest in ((_OF_NODES, "+"), (_OF_DEVICES, "+/+"))
        for kind in kinds
    ]
    return [*heard, state_topic(district)]


def state_topic(district: str) -> str:
    """Return where the host of a district says that it lives."""
    return f"{SPARKPLUG_PREFIX}STATE/chengmai-{district}"


def certificate(district: str) -> Will:
    """Return the host's death certificate and the birth that goes with it; both bear the time of this connection."""
    now = time.time_ns() // 1_000_000
    birth, death = (msgspec.json.encode({"online": online, "timestamp": now}) for online in (True, False))
    return Will(state_topic(district), death, birth=birth)


__all__ = ["certificate", "filters", "state_topic"]
