"""Exports of model versions, and their histories."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_OPEN = sa.text("status IN ('creating', 'running', 'stopping')")


def upgrade() -> None:
    """Create both tables."""
    _create_export_task()
    for name, columns, unique in (
        ("ix_export_task_open", ["seq"], False),
        ("uq_export_task_open_model", ["account_id", "model_id"], True),
        ("uq_export_task_open_place", ["bucket", "path"], True),
    ):
        op.create_index(name, "export_task", columns, unique=unique, sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("ix_export_task_model", "export_task", ["account_id", "model_id", "seq"], unique=False)
    _create_export_event()


def _create_export_task() -> None:
    op.create_table(
        "export_task",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("barren_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("bytes_done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=True),
        sa.Column("manifest_md5", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "status IN ('creating', 'failed', 'running', 'stopped', 'stopping', 'succeeded')",
            name=op.f("ck_export_task_status"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_export_task_account_id")),
        sa.ForeignKeyConstraint(["model_id"], ["model_version.id"], name=op.f("fk_export_task_model_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_export_task")),
        sa.UniqueConstraint("id", name=op.f("uq_export_task_id")),
        sqlite_autoincrement=True,
    )


def _create_export_event() -> None:
    op.create_table(
        "export_event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["export_task.id"], name=op.f("fk_export_event_task_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_export_event")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_export_event_task", "export_event", ["task_id", "seq"], unique=False)
