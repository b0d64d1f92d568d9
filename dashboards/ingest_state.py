"""How ingest is doing, as the screens show it: all districts together, and each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple
from typing import Any

from ingest.ledger import Ledger
from ingest.watch.heartbeats import Pulse


def ingest_state(pulses: Mapping[str, Pulse]) -> dict[str, Any]:
    """Return what the districts' heart-beats say, ready for JSON; ages are in machine seconds, as beats are.

    `alive` and `connected` are so only where every district is; those that have never run here are left out.
    `layers_off` are the layers of detection that are off somewhere, each with the reason.
    """
    ran = {district: pulse for district, pulse in pulses.items() if pulse.ledger is not None}
    beats = [pulse.status for pulse in ran.values() if pulse.status is not None]
    cut_off = [beat.broker for beat in beats if not beat.connected]
    ages = [pulse.age_s for pulse in ran.values() if pulse.age_s is not None]
    each = {district: _district(pulse) for district, pulse in ran.items()}
    return {
        "alive": bool(beats) and all(pulse.alive for pulse in ran.values()),
        "beat_age_s": max(ages, default=None),
        "connected": bool(beats) and not cut_off,
        "broker": next(iter(cut_off or [beat.broker for beat in beats]), ""),
        "rate": sum(beat.readings_per_s for beat in beats) if beats else None,
        "ledger": _ledger(list(ran.values())) if ran else None,
        "districts": each,
        "layers_off": {layer: reason for beat in beats for layer, reason in beat.layers_off.items()},
    }


def _district(pulse: Pulse) -> dict[str, Any]:
    return {
        "alive": pulse.alive,
        "beat_age_s": pulse.age_s,
        "rate": None if pulse.status is None else pulse.status.readings_per_s,
        "ill": pulse.ill,
        "ledger": _ledger([pulse]),
    }


def _ledger(pulses: list[Pulse]) -> dict[str, int]:
    """Return the ledgers as one; its balance is that of the counters, or else what the last audit found."""
    ledgers = [pulse.ledger for pulse in pulses if pulse.ledger is not None]
    whole = Ledger(*(sum(column) for column in zip(*(astuple(one) for one in ledgers), strict=True)))
    audited = sum(abs(pulse.status.unaccounted) for pulse in pulses if pulse.status is not None)
    return {**asdict(whole), "balance": sum(abs(one.balance) for one in ledgers) or audited}


__all__ = ["ingest_state"]
