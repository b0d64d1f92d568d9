"""What people do about alarms: cases, their events, the alarms they hold and the cases they are linked with."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _cases()
    _case_events()
    _case_alarms()
    _append_only("case_events", "the events of cases are append-only")
    op.create_index("transitions_by_time", "transitions", ["at"])
    _threads()
    _deliveries()


def _cases() -> None:
    op.execute("INSERT INTO counters (name, value) VALUES ('case', 0), ('case_event', 0)")
    op.create_table(
        "cases",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("asset", sa.Text),
        sa.Column("easting", sa.Float),
        sa.Column("northing", sa.Float),
        sa.Column("incident", sa.Integer),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("reported", sa.BigInteger, nullable=False),
        sa.Column("reported_by", sa.Text, nullable=False),
        sa.Column("entered", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("wakes", sa.BigInteger),
        sa.Column("escalated", sa.Text),
        sa.Column("extensions", sa.Integer, nullable=False),
        sa.Column("suspended", sa.BigInteger),
        sa.Column("left", sa.BigInteger),
        sa.Column("department", sa.Text),
        sa.Column("handlers", sa.Text, nullable=False),
        sa.Column("verifier", sa.Text),
        sa.Column("asked", sa.Text),
        sa.Column("asked_by", sa.Text),
        sa.Column("waiver", sa.Text),
        sa.Column("checklist", sa.Text, nullable=False),
        sa.Column("rating", sa.Integer),
        sa.Column("merged_into", sa.Integer, sa.ForeignKey("cases.id")),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_index("cases_by_step", "cases", ["open", "step", "level"])
    waits = sa.text("wakes IS NOT NULL")
    op.create_index("cases_that_wait", "cases", ["wakes"], sqlite_where=waits, postgresql_where=waits)


def _case_events() -> None:
    op.create_table(
        "case_events",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("case", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("from_step", sa.Text),
        sa.Column("to_step", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("request", sa.Text),
    )
    op.create_index("case_events_of_case", "case_events", ["case", "number"])
    op.create_index("one_case_event_a_key", "case_events", ["key"], unique=True)


def _case_alarms() -> None:
    op.create_table(
        "case_alarms",
        sa.Column("alarm", sa.Integer, sa.ForeignKey("alarms.id"), primary_key=True),
        sa.Column("case", sa.Integer, sa.ForeignKey("cases.id"), nullable=False),
    )
    op.create_index("case_alarms_of_case", "case_alarms", ["case"])
    op.create_table(
        "case_links",
        sa.Column("case", sa.Integer, sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("other", sa.Integer, sa.ForeignKey("cases.id"), primary_key=True),
    )


def _threads() -> None:
    op.execute("INSERT INTO counters (name, value) VALUES ('told', 0), ('message', 0)")
    op.create_table(
        "notify_threads",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("since", sa.BigInteger),
        sa.Column("told_at", sa.BigInteger),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("messages", sa.Text, nullable=False),
        sa.Column("wakes", sa.BigInteger),
    )
    waits = sa.text("wakes IS NOT NULL")
    op.create_index("threads_that_wait", "notify_threads", ["wakes"], sqlite_where=waits, postgresql_where=waits)
    op.create_table(
        "notify_members",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("alarm", sa.Integer, sa.ForeignKey("alarms.id"), primary_key=True),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("asks", sa.Boolean, nullable=False),
        sa.Column("over", sa.Boolean, nullable=False),
        sa.Column("told", sa.Integer),
    )
    op.create_index("members_of_thread", "notify_members", ["route", "group"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("group", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("to", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("deliveries_to_make", "deliveries", ["channel", "state", "level", "due"])
    op.create_index("deliveries_of_thread", "deliveries", ["route", "group", "state"])
    op.create_index("deliveries_by_time", "deliveries", ["created"])


def _append_only(table: str, what: str) -> None:
    """Refuse every change and deletion in `table`, saying `what`."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION refuse_change_of_{table}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{what}'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION refuse_change_of_{table}()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{what}'); END"
        )
