"""The channel ``mqtt``: messages about alarms, published on ``cim/v1/{district}/alarms``.

Payload as of `sensors.notify.message.encode` (docs/notifications.md), QoS 1, not retained: what was said is kept in
the outbox, and who subscribes wants to know of what is said from now on.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ingest.mqtt.address import Address
from ingest.mqtt.connection import Connection
from ingest.topic import PREFIX
from sensors.device import NAME
from sensors.notify import Message, Options, decoded
from sensors.notify.message import encode
from twin.errors import InputError, RefusedError, SettingsError


def alarms_topic(district: str) -> str:
    """Return the topic on which a district's alarms are told.

    >>> alarms_topic("hewan")
    'cim/v1/hewan/alarms'
    """
    return f"{PREFIX}/{district}/alarms"


class MqttOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of the channel: the broker and the login there, and what a message of no one district is told under."""

    url: str
    username: str = ""
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_id: str = "chengmai-notify"
    district: str = "city"
    timeout_s: float = 10.0


class MqttNotifier:
    """Publishes messages; it connects with the first of them, and stays connected."""

    def __init__(self, options: MqttOptions) -> None:
        if not NAME.fullmatch(options.district):
            raise SettingsError(f"is {options.district!r}", where="district", expected="a district's name in topics")
        if not 0 < options.timeout_s <= 30:
            raise SettingsError(f"is {options.timeout_s}", where="timeout_s", expected="more than 0, at most 30 s")
        try:
            password = "" if options.password_file is None else options.password_file.read_text("utf-8").strip()
            self._address = Address.parse(
                options.url,
                options.username,
                password,
                ca=options.ca,
                certificate=options.certificate,
                key=options.key,
            )
            self._address.context()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SettingsError(reason, where=f"password_file {options.password_file}") from None
        except InputError as error:
            raise SettingsError(error.what, where=f"url {error.where}", expected=error.expected) from None
        self._options = options
        self._connection: Connection | None = None

    @classmethod
    def build(cls, options: Options) -> MqttNotifier:
        """Return the channel of `options` (`MqttOptions`)."""
        return cls(decoded(options, MqttOptions))

    def send(self, message: Message, to: str) -> None:
        """Publish a message and wait until the broker has it; `to`, where given, is the district to tell it under.

        A broker that does not answer in time may still get it: then it comes twice, under one id.
        """
        district = to or message.district or self._options.district
        if not NAME.fullmatch(district):
            raise RefusedError("is no district", where=district[:64], expected="letters, digits, _ and -")
        connection = self._connected()
        connection.publish(alarms_topic(district), encode(message), wait_s=self._options.timeout_s)

    def close(self) -> None:
        """Leave the broker."""
        if self._connection is not None:
            self._connection.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self._address, self._options.client_id, clean=True).start()
        if not self._connection.connected:
            self._connection.wait(self._options.timeout_s)
        return self._connection


__all__ = ["MqttNotifier", "MqttOptions", "alarms_topic"]
