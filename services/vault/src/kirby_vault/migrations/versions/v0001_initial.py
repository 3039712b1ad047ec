"""The first schema: sealed secrets, grants, the audit trail, and the check of the key."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE vault.key_check (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        key_id text NOT NULL,
        sealed bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE vault.secrets (
        path text PRIMARY KEY,
        version bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_by text NOT NULL,
        deleted_at timestamptz
    )
    """,
    """
    CREATE TABLE vault.secret_versions (
        path text NOT NULL REFERENCES vault.secrets,
        version bigint NOT NULL,
        fields text[] NOT NULL,
        key_id text NOT NULL,
        wrapped_key bytea,
        ciphertext bytea,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_by text NOT NULL,
        destroyed_at timestamptz,
        PRIMARY KEY (path, version),
        CHECK ((destroyed_at IS NULL) = (wrapped_key IS NOT NULL AND ciphertext IS NOT NULL))
    )
    """,
    """
    CREATE TABLE vault.grants (
        context_id uuid NOT NULL,
        path text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        created_by text NOT NULL,
        PRIMARY KEY (context_id, path)
    )
    """,
    """
    CREATE TABLE vault.contexts (
        context_id uuid PRIMARY KEY,
        job text NOT NULL,
        env text NOT NULL
    )
    """,
    """
    CREATE TABLE vault.audit (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        principal text NOT NULL,
        action text NOT NULL,
        outcome text NOT NULL,
        path text,
        version bigint,
        run_id uuid,
        context_id uuid,
        reason text
    )
    """,
    "CREATE INDEX ix_audit_path ON vault.audit (path, id)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("Kirby's migrations only go forward; restore a backup instead")
