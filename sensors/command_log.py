"""Commands to field devices, from their order to their answer, in the operations database.

Whoever orders a command writes it here; the worker that owns the device's district publishes it on ``cmd``, takes the
answer from ``cmd/ans``, and gives it up when it has expired. A command is sent at most once by the city: a device
that was away gets it from the broker's session or not at all.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, insert, select, update

from sensors.clock import from_ms, to_ms
from sensors.device import NAME, DeviceId
from sensors.operations import commands, devices, reading, writing
from twin.asset import System
from twin.errors import InputError, UnknownError

EXPIRED = "E_EXPIRED"
"""Code of a command that no answer came to in its time."""

MAX_ARGS = 4096
MAX_RESULT = 4096
"""Characters of a command's arguments and of its answer's result (JSON)."""


class CommandState(StrEnum):
    """How far a command has come."""

    ORDERED = "ordered"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `args` is a JSON object, `result` any JSON or empty; times are aware UTC by the city's clock.

    `ok`, `code` and `result` are the device's answer, or False and E_EXPIRED where none came before `expires`.
    """

    id: str
    device: DeviceId
    district: str
    system: System
    name: str
    args: str
    by: str
    created: datetime
    expires: datetime
    sent: datetime | None = None
    answered: datetime | None = None
    ok: bool | None = None
    code: str = ""
    result: str = ""

    @property
    def state(self) -> CommandState:
        """How far it has come."""
        if self.ok is not None:
            if self.ok:
                return CommandState.DONE
            return CommandState.EXPIRED if self.code == EXPIRED else CommandState.FAILED
        return CommandState.ORDERED if self.sent is None else CommandState.SENT


class CommandLog:
    """The commands, in the operations database behind `engine` (of `operations.connect`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def order(
        self, device: str, name: str, args: Mapping[str, Any], by: str, expires: datetime, *, at: datetime
    ) -> Command:
        """Order at the time `at` that `device` does `name` with `args` before `expires`; return the command.

        UnknownError for a device that is not registered; InputError for one that is retired, for a name that is none,
        for nobody who orders it, for arguments that are too long or no JSON, and for a time that has passed.
        """
        where = f"command {name} to {device}"
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} is no command name", where=device, expected=NAME.pattern)
        if not by.strip():
            raise InputError("nobody orders it", where=where, expected="a name")
        if expires <= at:
            raise InputError(f"expires {expires.isoformat()}", where=where, expected="a time to come")
        text = _arguments(args, where)
        with writing(self._engine) as connection:
            row = connection.execute(select(devices).where(devices.c.device == device)).first()
            if row is None:
                raise UnknownError("no such device", where=device, expected="one of `chengmai devices list`")
            if row.retired:
                raise InputError("is retired", where=device, expected="a device in service")
            command = uuid.uuid4().hex
            ordered = {
                "id": command,
                "device": device,
                "district": row.district,
                "name": name,
                "args": text,
                "by": by,
                "created": to_ms(at),
                "expires": to_ms(expires),
            }
            connection.execute(insert(commands), ordered)
            return _one(connection, command)

    def pending(self, district: str, now: datetime) -> list[Command]:
        """Return the commands of `district` that are to be sent, oldest first: not sent yet, and not expired."""
        wanted = (commands.c.district == district, commands.c.sent.is_(None), commands.c.answered.is_(None))
        with reading(self._engine) as connection:
            return _read(connection, *wanted, commands.c.expires > to_ms(now))

    def sent(self, ids: Iterable[str], at: datetime) -> None:
        """Note that the commands `ids` were handed to the broker."""
        rows = [{"key": each} for each in ids]
        if rows:
            with writing(self._engine) as connection:
                statement = update(commands).where(commands.c.id == bindparam("key"), commands.c.sent.is_(None))
                connection.execute(statement.values(sent=to_ms(at)), rows)

    def answer(
        self, command: str, *, device: str, ok: bool, code: str = "", result: str = "", at: datetime
    ) -> Command | None:
        """Note the answer of `device` to `command` and return it; None where nobody asked it that.

        The first answer counts: a resend changes nothing. One that comes after the command expired is noted all the
        same: what the device did is more than what was given up. `code` and `result` are cut at 64 and `MAX_RESULT`.
        """
        open_or_expired = commands.c.ok.is_(None) | (commands.c.code == EXPIRED)
        with writing(self._engine) as connection:
            known = _read(connection, commands.c.id == command, commands.c.device == device)
            if not known:
                return None
            values = {"answered": to_ms(at), "ok": ok, "code": code[:64], "result": result[:MAX_RESULT]}
            connection.execute(update(commands).where(commands.c.id == command, open_or_expired).values(values))
            return _one(connection, command)

    def expire(self, now: datetime) -> list[Command]:
        """Give up the commands whose time has passed at `now` without an answer, and return them."""
        with reading(self._engine) as connection:
            found = _read(connection, commands.c.ok.is_(None), commands.c.expires <= to_ms(now))
        if not found:
            return []
        with writing(self._engine) as connection:
            statement = update(commands).where(commands.c.id == bindparam("key"), commands.c.ok.is_(None))
            values = {"answered": to_ms(now), "ok": False, "code": EXPIRED}
            connection.execute(statement.values(values), [{"key": each.id} for each in found])
            return [_one(connection, each.id) for each in found]

    def get(self, command: str) -> Command:
        """Return one command; UnknownError if there is none of that id."""
        with reading(self._engine) as connection:
            return _one(connection, command)

    def list(self, device: str | None = None, limit: int = 50) -> list[Command]:
        """Return at most `limit` commands to `device` (None: to all), newest first."""
        wanted = () if device is None else (commands.c.device == device,)
        with reading(self._engine) as connection:
            return _read(connection, *wanted, newest=limit)


def _arguments(args: Mapping[str, Any], where: str) -> str:
    """Return the arguments as JSON."""
    try:
        text = json.dumps(dict(args), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(str(error), where=where, expected="arguments as JSON") from None
    if len(text) > MAX_ARGS:
        raise InputError(f"{len(text)} characters of arguments", where=where, expected=f"at most {MAX_ARGS}")
    return text


def _one(connection: Connection, command: str) -> Command:
    found = _read(connection, commands.c.id == command)
    if not found:
        raise UnknownError("no such command", where=command, expected="one of `chengmai devices commands`")
    return found[0]


def _read(connection: Connection, *where: Any, newest: int | None = None) -> list[Command]:
    query = select(commands, devices.c.system).join(devices, devices.c.device == commands.c.device).where(*where)
    if newest is None:
        query = query.order_by(commands.c.created, commands.c.id)
    else:
        query = query.order_by(commands.c.created.desc(), commands.c.id).limit(newest)
    return [_command(row) for row in connection.execute(query)]


def _command(row: Row[Any]) -> Command:
    return Command(
        row.id,
        DeviceId(row.device),
        row.district,
        System(row.system),
        row.name,
        row.args,
        row.by,
        from_ms(row.created),
        from_ms(row.expires),
        None if row.sent is None else from_ms(row.sent),
        None if row.answered is None else from_ms(row.answered),
        None if row.ok is None else bool(row.ok),
        row.code or "",
        row.result or "",
    )


__all__ = ["EXPIRED", "Command", "CommandLog", "CommandState"]
