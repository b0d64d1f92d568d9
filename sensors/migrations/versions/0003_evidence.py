"""Alarms keep why they were raised: the evidence of their newest detection, as JSON."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("alarms", sa.Column("evidence", sa.Text))
