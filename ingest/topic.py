"""Topics of the field-device contract: who speaks, and on which channel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from sensors.device import NAME, DeviceId
from twin.asset import System
from twin.errors import RefusedError

PREFIX = "cim/v1"


class Channel(StrEnum):
    """The last part of a topic."""

    DATA = "data"
    SENML = "data/senml"
    HJ212 = "data/hj212"
    STATUS = "status"
    ACK = "ack"
    CMD = "cmd"
    ANSWER = "cmd/ans"


@dataclass(frozen=True, slots=True)
class Topic:
    """A device's topic; `str()` of it is the topic's name.

    >>> str(Topic("hewan", System.GAS, DeviceId("GM-0044"), Channel.DATA))
    'cim/v1/hewan/gas/GM-0044/data'
    """

    district: str
    system: System
    device: DeviceId
    channel: Channel

    def __str__(self) -> str:
        return f"{PREFIX}/{self.district}/{self.system}/{self.device}/{self.channel}"


@lru_cache(maxsize=200_000)
def parse(name: str) -> Topic:
    """Return the topic called `name`; RefusedError E_TOPIC for anything outside the grammar.

    >>> parse("cim/v1/hewan/gas/GM-0044/data").device
    'GM-0044'
    """
    parts = name.split("/", 5)
    if len(parts) == 6 and f"{parts[0]}/{parts[1]}" == PREFIX:
        _, _, district, system, device, channel = parts
        if NAME.fullmatch(district) and NAME.fullmatch(device) and system in _SYSTEMS and channel in _CHANNELS:
            return Topic(district, System(system), DeviceId(device), Channel(channel))
    raise RefusedError(
        "is outside the topic grammar",
        where=name[:200],
        expected=f"{PREFIX}/{{district}}/{{system}}/{{device}}/{{channel}}",
        code="E_TOPIC",
    )


def subscription(district: str, channel: Channel) -> str:
    """Return the filter that hears one channel of every device of a district.

    >>> subscription("hewan", Channel.DATA)
    'cim/v1/hewan/+/+/data'
    """
    return f"{PREFIX}/{district}/+/+/{channel}"


def clock_topic(district: str) -> str:
    """Return the topic on which a replay moves the clock of its own city; never heard in a live one."""
    return f"sim/v1/{district}/clock"


_SYSTEMS = frozenset(System)
_CHANNELS = frozenset(Channel)

__all__ = ["Channel", "Topic", "clock_topic", "parse", "subscription"]
