"""Accounts and access keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from modelpress.domain.identifier import ACCOUNT, new_id
from modelpress.domain.policy import Policy
from modelpress.errors import NameConflict, NoSuchAccessKey
from modelpress.store import key_statement as statement
from modelpress.store.database import Database
from modelpress.store.secret import SecretBox


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """An access key without its secret."""

    id: str
    account_id: str
    account_name: str
    policies: frozenset[Policy]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What the signature check needs; the secret is never in a repr."""

    account_id: str
    secret_key: str
    policies: frozenset[Policy]

    def __repr__(self) -> str:
        return f"Credential(account_id={self.account_id!r})"


class KeyStore:
    """Accounts and their access keys; secrets are encrypted before they are written."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def account_named(self, name: str, *, now: datetime) -> str:
        """The id of the account of this name; made if there is none."""
        with self._database.read() as connection:
            found = connection.execute(statement.ACCOUNT_BY_NAME, {"name": name}).scalar_one_or_none()
        if found is not None:
            return str(found)
        account_id = new_id(ACCOUNT)
        try:
            with self._database.write() as connection:
                connection.execute(statement.INSERT_ACCOUNT, {"id": account_id, "name": name, "created_at": now})
        except IntegrityError:  # another process made it in between
            return self.account_named(name, now=now)
        return account_id

    def put_key(
        self, access_key: str, *, secret_key: str, account_id: str, policies: Iterable[Policy], now: datetime
    ) -> None:
        """Store a key; one of the same account that was revoked is put in force again, with the new secret.

        Raises: NameConflict if the key exists and is in force, or belongs to another account.
        """
        sealed = self._box.seal(secret_key, access_key=access_key)
        granted = sorted(policy.value for policy in policies)
        replacement = {"access_key": access_key, "owner": account_id, "sealed": sealed, "granted": granted}
        columns = {
            "id": access_key,
            "account_id": account_id,
            "secret": sealed,
            "policies": granted,
            "created_at": now,
        }
        try:
            with self._database.write() as connection:
                if not connection.execute(statement.REPLACE_KEY, replacement).rowcount:
                    connection.execute(statement.INSERT_KEY, columns)
        except IntegrityError as exc:
            raise NameConflict("access key", access_key) from exc

    def credential(self, access_key: str) -> Credential | None:
        """The credential of a key that is in force, else None."""
        with self._database.read() as connection:
            row = connection.execute(statement.KEY, {"access_key": access_key}).first()
        if row is None or row.revoked_at is not None:
            return None
        return Credential(
            account_id=row.account_id,
            secret_key=self._box.open(row.secret, access_key=access_key),
            policies=frozenset(Policy(name) for name in row.policies),
        )

    def keys(self) -> list[AccessKey]:
        """All keys, oldest first, revoked ones too."""
        with self._database.read() as connection:
            rows = connection.execute(statement.KEYS).all()
        return [
            AccessKey(
                id=row.id,
                account_id=row.account_id,
                account_name=row.account_name,
                policies=frozenset(Policy(name) for name in row.policies),
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
