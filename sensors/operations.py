"""The operations database: registry, alarms and their history, through SQLAlchemy Core.

SQLite by default (WAL, one writer at a time), PostgreSQL by URL. Every write goes through `writing`: on SQLite that is
BEGIN IMMEDIATE, because a deferred transaction that turns into a write under contention fails instead of waiting.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, NoSuchModuleError, OperationalError

from twin.errors import BusyError, ChengmaiError, InputError, SettingsError, UnavailableError

HEAD = "0004"
"""The newest schema that this code knows; a test holds it to the packaged migrations."""

BUSY_TIMEOUT_S = 30.0

metadata = MetaData()

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Numbers that only grow: `change` (of alarms), `alarm` (ids), `registry` (its version), `trail` (its entries), `case`
(ids), `case_event` (its numbers), `told` (the change of alarms up to which people were told), `message` (to people)."""

devices = Table(
    "devices",
    metadata,
    Column("device", Text, primary_key=True),
    Column("district", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("interval_ms", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("asset", Text),
    Column("easting", Float),
    Column("northing", Float),
    Column("model", Text, nullable=False),
    Column("retired", Boolean, nullable=False),
    Column("address", Text),
    Index("one_device_an_address", "address", unique=True),
)

points = Table(
    "points",
    metadata,
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("device", Text, ForeignKey("devices.device"), nullable=False),
    Column("name", Text, nullable=False),
    Column("position", Integer),
    Column("quantity", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("low", Float),
    Column("high", Float),
    Column("crown_m", Float),
    Column("depth_m", Float),
    Column("code", Text),
    Column("calibrated", Date),
    Column("calibration_due", Date),
    UniqueConstraint("device", "name"),
)
"""Every point that ever was: `position` is null where the device no longer has it, and its series stays its own."""

alarms = Table(
    "alarms",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("original_level", Integer, nullable=False),
    Column("condition", Text, nullable=False),
    Column("acknowledged", Boolean, nullable=False),
    Column("visibility", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("onset", BigInteger, nullable=False),
    Column("detected", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("acknowledged_at", BigInteger),
    Column("acknowledged_by", Text),
    Column("cleared", BigInteger),
    Column("value", Float),
    Column("limit", Float),
    Column("expected_low", Float),
    Column("expected_high", Float),
    Column("score", Float, nullable=False),
    Column("quantity", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("device", Text),
    Column("asset", Text),
    Column("easting", Float),
    Column("northing", Float),
    Column("count", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("evidence", Text),
    Index("one_open_alarm", "subject", "rule", unique=True, sqlite_where=text("open"), postgresql_where=text("open")),
    Index("alarms_of_subject", "subject", "rule", "id"),
    Index("alarms_by_change", "sequence", unique=True),
    Index("alarms_by_onset", "onset"),
)
"""Alarms; times are milliseconds since 1970 UTC, values SI, places in the city's CRS, evidence JSON (`Evidence`)."""

transitions = Table(
    "transitions",
    metadata,
    Column("alarm", Integer, ForeignKey("alarms.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("value", Float),
    Column("by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Index("transitions_by_time", "at"),
)
"""What became of each alarm, append-only: triggers refuse every change and deletion."""


credentials = Table(
    "credentials",
    metadata,
    Column("login", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("device", Text, ForeignKey("devices.device")),
    Column("scope", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("issued", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("revoked", BigInteger),
)
"""Logins of devices, platforms and services; `secret` is a salted hash, never the secret."""

unknown_devices = Table(
    "unknown_devices",
    metadata,
    Column("device", Text, primary_key=True),
    Column("district", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("birth", Text),
    Column("points", Text, nullable=False),
)
"""Devices that send and are in no registry: what they said of themselves, and their points (JSON: unit, value)."""

presence = Table(
    "presence",
    metadata,
    Column("device", Text, primary_key=True),
    Column("online", Boolean, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("last", BigInteger),
    Column("boot", BigInteger),
    Column("birth", Text),
    Column("lost", Text),
)
"""What devices last said of themselves on ``status``, and when they were last heard."""

commands = Table(
    "commands",
    metadata,
    Column("id", Text, primary_key=True),
    Column("device", Text, ForeignKey("devices.device"), nullable=False),
    Column("district", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("args", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("sent", BigInteger),
    Column("answered", BigInteger),
    Column("ok", Boolean),
    Column("code", Text),
    Column("result", Text),
    Index("commands_to_send", "district", "sent"),
    Index("commands_open", "expires", sqlite_where=text("ok IS NULL"), postgresql_where=text("ok IS NULL")),
)
"""Commands to devices, from their order to their answer."""

workers = Table(
    "workers",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("beat", BigInteger, nullable=False),
)
"""The ingest workers; `beat` changes as long as one lives."""

leases = Table(
    "leases",
    metadata,
    Column("district", Text, primary_key=True),
    Column("worker", Text, nullable=False),
    Column("spool", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("renewed", BigInteger, nullable=False),
)
"""Who owns a district, and by which spool (its id); `epoch` grows with every change of owner, `renewed` changes as
long as the owner lives."""

detector_states = Table(
    "detector_states",
    metadata,
    Column("district", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
)
"""Detection's state, for an owner on another host that has not the spool of the one before."""

trail = Table(
    "trail",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)
"""The audit trail, append-only (triggers) and chained: `digest` covers the row and the digest before."""


cases = Table(
    "cases",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("title", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("district", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("asset", Text),
    Column("easting", Float),
    Column("northing", Float),
    Column("incident", Integer),
    Column("step", Text, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("reported", BigInteger, nullable=False),
    Column("reported_by", Text, nullable=False),
    Column("entered", BigInteger, nullable=False),
    Column("due", BigInteger),
    Column("wakes", BigInteger),
    Column("escalated", Text),
    Column("extensions", Integer, nullable=False),
    Column("suspended", BigInteger),
    Column("left", BigInteger),
    Column("department", Text),
    Column("handlers", Text, nullable=False),
    Column("verifier", Text),
    Column("asked", Text),
    Column("asked_by", Text),
    Column("waiver", Text),
    Column("checklist", Text, nullable=False),
    Column("rating", Integer),
    Column("merged_into", Integer, ForeignKey("cases.id")),
    Column("version", Integer, nullable=False),
    Index("cases_by_step", "open", "step", "level"),
    Index(
        "cases_that_wait", "wakes", sqlite_where=text("wakes IS NOT NULL"), postgresql_where=text("wakes IS NOT NULL")
    ),
)
"""Cases: `entered` is when the step began, `due` its deadline, `wakes` when time itself acts next, `suspended` until
when, `left` the milliseconds that the step then still has; `handlers`, `asked`, `waiver` and `checklist` are JSON."""

case_events = Table(
    "case_events",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("case", Integer, ForeignKey("cases.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("from_step", Text),
    Column("to_step", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text),
    Column("text", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("key", Text),
    Column("request", Text),
    Index("case_events_of_case", "case", "number"),
    Index("one_case_event_a_key", "key", unique=True),
)
"""What became of each case, append-only (triggers); `key` is the idempotency key of the write, `request` the digest of
what it asked for."""

case_alarms = Table(
    "case_alarms",
    metadata,
    Column("alarm", Integer, ForeignKey("alarms.id"), primary_key=True),
    Column("case", Integer, ForeignKey("cases.id"), nullable=False),
    Index("case_alarms_of_case", "case"),
)
"""Which case holds an alarm: the fourth axis of an alarm; an alarm is in one case at most."""

case_links = Table(
    "case_links",
    metadata,
    Column("case", Integer, ForeignKey("cases.id"), primary_key=True),
    Column("other", Integer, ForeignKey("cases.id"), primary_key=True),
)
"""Cases that have to do with one another, each pair in both orders."""


notify_threads = Table(
    "notify_threads",
    metadata,
    Column("route", Text, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("since", BigInteger),
    Column("told_at", BigInteger),
    Column("repeats", Integer, nullable=False),
    Column("messages", Text, nullable=False),
    Column("wakes", BigInteger),
    Index(
        "threads_that_wait", "wakes", sqlite_where=text("wakes IS NOT NULL"), postgresql_where=text("wakes IS NOT NULL")
    ),
)
"""What a route says of one group of alarms: `since` its oldest news not yet told, `wakes` when it has to be looked at
again, `messages` (JSON) the ids and times of what was said."""

notify_members = Table(
    "notify_members",
    metadata,
    Column("route", Text, primary_key=True),
    Column("alarm", Integer, ForeignKey("alarms.id"), primary_key=True),
    Column("group", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("asks", Boolean, nullable=False),
    Column("over", Boolean, nullable=False),
    Column("told", Integer),
    Index("members_of_thread", "route", "group"),
)
"""The alarms of a thread as they are, and the level of each that was last told (null: not yet)."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("message", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("group", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("to", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("ended", BigInteger),
    Column("error", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("deliveries_to_make", "channel", "state", "level", "due"),
    Index("deliveries_of_thread", "route", "group", "state"),
    Index("deliveries_by_time", "created"),
)
"""The outbox: one message to one recipient over one channel. `message` is its id, `body` the message (JSON), `due` when
it is tried next, or when a sender that has it in hand is taken for dead; `ended` when it was sent or given up."""


def connect(url: str) -> Engine:
    """Return an engine of the operations database at the SQLAlchemy `url`, created or migrated to this schema.

    SettingsError for a URL that is none; InputError E_SCHEMA for a schema newer than this code, E_FORMAT for a file
    that is no database; BusyError and UnavailableError as they come.
    """
    engine = _engine(url)
    try:
        with reading(engine) as connection:
            revision = _revision(connection)
        if revision != HEAD:
            with writing(engine) as connection:
                _migrate(connection)
    except ChengmaiError:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: Engine) -> Generator[Connection, None, None]:
    """Open a transaction that only reads: one consistent picture of the database."""
    with _told(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection, None, None]:
    """Open a transaction that writes; on SQLite it waits for the write lock at once. BusyError if it never comes."""
    with _told(engine), engine.connect().execution_options(chengmai_write=True) as connection, connection.begin():
        yield connection


def advance(connection: Connection, name: str, by: int = 1) -> int:
    """Add `by` to the counter `name` and return its value; by 0 takes its lock, so that writers queue."""
    statement = update(counters).where(counters.c.name == name).values(value=counters.c.value + by)
    return int(connection.execute(statement.returning(counters.c.value)).scalar_one())


def counter(connection: Connection, name: str) -> int:
    """Return the value of the counter `name`."""
    return int(connection.execute(select(counters.c.value).where(counters.c.name == name)).scalar_one())


_TIMEOUTS: Mapping[str, dict[str, float]] = {
    "pg8000": {"timeout": BUSY_TIMEOUT_S},
    "psycopg": {"connect_timeout": 10},
    "psycopg2": {"connect_timeout": 10},
}
"""Seconds after which a server that does not answer is away: of connecting, and with pg8000 of every answer."""


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in {None, "", ":memory:"}:
                raise SettingsError("an operations database in memory is lost at once", where=url, expected="a file")
            engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
            event.listen(engine, "connect", _prepare)
            event.listen(engine, "begin", _begin)
            return engine
        return create_engine(parsed, pool_pre_ping=True, connect_args=_TIMEOUTS.get(parsed.get_driver_name(), {}))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingsError(
            str(error), where=url, expected="an SQLAlchemy URL such as sqlite:///operations.sqlite"
        ) from None


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 begins no transaction of its own; _begin does
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("chengmai_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _told(engine: Engine) -> Generator[None, None, None]:
    """Turn what the driver says about the database itself into the one error tree."""
    where = engine.url.database or str(engine.url)
    try:
        yield
    except (OperationalError, InterfaceError) as error:  # pg8000 says the latter of a server that is away
        what = str(error.orig)
        if "locked" in what or "busy" in what:
            raise BusyError(what, where=where, expected=f"a writer that is done within {BUSY_TIMEOUT_S:g} s") from error
        raise UnavailableError(what, where=where) from error
    except DatabaseError as error:
        state, what = _sql_state(error)
        if state.startswith(_AWAY):
            raise UnavailableError(what, where=where) from error
        if state in _BUSY:
            raise BusyError(what, where=where) from error
        if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(error.orig):
            raise InputError(
                str(error.orig), where=where, expected="an operations database", code="E_FORMAT"
            ) from error
        raise


_AWAY = ("08", "53", "57P")
_BUSY = {"40001", "40P01", "55P03"}
"""SQLSTATEs of PostgreSQL (its documentation, appendix A): no connection, no resources, going down or coming up; a
serialisation that failed, a deadlock, a lock that could not be had."""


def _sql_state(error: DatabaseError) -> tuple[str, str]:
    """Return SQLSTATE and message, as pg8000 (a mapping) or psycopg (`sqlstate`) give them; else an empty one."""
    first = error.orig.args[0] if error.orig is not None and error.orig.args else ""
    if isinstance(first, Mapping):
        fields = cast("Mapping[str, str]", first)
        return fields.get("C", ""), fields.get("M", str(error.orig))
    return str(getattr(error.orig, "sqlstate", None) or ""), str(error.orig)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection) -> None:
    """Bring the schema to `HEAD` inside the caller's transaction; nothing is half migrated."""
    from alembic import command  # noqa: PLC0415  # slow to import, and needed once in a database's life
    from alembic.config import Config  # noqa: PLC0415  # as above
    from alembic.script import ScriptDirectory  # noqa: PLC0415  # as above

    config = Config()
    config.set_main_option("script_location", str(Path(str(resources.files("sensors"))) / "migrations"))
    revision = _revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise InputError(
            f"its schema is {revision}, newer than this version of Chengmai",
            where=connection.engine.url.database or "",
            expected=f"{HEAD} or older; upgrade Chengmai, or restore a backup",
            code="E_SCHEMA",
        )
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    command.upgrade(config, "head")
