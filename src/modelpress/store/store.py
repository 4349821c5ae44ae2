"""The store: one database and what is kept in it."""

from __future__ import annotations

from modelpress.settings import Settings
from modelpress.store.database import Database
from modelpress.store.export_store import ExportStore
from modelpress.store.key_store import KeyStore
from modelpress.store.model_store import ModelStore
from modelpress.store.secret import SecretBox, load_master_key
from modelpress.store.task_store import TaskStore
from modelpress.store.template_store import TemplateStore
from modelpress.store.webhook_store import WebhookStore


class Store:
    """Tasks, models, template files, access keys and webhooks; every method is one transaction."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self.tasks = TaskStore(database)
        self.models = ModelStore(database)
        self.exports = ExportStore(database)
        self.keys = KeyStore(database, box)
        self.templates = TemplateStore(database)
        self.webhooks = WebhookStore(database, box)

    @property
    def answers_fast(self) -> bool:
        """Whether an indexed read may run on an event loop."""
        return self._database.answers_fast

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()


def open_store(settings: Settings) -> Store:
    """The store of these settings, its schema brought to the newest revision.

    Raises: SettingsError, StoreUnavailable.
    """
    from modelpress.store.upgrade import upgrade  # Alembic: slow to import

    database = Database(settings.database_url)
    try:
        upgrade(database)
        return Store(database, SecretBox(load_master_key(settings.master_key_path)))
    except BaseException:
        database.close()
        raise
