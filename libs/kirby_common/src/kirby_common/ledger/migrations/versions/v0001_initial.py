"""The first schema: configuration, runs by month, leases, outbox, log pointers."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in Path(__file__).with_name("0001_initial.sql").read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("Kirby's migrations only go forward; restore a backup instead")
