"""Credentials: who may speak for which device, and the hash of the secret that proves it.

A login is proved to the broker (MQTT) and to the gateway (HTTP push, HJ 212) by the same secret. Only its hash is kept,
in the form of Mosquitto's password files, ``$7$iterations$salt$hash`` (PBKDF2 with HMAC-SHA512, RFC 8018 §5.2; 12 bytes
of salt, 64 of hash, both in base64; mosquitto_passwd(1) 2.0), so that one hash serves both.

Secrets are drawn here, 256 random bits: no dictionary holds them, and stretching adds nothing to them. The iterations
are therefore Mosquitto's own 101, which keeps a broker answering while a whole city connects again (its one thread
computes each). The one exception is HJ 212, whose password is short and goes over the wire as it is: it proves little,
and opens nothing but the one station.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from sensors.clock import Clock, SystemClock, from_ms, to_ms
from sensors.device import NAME, DeviceId
from sensors.operations import credentials, devices, reading, writing
from twin.errors import InputError, UnknownError

ITERATIONS = 101
SALT_BYTES = 12
HASH_BYTES = 64
SECRET_BYTES = 32


class Role(StrEnum):
    """What a login is for, and with it where it is taken."""

    DEVICE = "device"
    """A device that speaks MQTT or HTTP; its login is its own id."""
    NODE = "node"
    """A Sparkplug edge node; its login is the node's id in its topics."""
    STATION = "station"
    """An HJ 212 station; its login is its address, ``hj212/{MN}``. Never taken by the broker."""
    PLATFORM = "platform"
    """An operator's platform that pushes over HTTP for the devices that its scope names. Never taken by the broker."""
    SERVICE = "service"
    """A part of the city itself: ``ingest``, ``gateway``."""


AT_THE_BROKER = frozenset({Role.DEVICE, Role.NODE, Role.SERVICE})


@dataclass(frozen=True, slots=True)
class Secret:
    """A login with its secret, as it is shown once; `repr` and `str` never show it."""

    login: str
    secret: str = field(repr=False)

    @property
    def bearer(self) -> str:
        """The bearer token of HTTP push (RFC 6750 §2.1): login and secret, joined by a dot."""
        return f"{self.login}.{self.secret}"

    @staticmethod
    def of_bearer(token: str) -> Secret:
        """Return what a bearer token says; both are empty where it is none.

        >>> Secret.of_bearer("GM-0044.s3cret").login
        'GM-0044'
        """
        login, dot, secret = token.partition(".")
        return Secret(login, secret) if dot else Secret("", "")


@dataclass(frozen=True, slots=True)
class Credential:
    """A login and what it is good for. `verifier` is the salted hash; `scope` names devices by globs."""

    login: str
    role: Role
    device: DeviceId | None
    scope: str
    issued: datetime
    expires: datetime | None
    revoked: datetime | None
    device_retired: bool
    verifier: str = field(repr=False)

    def valid(self, now: datetime) -> bool:
        """Return whether the login may be used at `now` (machine time, aware UTC)."""
        return self.revoked is None and not self.device_retired and (self.expires is None or now < self.expires)

    def speaks_for(self, device: DeviceId) -> bool:
        """Return whether the login may send what `device` measured."""
        if self.role is Role.PLATFORM:
            return any(fnmatchcase(device, glob) for glob in self.scope.split())
        return self.device == device


