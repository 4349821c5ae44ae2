"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    _create_account()
    _create_access_key()
    _create_model_set()
    _create_model_version()
    _create_task()
    _create_task_event()


def _create_account() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("name", name=op.f("uq_account_name")),
    )


def _create_access_key() -> None:
    op.create_table(
        "access_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("policies", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_access_key_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_key")),
    )


def _create_model_set() -> None:
    op.create_table(
        "model_set",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_type", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_model_set_account_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_model_set")),
        sa.UniqueConstraint("id", name=op.f("uq_model_set_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_model_set_page", "model_set", ["account_id", "seq"], unique=False)
    op.create_index(
        "uq_model_set_name",
        "model_set",
        ["account_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _create_model_version() -> None:
    op.create_table(
        "model_version",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("source_type", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("model_format", sa.Text(), nullable=False),
        sa.Column("application_type", sa.Text(), nullable=False),
        sa.Column("architecture", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("unsupported_reason", sa.Text(), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("files_removed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("source_type IN ('Import', 'Acceleration')", name=op.f("ck_model_version_source_type")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_model_version_account_id")),
        sa.ForeignKeyConstraint(["set_id"], ["model_set.id"], name=op.f("fk_model_version_set_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_model_version")),
        sa.UniqueConstraint("id", name=op.f("uq_model_version_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_model_version_set", "model_version", ["set_id", "seq"], unique=False)


def _create_task() -> None:
    op.create_table(
        "task",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("source_model_id", sa.Text(), nullable=False),
        sa.Column("model_set_id", sa.Text(), nullable=False),
        sa.Column("output_model_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("barren_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.Text(), server_default="", nullable=False),
        sa.Column("percent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bytes_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("statistics", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "status IN ('creating', 'failed', 'running', 'stopped', 'stopping', 'succeeded')",
            name=op.f("ck_task_status"),
        ),
        sa.CheckConstraint("percent BETWEEN 0 AND 100", name=op.f("ck_task_percent")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_task_account_id")),
        sa.ForeignKeyConstraint(["model_set_id"], ["model_set.id"], name=op.f("fk_task_model_set_id")),
        sa.ForeignKeyConstraint(["source_model_id"], ["model_version.id"], name=op.f("fk_task_source_model_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_task")),
        sa.UniqueConstraint("id", name=op.f("uq_task_id")),
        sa.UniqueConstraint("output_model_id", name=op.f("uq_task_output_model_id")),
        sqlite_autoincrement=True,
    )
    _create_task_indexes()


def _create_task_indexes() -> None:
    op.create_index(
        "ix_task_open",
        "task",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("status IN ('creating', 'running', 'stopping')"),
        postgresql_where=sa.text("status IN ('creating', 'running', 'stopping')"),
    )
    op.create_index(
        "ix_task_page",
        "task",
        ["account_id", "seq"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_task_page_source",
        "task",
        ["account_id", "source_model_id", "seq"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )


def _create_task_event() -> None:
    op.create_table(
        "task_event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_task_event_task_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_task_event")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_task_event_task", "task_event", ["task_id", "seq"], unique=False)
