"""What ingest asks of the operations database: logins, unknown devices, presence, commands, leases, audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("devices", sa.Column("address", sa.Text))
    op.create_index("one_device_an_address", "devices", ["address"], unique=True)
    for column in (sa.Column("code", sa.Text), sa.Column("calibrated", sa.Date), sa.Column("calibration_due", sa.Date)):
        op.add_column("points", column)
    _credentials()
    _unknown_devices()
    _presence()
    _commands()
    _workers()
    _leases()
    _detector_states()
    _trail()
    _append_only()


def _credentials() -> None:
    op.create_table(
        "credentials",
        sa.Column("login", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("device", sa.Text, sa.ForeignKey("devices.device")),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("issued", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("revoked", sa.BigInteger),
    )


def _unknown_devices() -> None:
    op.create_table(
        "unknown_devices",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("system", sa.Text, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.BigInteger, nullable=False),
        sa.Column("birth", sa.Text),
        sa.Column("points", sa.Text, nullable=False),
    )


def _presence() -> None:
    op.create_table(
        "presence",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("online", sa.Boolean, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger),
        sa.Column("boot", sa.BigInteger),
        sa.Column("birth", sa.Text),
        sa.Column("lost", sa.Text),
    )


def _commands() -> None:
    op.create_table(
        "commands",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("device", sa.Text, sa.ForeignKey("devices.device"), nullable=False),
        sa.Column("district", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("sent", sa.BigInteger),
        sa.Column("answered", sa.BigInteger),
        sa.Column("ok", sa.Boolean),
        sa.Column("code", sa.Text),
        sa.Column("result", sa.Text),
    )
    op.create_index("commands_to_send", "commands", ["district", "sent"])
    still_open = sa.text("ok IS NULL")
    op.create_index("commands_open", "commands", ["expires"], sqlite_where=still_open, postgresql_where=still_open)


def _workers() -> None:
    op.create_table(
        "workers",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )


def _leases() -> None:
    op.create_table(
        "leases",
        sa.Column("district", sa.Text, primary_key=True),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("spool", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("renewed", sa.BigInteger, nullable=False),
    )


def _detector_states() -> None:
    op.create_table(
        "detector_states",
        sa.Column("district", sa.Text, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )


def _trail() -> None:
    op.execute("INSERT INTO counters (name, value) VALUES ('trail', 0)")
    op.create_table(
        "trail",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )


def _append_only() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change_of_trail() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER trail_append_only BEFORE UPDATE OR DELETE ON trail "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change_of_trail()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER trail_no_{change.lower()} BEFORE {change} ON trail "
            "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
        )
