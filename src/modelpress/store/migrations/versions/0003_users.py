"""Access keys belong to users, who carry the policies: one user for each account and set of policies."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from modelpress.domain.identifier import USER, new_id

revision = "0003"
down_revision = "0002"

_FULL = "QianfanFullControlAccessPolicy"
_READ = "QianfanReadAccessPolicy"
_TUNING_FULL = "QianfanModelTuningFullControlAccessPolicy"
_TUNING_READ = "QianfanModelTuningReadAccessPolicy"
#: What the user of one policy is called; others are user-1, user-2 …
_NAMES = {_FULL: "admin", _READ: "reader", _TUNING_FULL: "tuning-admin", _TUNING_READ: "tuning-reader"}

_OLD_KEY = sa.table(
    "access_key",
    sa.column("id", sa.Text()),
    sa.column("account_id", sa.Text()),
    sa.column("secret", sa.LargeBinary()),
    sa.column("policies", sa.JSON()),
    sa.column("created_at", sa.BigInteger()),
    sa.column("revoked_at", sa.BigInteger()),
)


def upgrade() -> None:
    """Make users of the keys' accounts and policies, and give each key to its user."""
    # Through memory: a second table would leave its own names of constraints behind on PostgreSQL.
    keys = op.get_bind().execute(sa.select(_OLD_KEY).order_by(_OLD_KEY.c.created_at)).mappings().all()
    users: dict[tuple[str, frozenset[str]], dict[str, Any]] = {}
    new_keys = []
    for key in keys:
        owner = (key["account_id"], frozenset(key["policies"]))
        user = users.setdefault(owner, _user(*owner, created_at=key["created_at"], number=len(users) + 1))
        kept = {name: key[name] for name in ("id", "secret", "created_at", "revoked_at")}
        new_keys.append(kept | {"user_id": user["id"]})
    op.drop_table("access_key")
    account_user, access_key = _create_account_user(), _create_access_key()
    op.bulk_insert(account_user, list(users.values()))
    op.bulk_insert(access_key, new_keys)


def _user(account_id: str, policies: frozenset[str], *, created_at: int, number: int) -> dict[str, Any]:
    only = next(iter(policies)) if len(policies) == 1 else ""
    return {
        "id": new_id(USER),
        "account_id": account_id,
        "name": _NAMES.get(only, f"user-{number}"),
        "policies": sorted(policies),
        "created_at": created_at,
    }


def _create_account_user() -> sa.Table:
    return op.create_table(
        "account_user",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("policies", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_account_user_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account_user")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_account_user_account_id_name")),
    )


def _create_access_key() -> sa.Table:
    return op.create_table(
        "access_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["account_user.id"], name=op.f("fk_access_key_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_key")),
    )
