"""Payloads: bytes become a message here, once, and nowhere else.

Every format is one module with a decoder; all give the same `Message`. What is wrong with a message as a whole is
raised (RefusedError); what is wrong with one reading stands in `refused`, and its neighbours go on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NamedTuple, Protocol, TypeAlias

import msgspec

from twin.errors import RefusedError

MAX_BYTES = 64 * 1024
MAX_READINGS = 500
WHOLE = -1
"""Place of a refusal that concerns the whole message."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What boot and seq may be: what 64 bits, and the spool, can hold."""


class Format(StrEnum):
    """What a payload is written in; its topic tells (`ingest.payload.formats`)."""

    NATIVE = "native"
    SENML = "senml"
    HJ212 = "hj212"
    SPARKPLUG = "sparkplug"


class Measurement(NamedTuple):
    """One reading as it came, the `place`-th of its message.

    `time` is in ms since 1970 UTC by the device's clock (None: it has none), `unit` the payload's or None, `quality`
    the device's own flag (0 is good).
    """

    place: int
    time: int | None
    point: str
    value: float
    unit: str | None
    quality: int


class Refusal(NamedTuple):
    """Why one reading, or (place `WHOLE`) a whole message, is not taken."""

    place: int
    code: str
    reason: str


class Message(msgspec.Struct, frozen=True, gc=False):
    """A decoded message. `boot` and `seq` name it for ever, or are both None; `readings` counts the refused too.

    `address` names the device where the topic does not (``spBv1.0/{group}/{node}/{device}``); a point is then what
    the device's own protocol calls it (`Point.code`). `consecutive` says that seq grows by one, so that holes can be
    told. `replies` (topic, payload) go out once the message is on disk.
    """

    boot: int | None
    seq: int | None
    history: bool
    readings: int
    measurements: list[Measurement]
    refused: list[Refusal] = []
    address: str = ""
    consecutive: bool = True
    replies: tuple[tuple[str, bytes], ...] = ()


class Decoder(Protocol):
    """A payload format. Formats that remember (Sparkplug's aliases) give their memory to the spool, group by group."""

    def decode(self, topic: str, payload: bytes) -> Message:
        """Return the message, or raise RefusedError with the code that the contract names."""
        ...

    def memory(self) -> bytes | None:
        """Return what has to outlive a restart if it has changed since the last call, else None."""
        ...

    def recall(self, memory: bytes) -> None:
        """Take over what `memory` returned."""
        ...


def check_size(payload: bytes) -> None:
    """Refuse what is longer than the contract allows, before anything looks inside (E_SIZE)."""
    if len(payload) > MAX_BYTES:
        raise RefusedError(f"{len(payload)} bytes", expected=f"at most {MAX_BYTES}", code="E_SIZE")


__all__ = [
    "MAX_BYTES",
    "MAX_READINGS",
    "WHOLE",
    "Count",
    "Decoder",
    "Format",
    "Measurement",
    "Message",
    "Refusal",
    "check_size",
]