@dataclass(frozen=True, slots=True)
class Credentials:
    """The logins of a city, in the operations database behind `engine`; `clock` is the machine's, never a replay's."""

    engine: Engine
    clock: Clock = field(default_factory=SystemClock)

    def issue(
        self,
        login: str,
        role: Role,
        device: DeviceId | None = None,
        *,
        scope: str = "",
        expires: datetime | None = None,
        secret: str | None = None,
    ) -> Secret:
        """Make a login and return it with its secret, which is nowhere else: it cannot be shown again.

        `scope` (platforms) names devices by globs, apart from each other by spaces. `secret` is given for stations
        only, whose password HJ 212 bounds. InputError for a login that there is, or that does not fit its role;
        UnknownError for a device that the registry has not.
        """
        _check(login, role, device, scope, secret)
        new = Secret(login, secret or _draw())
        row = self._row(new, role, device, scope=scope, expires=expires)
        with writing(self.engine) as connection:
            _put(connection, [row])
        return new

    def issue_to_devices(self, named: Iterable[DeviceId], expires: datetime | None = None) -> list[Secret]:
        """Make the logins of many devices, all or none; errors as `issue`."""
        made: list[Secret] = []
        rows: list[dict[str, Any]] = []
        for device in dict.fromkeys(named):
            _check(device, Role.DEVICE, device, "", None)
            made.append(Secret(device, _draw()))
            rows.append(self._row(made[-1], Role.DEVICE, device, scope="", expires=expires))
        with writing(self.engine) as connection:
            _put(connection, rows)
        return made

    def rotate(self, login: str, secret: str | None = None) -> Secret:
        """Give a login a new secret and return it; the old one is good for nothing from now on.

        UnknownError for a login that there is not, or that is revoked.
        """
        with writing(self.engine) as connection:
            found = _one(connection, login)
            if found.revoked is not None:
                raise UnknownError("is revoked", where=f"login {login}", expected="a login in use; issue it anew")
            _check(login, found.role, found.device, found.scope, secret)
            new = Secret(login, secret or _draw())
            changed = {"secret": hashed(new.secret), "issued": self._now()}
            connection.execute(update(credentials).where(credentials.c.login == login).values(**changed))
        return new

    def revoke(self, login: str) -> None:
        """End a login; it may be issued anew. UnknownError for a login that there is not."""
        with writing(self.engine) as connection:
            if _one(connection, login).revoked is None:
                ended = update(credentials).where(credentials.c.login == login).values(revoked=self._now())
                connection.execute(ended)

    def check(self, login: str, secret: str, device: DeviceId) -> bool:
        """Return whether `secret` proves `login`, and `login` may send for `device` now; as of `prove`."""
        found = self.prove(login, secret)
        return found is not None and found.speaks_for(device)

    def prove(self, login: str, secret: str) -> Credential | None:
        """Return the login that `secret` proves and that may be used now, or None.

        An unknown login takes as long as a wrong secret.
        """
        with reading(self.engine) as connection:
            row = connection.execute(_query().where(credentials.c.login == login)).one_or_none()
        found = None if row is None else _credential(row)
        proved = matches(secret, _NOBODY if found is None else found.verifier)
        return found if found is not None and proved and found.valid(self.clock.now()) else None

    def get(self, login: str) -> Credential:
        """Return one login, revoked or not; UnknownError if there is none of that name."""
        with reading(self.engine) as connection:
            return _one(connection, login)

    def list(self) -> list[Credential]:
        """Return every login, revoked ones too, ordered by login."""
        return list(self.each())

    def each(self) -> Iterator[Credential]:
        """Yield every login, revoked ones too, ordered by login; a million of them are no list."""
        with reading(self.engine) as connection:
            query = _query().order_by(credentials.c.login).execution_options(yield_per=10_000)
            for row in connection.execute(query):
                yield _credential(row)

    def without(self) -> list[DeviceId]:
        """Return the devices in service that never had a login of their own, ordered by id.

        One that was revoked is not among them: whoever ended it decides about the next.
        """
        mine = select(credentials.c.device).where(credentials.c.role == Role.DEVICE.value)
        query = select(devices.c.device).where(~devices.c.retired, devices.c.device.not_in(mine))
        with reading(self.engine) as connection:
            return [DeviceId(name) for name in connection.execute(query.order_by(devices.c.device)).scalars()]

    def _row(
        self, new: Secret, role: Role, device: DeviceId | None, *, scope: str, expires: datetime | None
    ) -> dict[str, Any]:
        """Return a login as it is kept. The hash takes its time: no lock is held meanwhile."""
        return {
            "login": new.login,
            "role": role.value,
            "device": device,
            "scope": scope,
            "secret": hashed(new.secret),
            "issued": self._now(),
            "expires": None if expires is None else to_ms(expires),
            "revoked": None,
        }

    def _now(self) -> int:
        return to_ms(self.clock.now())


