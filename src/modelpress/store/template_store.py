"""Chat templates that people upload as Python source: bytes that are kept and told, and never run."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from modelpress.domain.identifier import TEMPLATE, new_id
from modelpress.store import template_statement as statement
from modelpress.store.database import Database


class TemplateStore:
    """Template files of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, content: bytes, *, account_id: str, now: datetime) -> str:
        """The name of the file; the same bytes of an account are kept once, under one name."""
        digest = hashlib.sha256(content).hexdigest()
        kept = self._same(digest, account_id=account_id)
        if kept is not None:
            return kept
        columns = {
            "id": new_id(TEMPLATE) + ".py",
            "account_id": account_id,
            "digest": digest,
            "content": content,
            "created_at": now,
        }
        try:
            with self._database.write() as connection:
                connection.execute(statement.INSERT_TEMPLATE, columns)
        except IntegrityError:  # another call kept the same bytes since the look above
            kept = self._same(digest, account_id=account_id)
            if kept is None:
                raise
            return kept
        return str(columns["id"])

    def _same(self, digest: str, *, account_id: str) -> str | None:
        with self._database.read() as connection:
            parameters = {"digest": digest, "account_id": account_id}
            return connection.execute(statement.SAME_TEMPLATE, parameters).scalar_one_or_none()

    def has(self, file: str, *, account_id: str) -> bool:
        """Whether the account has a file of this name."""
        with self._database.read() as connection:
            parameters = {"file": file, "account_id": account_id}
            return connection.execute(statement.OWN_TEMPLATE, parameters).first() is not None

    def content(self, file: str) -> bytes:
        """The bytes of a file that a version was registered with."""
        with self._database.read() as connection:
            return bytes(connection.execute(statement.TEMPLATE, {"file": file}).scalar_one())
