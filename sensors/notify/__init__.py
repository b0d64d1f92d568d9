"""Telling people: who is told what of an alarm, by which channel, until somebody has acknowledged it.

::

    alarm log ─► teller ─► threads (pure: group, wait, repeat, all-clear) ─► outbox (a row a delivery) ─► senders

The teller follows the alarm log's changes by a cursor that moves in the transaction which writes the deliveries: no
change is told of never, or twice. A sender marks a delivery after the channel has taken it; killed in between, it sends
again: **at least once**, under the same message id.

An entry point of the group ``chengmai.notifiers`` names a class with a class method ``build(options) -> Notifier``,
`options` being the table of the channel in the city's file; its contract suite is `checks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from sensors.notify.message import Item, Message, Purpose, Reference
from twin.errors import SettingsError

GROUP = "chengmai.notifiers"

Options: TypeAlias = Mapping[str, Any]
"""The table ``options`` of a channel, as TOML has it; a notifier decodes it once, with `decoded`."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Notifier(Protocol):
    """A channel to people (entry point group ``chengmai.notifiers``); used by one thread at a time."""

    def send(self, message: Message, to: str) -> None:
        """Hand the message over for `to` (an address, a topic, or "" where the channel has but one recipient).

        Return once the other side has taken it. UnavailableError where it may be tried again (after `retry_s`, if
        that says when), RefusedError where it never will be taken. Nothing waits for longer than the channel's timeout.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; a closed notifier is not used again."""
        ...


def open_notifier(kind: str, options: Options, where: str) -> Notifier:
    """Return the notifier that the entry point `kind` builds from `options`.

    SettingsError, naming `where`, for a kind that no installed package offers and for options that it does not take.
    """
    offered = entry_points(group=GROUP)
    if kind not in offered.names:
        raise SettingsError(
            f"no such kind of channel as {kind}", where=where, expected=f"one of {', '.join(sorted(offered.names))}"
        )
    try:
        return offered[kind].load().build(options)
    except SettingsError as error:
        raise SettingsError(error.what, where=f"{where}: {error.where}", expected=error.expected) from None


def decoded(options: Options, to: type[_Struct]) -> _Struct:
    """Return `options` as the struct `to`; SettingsError with the option that is missing, misspelt or of another type.

    >>> class Bell(msgspec.Struct, forbid_unknown_fields=True):
    ...     port: int
    >>> decoded({"port": 80}, Bell).port
    80
    """
    try:
        return msgspec.convert(options, to, dec_hook=_path)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        raise SettingsError(what, where=f"options {place.strip('`$.')}".strip()) from None


def _path(kind: type, value: Any) -> Any:
    """Return a file's name as the path that an option is."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


__all__ = [
    "GROUP",
    "Item",
    "Message",
    "Notifier",
    "Options",
    "Purpose",
    "Reference",
    "decoded",
    "open_notifier",
]
