"""How versions are to be used where they are served, and the template files that people upload for it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the versions' configuration and the table of files."""
    op.add_column("model_version", sa.Column("advanced_conf", sa.JSON(), nullable=True))
    op.create_table(
        "template_file",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_template_file_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_template_file")),
    )
    op.create_index("uq_template_file_digest", "template_file", ["account_id", "digest"], unique=True)
