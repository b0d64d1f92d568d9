"""Formats: which decoder reads which topic."""

from __future__ import annotations

from collections.abc import Mapping

from ingest.payload import Decoder, Format
from ingest.payload.native import NativeDecoder
from ingest.topic import Channel

SPARKPLUG_PREFIX = "spBv1.0/"
"""Sparkplug B's own topics (Eclipse Sparkplug 3.0.0, 4.1)."""

OF_CHANNEL: Mapping[Channel, Format] = {
    Channel.DATA: Format.NATIVE,
    Channel.SENML: Format.SENML,
    Channel.HJ212: Format.HJ212,
}
"""The format of each channel that carries readings."""


def decoders() -> dict[Format, Decoder]:
    """Return a new decoder of each format."""
    return {Format.NATIVE: NativeDecoder()}


__all__ = ["OF_CHANNEL", "SPARKPLUG_PREFIX", "decoders"]
