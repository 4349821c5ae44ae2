"""The services of one process, put together from the settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from modelpress.errors import SettingsError
from modelpress.service.access import AccessService
from modelpress.service.clock import Clock, system_clock
from modelpress.service.configurations import ConfigurationService
from modelpress.service.exports import ExportService, ExportWork
from modelpress.service.models import ModelService
from modelpress.service.tasks import TaskService
from modelpress.service.webhooks import WebhookService
from modelpress.service.work import WorkService
from modelpress.settings import Settings
from modelpress.storage.bucket import Buckets
from modelpress.storage.export_place import ExportPlaces
from modelpress.store.store import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the api, the worker and the operator's commands call."""

    access: AccessService
    models: ModelService
    configurations: ConfigurationService
    tasks: TaskService
    work: WorkService
    webhooks: WebhookService
    exports: ExportService
    export_work: ExportWork
    #: Whether an indexed read is so cheap that it may run on an event loop.
    answers_fast: bool
    clock: Clock


@contextmanager
def open_services(settings: Settings, *, clock: Clock = system_clock) -> Iterator[Services]:
    """The services over the database and buckets of ``settings``.

    Raises: SettingsError, StoreUnavailable.
    """
    _make_data_directory(settings)
    store = open_store(settings)
    try:
        buckets = Buckets(settings)
        places = ExportPlaces(buckets, default_bucket=settings.export_bucket)
        yield Services(
            access=AccessService(store.keys, clock=clock),
            models=ModelService(store.models, buckets, templates=store.templates, clock=clock),
            configurations=ConfigurationService(store.templates, store.models, clock=clock),
            tasks=TaskService(store.tasks, store.models, buckets, clock=clock),
            work=WorkService(store.tasks, store.models, buckets, settings=settings, clock=clock),
            webhooks=WebhookService(store.webhooks, clock=clock),
            exports=ExportService(store.exports, store.models, buckets, places, clock=clock),
            export_work=ExportWork(store.exports, buckets, places, settings=settings, clock=clock),
            answers_fast=store.answers_fast,
            clock=clock,
        )
    finally:
        store.close()


def _make_data_directory(settings: Settings) -> None:
    hint = "choose another with --data or MODELPRESS_DATA"
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise SettingsError(f"data directory {settings.data} cannot be made: {exc.strerror}", hint=hint) from exc
    if not os.access(settings.data, os.W_OK | os.X_OK):
        raise SettingsError(f"data directory {settings.data} cannot be written to by this user", hint=hint)
