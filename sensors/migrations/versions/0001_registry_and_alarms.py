"""Registry of devices, alarms and their transitions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    counters = op.create_table(
        "counters", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.BigInteger, nullable=False)
    )
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in ("change", "alarm", "registry")])
    op.create_table(
        "devices",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("interval_ms", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("asset", sa.Text),
        sa.Column("easting", sa.Float),
        sa.Column("northing", sa.Float),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("retired", sa.Boolean, nullable=False),
    )
    op.create_table(
        "points",
        sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("device", sa.Text, sa.ForeignKey("devices.device"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("position", sa.Integer),
        sa.Column("quantity", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("low", sa.Float),
        sa.Column("high", sa.Float),
        sa.Column("crown_m", sa.Float),
        sa.Column("depth_m", sa.Float),
        sa.UniqueConstraint("device", "name"),
    )
    _alarms()
    _transitions()


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("original_level", sa.Integer, nullable=False),
        sa.Column("condition", sa.Text, nullable=False),
        sa.Column("acknowledged", sa.Boolean, nullable=False),
        sa.Column("visibility", sa.Text, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("onset", sa.BigInteger, nullable=False),
        sa.Column("detected", sa.BigInteger, nullable=False),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("cleared", sa.BigInteger),
        sa.Column("value", sa.Float),
        sa.Column("limit", sa.Float),
        sa.Column("expected_low", sa.Float),
        sa.Column("expected_high", sa.Float),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("quantity", sa.Text, nullable=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("device", sa.Text),
        sa.Column("asset", sa.Text),
        sa.Column("easting", sa.Float),
        sa.Column("northing", sa.Float),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    where = sa.text("open")
    op.create_index(
        "one_open_alarm", "alarms", ["subject", "rule"], unique=True, sqlite_where=where, postgresql_where=where
    )
    op.create_index("alarms_of_subject", "alarms", ["subject", "rule", "id"])
    op.create_index("alarms_by_change", "alarms", ["sequence"], unique=True)
    op.create_index("alarms_by_onset", "alarms", ["onset"])


def _transitions() -> None:
    op.create_table(
        "transitions",
        sa.Column("alarm", sa.Integer, sa.ForeignKey("alarms.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("from_state", sa.Text, nullable=False),
        sa.Column("to_state", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'transitions are append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER transitions_append_only BEFORE UPDATE OR DELETE ON transitions "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER transitions_no_{change.lower()} BEFORE {change} ON transitions "
            "BEGIN SELECT RAISE(ABORT, 'transitions are append-only'); END"
        )
