"""Model sets that the operator shares with all accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add when a set was shared, until when, and what is said of it; and the indexes of the shared ones."""
    op.add_column("model_set", sa.Column("shared_at", sa.BigInteger(), nullable=True))
    op.add_column("model_set", sa.Column("unshared_at", sa.BigInteger(), nullable=True))
    op.add_column("model_set", sa.Column("description", sa.Text(), nullable=True))
    shared = sa.text("shared_at IS NOT NULL AND unshared_at IS NULL AND deleted_at IS NULL")
    for name, column, unique in (("ix_model_set_shared", "seq", False), ("uq_model_set_shared_name", "name", True)):
        op.create_index(name, "model_set", [column], unique=unique, sqlite_where=shared, postgresql_where=shared)
