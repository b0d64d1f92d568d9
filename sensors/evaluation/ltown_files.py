"""What the run and the truth of ltown both know: where its network is, and from when on it is scored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from twin.errors import InputError

SCORED_MS = round(datetime(2019, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""From here on a detector is scored; the times of the set are taken for UTC."""
NETWORK = "L-TOWN.inp"


def network_file(data: Path, shared: Path | None) -> Path:
    """Return the network's file; InputError where it is missing."""
    folder = shared if shared is not None else data.resolve().parent.parent
    found = folder / "networks" / "water" / NETWORK
    if not found.is_file():
        raise InputError("no such file", where=str(found), expected="shared data (CHENGMAI_DATA)", code="E_MISSING")
    return found
