"""Formats: which decoder reads which topic."""

from __future__ import annotations

from collections.abc import Mapping

from ingest.payload import Decoder, Format
from ingest.payload.hj212 import Hj212Decoder
from ingest.payload.native import NativeDecoder
from ingest.payload.senml import SenmlDecoder
from ingest.payload.sparkplug import SparkplugDecoder
from ingest.topic import Channel
from sensors.clock import Clock

SPARKPLUG_PREFIX = "spBv1.0/"
"""Sparkplug B's own topics (Eclipse Sparkplug 3.0.0, 4.1)."""

OF_CHANNEL: Mapping[Channel, Format] = {
    Channel.DATA: Format.NATIVE,
    Channel.SENML: Format.SENML,
    Channel.HJ212: Format.HJ212,
}
"""The format of each channel that carries readings."""


def decoders(clock: Clock) -> dict[Format, Decoder]:
    """Return a new decoder of each format; `clock` is the city's."""
    return {
        Format.NATIVE: NativeDecoder(),
        Format.SENML: SenmlDecoder(clock),
        Format.HJ212: Hj212Decoder(),
        Format.SPARKPLUG: SparkplugDecoder(clock),
    }


__all__ = ["OF_CHANNEL", "SPARKPLUG_PREFIX", "decoders"]
