"""What the benchmarks measure on: a database that is seeded past the store is one that the store could have made."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect

from benchmarks.api import pages, request
from benchmarks.api.seeding import PAIRS, Seeded, seed
from modelpress.api.actions import ACTIONS
from modelpress.api.request import decode
from modelpress.api.task_result import TaskList
from modelpress.domain.page import PageRequest
from modelpress.service.services import open_services
from modelpress.store.database import Database
from tests.conftest import EmptyDatabase

_TASKS = 1_000


@pytest.fixture
def seeded(backend: str, empty_database: EmptyDatabase, tmp_path: Path) -> Seeded:
    """A small database such as the benchmarks page through."""
    url = empty_database()
    engine = "sqlite" if backend == "sqlite" else "postgresql"
    empty = Seeded(
        engine=engine, name="1k", size=_TASKS, data=str(tmp_path), url=url, accounts=(), seconds=0, size_bytes=0
    )
    return seed(empty)


def _rules(connection: Connection, table: str) -> set[str]:
    found = inspect(connection)
    told = (found.get_indexes(table), found.get_unique_constraints(table), found.get_foreign_keys(table))
    return {str(rule["name"]) for rules in told for rule in rules}


def test_seeding_leaves_every_index_and_constraint_in_place(seeded: Seeded, database: Database) -> None:
    full = Database(seeded.url)
    try:
        for table in ("task", "task_tag", "task_event"):
            with full.read() as seeded_connection, database.read() as connection:
                assert _rules(seeded_connection, table) == _rules(connection, table)
    finally:
        full.close()


def test_every_list_of_the_scaling_table_has_whole_pages(seeded: Seeded) -> None:
    action = ACTIONS[request.LIST]
    with open_services(seeded.settings) as services:
        caller = services.access.caller(PAIRS[0].access_key)[0]
        for bodies in pages.variants(seeded, count=20).of.values():
            for body in bodies:
                asked = decode(request.encoded(request.page_of(body)), action.request)
                page = action.run(services, caller, asked)
                assert isinstance(page, TaskList)
                assert len(page.model_comp_task_list) == request.PAGE_ITEMS


def test_what_is_made_afterwards_is_the_newest(seeded: Seeded) -> None:
    with open_services(seeded.settings) as services:
        caller = services.access.caller(PAIRS[0].access_key)[0]
        made = services.models.create_set(caller, name="after", model_type="Text2Text", labels=())
        newest = services.models.page_sets(caller, PageRequest(max_keys=1, reverse=True))
        assert newest.items[0].id == made.id
