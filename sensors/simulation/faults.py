"""What can go wrong in the field: kinds of faults, and how a script names them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from twin.errors import InputError


class FaultKind(StrEnum):
    """A fault of the network (burst, blockage, gas leak) or of a device (stuck, silent)."""

    BURST = "burst"
    BLOCKAGE = "blockage"
    GAS_LEAK = "gas_leak"
    STUCK = "stuck"
    SILENT = "silent"

    @property
    def of_device(self) -> bool:
        """Whether it is the device that fails, not the network."""
        return self in (FaultKind.STUCK, FaultKind.SILENT)


@dataclass(frozen=True, slots=True)
class Fault:
    """A scripted fault: when after the live start, and where (asset or device); None leaves it to the seed."""

    kind: FaultKind
    after: timedelta | None = None
    place: str | None = None


def parse(text: str) -> Fault:
    """Return the fault written as ``KIND[@SECONDS[:ASSET]]``; InputError E_FORMAT for anything else.

    >>> parse("burst@30:water.inp:link:P-101").place
    'water.inp:link:P-101'
    >>> parse("stuck").after is None
    True
    """
    kind, at, rest = text.partition("@")
    seconds, colon, place = rest.partition(":")
    try:
        found = FaultKind(kind)
        after = timedelta(seconds=float(seconds)) if at else None
    except (ValueError, OverflowError):
        raise _malformed(text) from None
    if (colon and not place) or (after is not None and after < timedelta(0)):
        raise _malformed(text)
    return Fault(found, after, place or None)


def _malformed(text: str) -> InputError:
    kinds = ", ".join(FaultKind)
    return InputError(f"{text!r} is no fault", expected=f"KIND[@SECONDS[:ASSET]], KIND of {kinds}", code="E_FORMAT")
