"""Fixtures of the store's tests."""

from __future__ import annotations

import pytest
from tests.conformance.clock import SettableClock
from tests.conformance.scene import Scene, make_scene

from modelpress.store.database import Database
from modelpress.store.store import Store


@pytest.fixture
def scene(store: Store, database: Database, clock: SettableClock) -> Scene:
    """An account with a model version, in the store under test."""
    return make_scene(store, database, clock)


@pytest.fixture
def stranger(store: Store, database: Database, clock: SettableClock) -> Scene:
    """Another account of the same store."""
    return make_scene(store, database, clock, account="theirs")
