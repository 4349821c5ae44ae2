"""A SELECT compiled once gives what ``execute`` gives, on both databases."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import bindparam, insert, literal, select, text

from modelpress.errors import StoreUnavailable
from modelpress.store.database import Database
from modelpress.store.table import task
from tests.conformance.scene import RECIPE, Scene
from tests.conformance.together import at_once


@pytest.mark.parametrize("reverse", [False, True])
def test_a_compiled_page_is_the_executed_page(scene: Scene, reverse: bool) -> None:
    for _ in range(3):
        scene.clock.advance(seconds=1)
        scene.task()
    page = (
        select(task)
        .where(task.c.account_id == bindparam("account_id"), task.c.seq >= bindparam("start"))
        .order_by(task.c.seq.desc() if reverse else task.c.seq)
        .limit(bindparam("limit"))
    )
    parameters = {"account_id": scene.account_id, "start": 2, "limit": 2}
    with scene.database.read() as connection:
        expected = connection.execute(page, parameters).all()
    rows = scene.database.compiled(page)(**parameters)
    assert rows == [tuple(row) for row in expected]
    assert len(rows) == 2
    assert rows[0].created_at == expected[0].created_at  # by name, and as the column's type has it
    assert rows[0].recipe == RECIPE.as_json()


def test_parameters_are_written_as_their_columns_have_them_and_constants_stay(scene: Scene) -> None:
    made = scene.task()
    since = select(task.c.id, literal("x").label("constant")).where(
        task.c.created_at >= bindparam("since"), task.c.status == "creating", task.c.barren_attempts < 3
    )
    compiled = scene.database.compiled(since)
    assert compiled(since=scene.clock()) == [(made.id, "x")]
    assert compiled.first(since=scene.clock()).constant == "x"
    assert compiled(since=scene.clock.advance(seconds=1)) == []
    assert compiled.first(since=scene.clock()) is None


@pytest.mark.parametrize("parameters", [{}, {"id": "a", "other": "b"}, {"other": "b"}])
def test_other_parameters_than_the_statements_own_are_refused(database: Database, parameters: dict[str, Any]) -> None:
    compiled = database.compiled(select(task.c.id).where(task.c.id == bindparam("id")))
    with pytest.raises(TypeError, match="id"):
        compiled(**parameters)


def test_a_list_of_unknown_length_is_refused_when_it_is_compiled(database: Database) -> None:
    with pytest.raises(TypeError, match="once"):
        database.compiled(select(task.c.id).where(task.c.id.in_(bindparam("ids", expanding=True))))


def test_many_threads_may_call_it_at_once_and_what_is_committed_is_seen(scene: Scene) -> None:
    compiled = scene.database.compiled(select(task.c.id).where(task.c.account_id == bindparam("account_id")))
    counts: list[int] = []
    for made in range(3):
        assert at_once(*[lambda: counts.append(len(compiled(account_id=scene.account_id)))] * 8) == [None] * 8
        assert counts == [made] * 8
        counts.clear()
        scene.task()


def test_a_failure_of_the_driver_is_told_and_the_next_call_is_answered(database: Database) -> None:
    compiled = database.compiled(select(task.c.id))
    assert compiled() == []
    with database.write() as connection:
        connection.execute(text("ALTER TABLE task RENAME TO hidden"))
    try:
        with pytest.raises(StoreUnavailable) as caught:
            compiled()
        assert caught.value.hint is not None
    finally:
        with database.write() as connection:
            connection.execute(text("ALTER TABLE hidden RENAME TO task"))
    assert compiled() == []


def test_what_is_written_after_it_is_still_one_transaction(scene: Scene) -> None:
    """On PostgreSQL the two share connections, and a compiled statement runs outside of transactions."""
    compiled = scene.database.compiled(select(task.c.id))
    row = {
        "account_id": scene.account_id,
        "name": "",
        "description": "",
        "status": "creating",
        "recipe": RECIPE.as_json(),
        "source_model_id": scene.source.id,
        "model_set_id": scene.model_set.id,
        "created_at": scene.clock(),
    }

    def write_and_fail(number: int) -> None:
        compiled()
        with scene.database.write() as connection:
            connection.execute(insert(task), row | {"id": f"amva-{number}", "output_model_id": f"amv-{number}"})
            raise KeyError

    for outcome in at_once(*(partial(write_and_fail, number) for number in range(4))):
        assert isinstance(outcome, KeyError)
    assert compiled() == []
