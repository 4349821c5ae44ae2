"""Fixtures of the store's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelpress.service.services import Services, open_services
from modelpress.settings import Settings
from modelpress.store.database import Database
from modelpress.store.store import Store
from tests.conformance.clock import SettableClock
from tests.conformance.house import House, make_house
from tests.conformance.scene import Scene, make_scene


@pytest.fixture
def scene(store: Store, database: Database, clock: SettableClock) -> Scene:
    """An account with a model version, in the store under test."""
    return make_scene(store, database, clock)


@pytest.fixture
def stranger(store: Store, database: Database, clock: SettableClock) -> Scene:
    """Another account of the same store."""
    return make_scene(store, database, clock, account="theirs")


@pytest.fixture
def services(settings: Settings, clock: SettableClock) -> Iterator[Services]:
    """The services over the database under test."""
    with open_services(settings, clock=clock) as opened:
        yield opened


@pytest.fixture
def house(services: Services, settings: Settings, clock: SettableClock) -> House:
    """The services with an account that imported a tiny model."""
    return make_house(services, settings, clock)
