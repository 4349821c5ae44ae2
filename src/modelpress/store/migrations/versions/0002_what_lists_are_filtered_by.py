"""What lists of tasks show and are filtered by; tags; repeatable creation; retries."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_FROM_RECIPE = {
    "sqlite": (
        "UPDATE task SET scheme = json_extract(recipe, '$.scheme'), strategy = json_extract(recipe, '$.strategy')"
    ),
    "postgresql": "UPDATE task SET scheme = recipe ->> 'scheme', strategy = recipe ->> 'strategy'",
}


def upgrade() -> None:
    """Add columns, indexes and the table of tags; fill the new columns of old tasks."""
    op.add_column("task", sa.Column("strategy", sa.Text(), server_default="Quantization", nullable=False))
    op.add_column("task", sa.Column("scheme", sa.Text(), server_default="", nullable=False))
    op.add_column("task", sa.Column("eta_seconds", sa.Integer(), nullable=True))
    op.add_column("task", sa.Column("tags", sa.JSON(), nullable=True))
    op.add_column("task", sa.Column("retry_of", sa.Text(), nullable=True))
    op.add_column("task", sa.Column("client_token", sa.Text(), nullable=True))
    op.add_column("task", sa.Column("request_digest", sa.Text(), nullable=True))
    op.execute(_FROM_RECIPE[op.get_bind().dialect.name])
    _create_indexes()
    _create_task_tag()


def _create_indexes() -> None:
    op.create_index(
        "ix_task_page_status",
        "task",
        ["account_id", "status", "seq"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_task_created", "task", ["account_id", "created_at"], unique=False)
    op.create_index(
        "uq_task_client_token",
        "task",
        ["account_id", "client_token"],
        unique=True,
        sqlite_where=sa.text("client_token IS NOT NULL"),
        postgresql_where=sa.text("client_token IS NOT NULL"),
    )


def _create_task_tag() -> None:
    op.create_table(
        "task_tag",
        sa.Column("task_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("tag_key", sa.Text(), nullable=False),
        sa.Column("tag_value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_task_tag_account_id")),
        sa.ForeignKeyConstraint(["task_seq"], ["task.seq"], name=op.f("fk_task_tag_task_seq")),
        sa.PrimaryKeyConstraint("task_seq", "tag_key", name=op.f("pk_task_tag")),
    )
    op.create_index("ix_task_tag_page", "task_tag", ["account_id", "tag_key", "tag_value", "task_seq"], unique=False)
