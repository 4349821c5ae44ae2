"""Accounts, their users and access keys."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy.exc import IntegrityError

from modelpress.domain.identifier import ACCOUNT, USER, new_id
from modelpress.domain.policy import Policy
from modelpress.errors import NameConflict, NoSuchAccessKey, NoSuchUser, UserInUse
from modelpress.store import key_statement as statement
from modelpress.store.database import Database
from modelpress.store.secret import SecretBox

#: Decrypted credentials that are kept in memory: some hundred bytes each.
_OPENED_AT_MOST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account, and how many users it has."""

    id: str
    name: str
    users: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of an account, and how many access keys of it are in force."""

    id: str
    name: str
    account_id: str
    account_name: str
    policies: frozenset[Policy]
    keys_in_force: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """An access key without its secret; account and policies are its user's."""

    id: str
    user_name: str
    account_id: str
    account_name: str
    policies: frozenset[Policy]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What the signature check needs; the secret is never in a repr."""

    account_id: str
    user_id: str
    secret_key: str
    policies: frozenset[Policy]

    def __repr__(self) -> str:
        return f"Credential(account_id={self.account_id!r}, user_id={self.user_id!r})"


class KeyStore:
    """Accounts, their users and access keys; secrets are encrypted before they are written."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box
        self._credential = database.compiled(statement.CREDENTIAL)
        # By the whole row, which is read for every request: whatever changes in the database changes the answer.
        self._opened = lru_cache(maxsize=_OPENED_AT_MOST)(self._open)

    # Accounts.

    def create_account(self, name: str, *, now: datetime) -> str:
        """A new account's id.

        Raises: NameConflict.
        """
        account_id = new_id(ACCOUNT)
        try:
            with self._database.write() as connection:
                connection.execute(statement.INSERT_ACCOUNT, {"id": account_id, "name": name, "created_at": now})
        except IntegrityError as exc:
            raise NameConflict("account", name) from exc
        return account_id

    def account_named(self, name: str, *, now: datetime) -> str:
        """The id of the account of this name; made if there is none."""
        with self._database.read() as connection:
            found = connection.execute(statement.ACCOUNT_BY_NAME, {"name": name}).scalar_one_or_none()
        if found is not None:
            return str(found)
        try:
            return self.create_account(name, now=now)
        except NameConflict:  # another process made it in between
            return self.account_named(name, now=now)

    def accounts(self) -> list[Account]:
        """All accounts, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(statement.ACCOUNTS).all()
        return [Account(id=row.id, name=row.name, users=row.users, created_at=row.created_at) for row in rows]

    # Users.

    def create_user(self, name: str, *, account_id: str, policies: Iterable[Policy], now: datetime) -> str:
        """A new user's id.

        Raises: NameConflict if the account has a user of this name.
        """
        user_id = new_id(USER)
        columns = {
            "id": user_id,
            "account_id": account_id,
            "name": name,
            "policies": _stored(policies),
            "created_at": now,
        }
        try:
            with self._database.write() as connection:
                connection.execute(statement.INSERT_USER, columns)
        except IntegrityError as exc:
            raise NameConflict("user", name) from exc
        return user_id

    def find_user(self, name: str, *, account: str) -> User | None:
        """The user of this name in the account of that name, if there is one."""
        with self._database.read() as connection:
            row = connection.execute(statement.USER_BY_NAME, {"name": name, "account": account}).one_or_none()
        return None if row is None else _to_user(row)

    def users(self) -> list[User]:
        """All users, oldest first."""
        with self._database.read() as connection:
            return [_to_user(row) for row in connection.execute(statement.USERS)]

    def set_policies(self, user: User, policies: Iterable[Policy]) -> None:
        """Replace a user's policies, at once for every key of it and every server on this database.

        Raises: NoSuchUser if it was deleted meanwhile.
        """
        with self._database.write() as connection:
            granted = {"user": user.id, "granted": _stored(policies)}
            if not connection.execute(statement.SET_POLICIES, granted).rowcount:
                raise NoSuchUser(user.name, account=user.account_name)

    def delete_user(self, user: User) -> None:
        """Delete a user and its revoked keys.

        Raises: UserInUse if it has keys in force; NoSuchUser if it was deleted meanwhile.
        """
        try:
            with self._database.write() as connection:
                connection.execute(statement.DELETE_REVOKED_KEYS, {"user": user.id})
                if not connection.execute(statement.DELETE_USER, {"user": user.id}).rowcount:
                    raise NoSuchUser(user.name, account=user.account_name)
        except IntegrityError as exc:  # a key that is left refers to it
            raise UserInUse(user.name, account=user.account_name) from exc

    # Access keys.

    def put_key(self, access_key: str, *, secret_key: str, user: User, now: datetime) -> None:
        """Store a user's key; one of the same account that was revoked is put in force again, as this user's and with
        the new secret.

        Raises: NameConflict if the key exists and is in force, or belongs to another account; NoSuchUser if the user
            was deleted meanwhile.
        """
        sealed = self._box.seal(secret_key, access_key=access_key)
        replacement = {"access_key": access_key, "owner": user.account_id, "user": user.id, "sealed": sealed}
        columns = {"id": access_key, "user_id": user.id, "secret": sealed, "created_at": now}
        try:
            with self._database.write() as connection:
                if not connection.execute(statement.REPLACE_KEY, replacement).rowcount:
                    connection.execute(statement.INSERT_KEY, columns)
        except IntegrityError as exc:
            if self.find_user(user.name, account=user.account_name) is None:
                raise NoSuchUser(user.name, account=user.account_name) from exc
            raise NameConflict("access key", access_key) from exc

    def credential(self, access_key: str) -> Credential | None:
        """The credential of a key that is in force, else None; as the database has it at this moment."""
        row = self._credential.first(access_key=access_key)
        return None if row is None else self._opened(access_key, row)

    def _open(self, access_key: str, row: Any) -> Credential:
        return Credential(
            account_id=row.account_id,
            user_id=row.user_id,
            secret_key=self._box.open(row.secret, access_key=access_key),
            policies=_read(json.loads(row.policies)),
        )

    def keys(self) -> list[AccessKey]:
        """All keys, oldest first, revoked ones too."""
        with self._database.read() as connection:
            rows = connection.execute(statement.KEYS).all()
        return [
            AccessKey(
                id=row.id,
                user_name=row.user_name,
                account_id=row.account_id,
                account_name=row.account_name,
                policies=_read(row.policies),
                created_at=row.created_at,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]

    def revoke(self, access_key: str, *, now: datetime) -> None:
        """Put a key out of force, at once for every server on this database.

        Raises: NoSuchAccessKey if there is none, or it was revoked already.
        """
        with self._database.write() as connection:
            if not connection.execute(statement.REVOKE_KEY, {"access_key": access_key, "now": now}).rowcount:
                raise NoSuchAccessKey(access_key)


def _stored(policies: Iterable[Policy]) -> list[str]:
    return sorted(policy.value for policy in frozenset(policies))


def _read(names: Iterable[str]) -> frozenset[Policy]:
    return frozenset(Policy(name) for name in names)


def _to_user(row: Any) -> User:
    return User(
        id=row.id,
        name=row.name,
        account_id=row.account_id,
        account_name=row.account_name,
        policies=_read(row.policies),
        keys_in_force=row.keys_in_force,
        created_at=row.created_at,
    )
