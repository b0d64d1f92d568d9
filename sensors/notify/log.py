"""The channel ``log``: every message as a line of the log; what a city has before it has set up anything else."""

from __future__ import annotations

from typing import Literal

import msgspec
import structlog

from sensors.notify import Message, Options, decoded

logger = structlog.get_logger()

_LOUD = 2
"""From this level on a message is an error's line, below it a warning's."""


class LogOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the channel: the language of its lines."""

    language: Literal["zh", "en"] = "zh"


class LogNotifier:
    """Writes messages to the log of the process."""

    def __init__(self, options: LogOptions) -> None:
        self._language: Literal["zh", "en"] = options.language

    @classmethod
    def build(cls, options: Options) -> LogNotifier:
        """Return the channel of `options` (`LogOptions`)."""
        return cls(decoded(options, LogOptions))

    def send(self, message: Message, to: str) -> None:
        """Write a line; `to` is told in it."""
        write = logger.error if message.level <= _LOUD else logger.warning
        write(
            "people_told",
            message=message.id,
            purpose=message.purpose.value,
            level=message.level,
            route=message.route,
            to=to,
            alarms=message.alarms,
            text=message.headline(self._language),
        )

    def close(self) -> None:
        """Hold nothing."""


__all__ = ["LogNotifier"]