def _put(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Write new logins, in place of revoked ones; InputError for one in use, UnknownError for no such device."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        wanted = {row["device"] for row in chunk if row["device"] is not None}
        known = connection.execute(select(devices.c.device).where(devices.c.device.in_(wanted))).scalars()
        if missing := wanted.difference(known):
            raise UnknownError("no such device", where=min(missing), expected="one of `chengmai devices list`")
        same = credentials.c.login.in_([row["login"] for row in chunk])
        for found in connection.execute(select(credentials.c.login, credentials.c.revoked).where(same)):
            if found.revoked is None:
                where = f"login {found.login}"
                raise InputError("has a secret already", where=where, expected="rotate, or revoke it first")
        connection.execute(delete(credentials).where(same))
        connection.execute(insert(credentials), chunk)


def hashed(secret: str) -> str:
    """Return the salted hash of a secret, in the form of Mosquitto's password files."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"$7${ITERATIONS}${_base64(salt)}${_base64(_derive(secret, salt, ITERATIONS))}"


def matches(secret: str, verifier: str) -> bool:
    """Return whether `verifier` was made from `secret`, in a time that does not tell how much of it fits."""
    _, _, iterations, salt, digest = verifier.split("$")
    found = _derive(secret, base64.b64decode(salt), int(iterations))
    return hmac.compare_digest(found, base64.b64decode(digest))


def _derive(secret: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations, HASH_BYTES)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _draw() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


_NOBODY = f"$7${ITERATIONS}${_base64(bytes(SALT_BYTES))}${_base64(bytes(HASH_BYTES))}"
"""A verifier that no secret is known for: what is checked for a login that there is not."""

_STATION = "hj212/"

_CHUNK = 500
"""Logins named in one query."""


def _check(login: str, role: Role, device: DeviceId | None, scope: str, secret: str | None) -> None:
    """Refuse a login that would not mean what its role says; the broker's ACL is built on that."""
    bare = login.removeprefix(_STATION) if role is Role.STATION else login
    where = f"login {login[:100]!r}"
    if not NAME.fullmatch(bare) or (role is Role.STATION and not login.startswith(_STATION)):
        wanted = "hj212/{MN}" if role is Role.STATION else "letters, digits, _ and -, at most 64"
        raise InputError("is no login", where=where, expected=wanted)
    if role is Role.DEVICE and login != device:
        raise InputError(f"would speak for {device}", where=where, expected="the device's own id as its login")
    if (role in {Role.DEVICE, Role.STATION}) != (device is not None):
        raise InputError("has no device, or needs none", where=where, expected="a device for device and station only")
    if (role is Role.PLATFORM) != bool(scope.strip()):
        raise InputError("has no scope, or needs none", where=where, expected="globs of devices, for platforms only")
    if secret is not None and (role is not Role.STATION or not secret.isascii() or not secret.isprintable()):
        raise InputError(
            "its secret cannot be chosen", where=where, expected="none; stations take one of printable ASCII"
        )


def _query() -> Any:
    return select(credentials, devices.c.retired).select_from(
        credentials.outerjoin(devices, credentials.c.device == devices.c.device)
    )


def _one(connection: Connection, login: str) -> Credential:
    row = connection.execute(_query().where(credentials.c.login == login)).one_or_none()
    if row is None:
        raise UnknownError("no such login", where=f"login {login}", expected="one of `chengmai credentials list`")
    return _credential(row)


def _credential(row: Row[Any]) -> Credential:
    return Credential(
        row.login,
        Role(row.role),
        None if row.device is None else DeviceId(row.device),
        row.scope,
        from_ms(row.issued),
        None if row.expires is None else from_ms(row.expires),
        None if row.revoked is None else from_ms(row.revoked),
        bool(row.retired),
        row.secret,
    )


__all__ = ["AT_THE_BROKER", "Credential", "Credentials", "Role", "Secret", "hashed", "matches"]
