"""The first schema: projected configuration, noted alerts, deliveries and their log."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = (
    "CREATE TABLE notifier.positions (topic text PRIMARY KEY, next_offset bigint NOT NULL)",
    """
    CREATE TABLE notifier.groups (
        id uuid PRIMARY KEY,
        name text NOT NULL,
        emails text[] NOT NULL,
        webhooks text[] NOT NULL,
        suite_alerts boolean NOT NULL DEFAULT false
    )
    """,
    """
    CREATE TABLE notifier.notifications (
        id uuid PRIMARY KEY,
        context_id uuid NOT NULL,
        group_id uuid NOT NULL,
        on_failure boolean NOT NULL,
        on_retry boolean NOT NULL
    )
    """,
    "CREATE INDEX ix_notifications_context_id ON notifier.notifications (context_id)",
    """
    CREATE TABLE notifier.noted (
        source_id uuid NOT NULL,
        rev bigint NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (source_id, rev)
    )
    """,
    """
    CREATE TABLE notifier.deliveries (
        id uuid PRIMARY KEY,
        number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        type text NOT NULL,
        source_id uuid NOT NULL,
        run_id uuid,
        rev bigint NOT NULL,
        job text,
        env text,
        kind text NOT NULL CHECK (kind IN ('webhook', 'email')),
        target text NOT NULL,
        group_name text NOT NULL,
        body text NOT NULL,
        state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
        attempts integer NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (source_id, rev, kind, target)
    )
    """,
    "CREATE INDEX ix_deliveries_due ON notifier.deliveries (next_at) WHERE state = 'pending'",
    """
    CREATE TABLE notifier.attempts (
        delivery_id uuid NOT NULL REFERENCES notifier.deliveries ON DELETE CASCADE,
        attempt integer NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        duration_ms integer,
        status integer,
        error text,
        response text,
        PRIMARY KEY (delivery_id, attempt)
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("Kirby's migrations only go forward; restore a backup instead")
