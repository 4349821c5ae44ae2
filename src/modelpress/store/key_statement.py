"""Every statement on accounts, their users and access keys, built once at import."""

from __future__ import annotations

from sqlalchemy import Text, and_, bindparam, cast, delete, func, insert, select, update

from modelpress.store.table import access_key, account, account_user

INSERT_ACCOUNT = insert(account)
ACCOUNT_BY_NAME = select(account.c.id).where(account.c.name == bindparam("name"))
ACCOUNTS = (
    select(account, func.count(account_user.c.id).label("users"))
    .outerjoin(account_user)
    .group_by(account.c.id)
    .order_by(account.c.created_at)
)

INSERT_USER = insert(account_user)
_IN_FORCE = and_(access_key.c.user_id == account_user.c.id, access_key.c.revoked_at.is_(None))
_USERS = (
    select(
        account_user,
        account.c.name.label("account_name"),
        select(func.count()).where(_IN_FORCE).scalar_subquery().label("keys_in_force"),
    )
    .join(account)
    .order_by(account_user.c.created_at)
)
USERS = _USERS
USER_BY_NAME = _USERS.where(account.c.name == bindparam("account"), account_user.c.name == bindparam("name"))
SET_POLICIES = update(account_user).where(account_user.c.id == bindparam("user")).values(policies=bindparam("granted"))
DELETE_USER = delete(account_user).where(account_user.c.id == bindparam("user"))
DELETE_REVOKED_KEYS = delete(access_key).where(
    access_key.c.user_id == bindparam("user"), access_key.c.revoked_at.is_not(None)
)

INSERT_KEY = insert(access_key)
#: What every request begins with. Policies as text: then a row has a hash, and what follows from it can be kept.
CREDENTIAL = (
    select(
        access_key.c.secret,
        access_key.c.user_id,
        account_user.c.account_id,
        cast(account_user.c.policies, Text).label("policies"),
    )
    .join(account_user)
    .where(access_key.c.id == bindparam("access_key"), access_key.c.revoked_at.is_(None))
)
KEYS = (
    select(
        access_key,
        account_user.c.name.label("user_name"),
        account_user.c.account_id,
        account_user.c.policies,
        account.c.name.label("account_name"),
    )
    .join(account_user, access_key.c.user_id == account_user.c.id)
    .join(account, account_user.c.account_id == account.c.id)
    .order_by(access_key.c.created_at)
)
REPLACE_KEY = (
    update(access_key)
    .where(
        access_key.c.id == bindparam("access_key"),
        access_key.c.user_id.in_(select(account_user.c.id).where(account_user.c.account_id == bindparam("owner"))),
        access_key.c.revoked_at.is_not(None),
    )
    .values(secret=bindparam("sealed"), user_id=bindparam("user"), revoked_at=None)
)
REVOKE_KEY = (
    update(access_key)
    .where(access_key.c.id == bindparam("access_key"), access_key.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)
