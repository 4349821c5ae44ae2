"""Every statement on accounts and access keys, built once at import."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from modelpress.store.table import access_key, account

INSERT_ACCOUNT = insert(account)
ACCOUNT_BY_NAME = select(account.c.id).where(account.c.name == bindparam("name"))
INSERT_KEY = insert(access_key)
KEY = select(access_key).where(access_key.c.id == bindparam("access_key"))
KEYS = select(access_key, account.c.name.label("account_name")).join(account).order_by(access_key.c.created_at)
REPLACE_KEY = (
    update(access_key)
    .where(
        access_key.c.id == bindparam("access_key"),
        access_key.c.account_id == bindparam("owner"),
        access_key.c.revoked_at.is_not(None),
    )
    .values(secret=bindparam("sealed"), policies=bindparam("granted"), revoked_at=None)
)
REVOKE_KEY = (
    update(access_key)
    .where(access_key.c.id == bindparam("access_key"), access_key.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
