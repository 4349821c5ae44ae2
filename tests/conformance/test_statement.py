"""What the statements cost, and that they mean the same on both databases."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Executable, Text, event, insert, select, text
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, ClauseElement, ColumnElement, UnaryExpression
from sqlalchemy.sql.selectable import Select

from modelpress.store import (
    export_statement,
    key_statement,
    model_statement,
    task_page_statement,
    task_statement,
    template_statement,
    webhook_statement,
)
from modelpress.store.database import Database
from modelpress.store.table import task, task_tag
from modelpress.store.task_page_statement import Arm, Shape, end_of_look, page_of
from tests.conformance.scene import RECIPE, Scene

#: All modules of statements.
MODULES = (
    key_statement,
    model_statement,
    task_page_statement,
    task_statement,
    webhook_statement,
    export_statement,
    template_statement,
)
_ORDERING = {operators.lt, operators.le, operators.gt, operators.ge}


def plan_of(database: Database, query: Executable, **parameters: Any) -> str:
    """How the database would run ``query``, in its own words."""
    prefix = {"postgresql": "EXPLAIN (COSTS OFF) ", "sqlite": "EXPLAIN QUERY PLAN "}[database.dialect]
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")

        @event.listens_for(connection, "before_cursor_execute", retval=True)
        def _explain(_c: Any, _cursor: Any, command: str, values: Any, _context: Any, _many: bool) -> tuple[str, Any]:
            return prefix + command, values

        rows = connection.execute(query, parameters).cursor.fetchall()
    return "\n".join(str(row[-1]) for row in rows)


@pytest.fixture
def crowded(scene: Scene, stranger: Scene) -> Scene:
    """An account among others, all with many tasks, nearly all of them final."""
    sources = [scene.source, *(scene.version_in(scene.model_set) for _ in range(3))]
    owners = [(scene, source) for source in sources] + [(stranger, stranger.source)] * 96
    rows = [
        {
            "id": f"amva-{number}",
            "account_id": owner.account_id,
            "name": "",
            "description": "as long as people write them, " * 10,
            "status": "succeeded" if number % 200 else "creating",
            "recipe": RECIPE.as_json(),
            "source_model_id": source.id,
            "model_set_id": owner.model_set.id,
            "output_model_id": f"amv-{number}",
            "created_at": scene.clock(),
        }
        for number, (owner, source) in enumerate(owners * 60)
    ]
    with scene.database.write() as connection:
        connection.execute(insert(task), rows)
        seqs = connection.execute(select(task.c.seq, task.c.account_id).order_by(task.c.seq)).all()
        tagged = [
            {"task_seq": seq, "account_id": owner, "tag_key": "team", "tag_value": "search" if seq % 3 else "ads"}
            for seq, owner in seqs
        ]
        connection.execute(insert(task_tag), tagged)
    # Without figures for SQLite: that is how a database stands on most days.
    if scene.database.dialect == "postgresql":
        with scene.database.write() as connection:
            connection.execute(text("ANALYZE"))
    return scene


_ARM = {
    Arm.ACCOUNT: {},
    Arm.SOURCE: {"source_model_id": "amv-x"},
    Arm.STATUS: {"status": "succeeded"},
    Arm.TAG: {"tag_key": "team", "tag_value": "search"},
}
_CONDITIONS = {
    "strategy": "Quantization",
    "scheme": "W8A16C16",
    "model_set_id": "am-x",
    "name_part": "x",
    "created_from": None,
    "created_before": None,
}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("conditions", [(), tuple(_CONDITIONS)], ids=["bare", "with all conditions"])
@pytest.mark.parametrize("arm", list(Arm))
def test_a_page_is_one_range_of_one_index_and_nothing_is_sorted(
    crowded: Scene, arm: Arm, conditions: tuple[str, ...], reverse: bool
) -> None:
    shape = Shape(arm=arm, reverse=reverse, conditions=frozenset(conditions))
    parameters = {name: _CONDITIONS[name] or crowded.clock() for name in conditions} | _ARM[arm]
    plan = plan_of(
        crowded.database,
        page_of(shape, dialect=crowded.database.dialect),
        account_id=crowded.account_id,
        start=4000 if reverse else 3000,
        stop=3000 if reverse else 4000,
        limit=11,
        **parameters,
    )
    _check_range(crowded.database, plan, arm, reverse, was_cut=bool(conditions))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("arm", list(Arm))
def test_a_page_that_begins_with_a_marker_is_the_same_range(crowded: Scene, arm: Arm, reverse: bool) -> None:
    shape = Shape(arm=arm, reverse=reverse, marked=True)
    plan = plan_of(
        crowded.database,
        page_of(shape, dialect=crowded.database.dialect),
        account_id=crowded.account_id,
        marker="amva-3000",
        stop=0 if reverse else 4000,
        limit=11,
        **_ARM[arm],
    )
    if crowded.database.dialect == "sqlite":
        look = "\nSCALAR SUBQUERY 1\nSEARCH marked USING INDEX sqlite_autoindex_task_1 (id=?)"
        assert plan.count(look) == 1
        plan = plan.replace(look, "")
    _check_range(crowded.database, plan, arm, reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("arm", list(Arm))
def test_where_a_look_ends_is_found_in_the_same_range(crowded: Scene, arm: Arm, reverse: bool) -> None:
    bounds = {"start": 4000 if reverse else 3000, "stop": 3000 if reverse else 4000}
    query = end_of_look(arm, reverse=reverse)
    plan = plan_of(crowded.database, query, account_id=crowded.account_id, looked_at=50, **bounds, **_ARM[arm])
    if arm is Arm.TAG and crowded.database.dialect == "sqlite":
        plan = plan.replace("\nCORRELATED SCALAR SUBQUERY 1", "").replace("sqlite_autoindex_task_1", "pk")
    _check_range(crowded.database, plan, arm, reverse)


def _check_range(database: Database, plan: str, arm: Arm, reverse: bool, *, was_cut: bool = False) -> None:
    """One range of the arm's index; the task of a tag is then found by its number. Nothing is sorted or scanned.

    A range that was cut has a few thousand rows at most; PostgreSQL may sort what it expects to be left of so few.
    """
    columns = {
        Arm.ACCOUNT: "account_id",
        Arm.SOURCE: "account_id source_model_id",
        Arm.STATUS: "account_id status",
        Arm.TAG: "account_id tag_key tag_value",
    }[arm].split()
    seq = "task_seq" if arm is Arm.TAG else "seq"
    if database.dialect == "sqlite":
        equal = " AND ".join(f"{column}=?" for column in columns)
        table, covering = ("task_tag", "COVERING ") if arm is Arm.TAG else ("task", "")
        first, *rest = plan.splitlines()
        assert first == f"SEARCH {table} USING {covering}INDEX {arm.value} ({equal} AND {seq}>? AND {seq}<?)"
        assert rest == (["SEARCH task USING INTEGER PRIMARY KEY (rowid=?)"] if arm is Arm.TAG else [])
        return
    index, condition = next(pair for pair in pairwise(plan.splitlines()) if arm.value in pair[0])
    assert all(f"({column} = " in condition for column in columns)
    assert f"({seq} >= " in condition
    assert f"({seq} <= " in condition
    assert "Seq Scan" not in plan
    if not was_cut:
        assert f"Scan{' Backward' if reverse else ''} using {arm.value} on" in index
        assert "Sort" not in plan


@pytest.mark.parametrize(("name", "index"), [("LAST_BEFORE", "ix_task_created"), ("FIRST_AFTER", "ix_task_created")])
def test_the_edge_of_a_time_is_one_look_into_its_index(crowded: Scene, name: str, index: str) -> None:
    query = vars(task_page_statement)[name]
    plan = plan_of(crowded.database, query, account_id=crowded.account_id, moment=crowded.clock())
    assert index in plan
    assert "SCAN" not in plan.replace("Index Scan", "")
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_the_queue_is_read_from_the_index_of_open_tasks(crowded: Scene) -> None:
    plan = plan_of(crowded.database, task_page_statement.WAITING, limit=1000)
    assert "ix_task_open" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_looking_for_work_reads_the_index_of_open_tasks_and_not_all_there_ever_were(crowded: Scene) -> None:
    claim = task_statement.CLAIM[crowded.database.dialect]
    plan = plan_of(crowded.database, claim, holding="worker", now=crowded.clock(), until=crowded.clock())
    assert "ix_task_open" in plan
    assert "SCAN task\n" not in plan + "\n"
    assert "Seq Scan" not in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("name", ["USER_OF_VERSION", "USER_OF_SET", "RELEASE_HOLDER"])
def test_looking_among_open_tasks_reads_their_index(crowded: Scene, name: str) -> None:
    parameters: dict[str, dict[str, Any]] = {
        "USER_OF_VERSION": {"model_id": crowded.source.id, "owner": crowded.account_id},
        "USER_OF_SET": {"set_id": crowded.model_set.id, "owner": crowded.account_id},
        "RELEASE_HOLDER": {"dead_holder": "worker", "ended": crowded.clock()},
    }
    query = next(vars(module)[name] for module in MODULES if name in vars(module))
    plan = plan_of(crowded.database, query, **parameters[name])
    assert "ix_task_open" in plan or "ix_task_page_source" in plan
    assert "SCAN task\n" not in plan + "\n"
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("DUE", "ix_webhook_delivery_due"),
        ("DELIVERIES", "ix_webhook_delivery_account"),
        ("SWEEP", "ix_webhook_delivery_created"),
        ("ANNOUNCED", "ix_task_event_task"),
    ],
)
def test_a_look_into_the_outbox_is_one_range_of_an_index_and_nothing_is_sorted(
    scene: Scene, name: str, index: str
) -> None:
    parameters: dict[str, dict[str, Any]] = {
        "DUE": {"now": scene.clock(), "busy_accounts": ["acc-1"]},
        "DELIVERIES": {"of_account": scene.account_id, "limit": 20},
        "SWEEP": {"before": scene.clock(), "at_most": 1000},
        "ANNOUNCED": {"task_id": "amva-1"},
    }
    plan = plan_of(scene.database, getattr(webhook_statement, name), **parameters[name])
    assert index in plan
    for costly in ("SCAN", "Seq Scan", "Sort", "TEMP B-TREE"):
        assert costly not in plan, plan


def test_exports_are_looked_for_by_their_indexes(crowded: Scene) -> None:
    claim = export_statement.CLAIM[crowded.database.dialect]
    now = crowded.clock()
    of_model = {"account_id": crowded.account_id, "model_id": crowded.source.id}
    plans = {
        "ix_export_task_open": plan_of(crowded.database, claim, holding="worker", now=now, until=now),
        "_export_task_open_": plan_of(crowded.database, export_statement.OPEN_EXPORT, **of_model),
        "ix_export_task_model": plan_of(crowded.database, export_statement.NEWEST_EXPORT, **of_model),
    }
    for index, plan in plans.items():
        assert index in plan
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


def _statements() -> list[tuple[str, ClauseElement]]:
    found: list[tuple[str, ClauseElement]] = []
    for name, value in (row for module in MODULES for row in vars(module).items()):
        for part in value.values() if isinstance(value, dict) else [value]:
            if isinstance(part, ClauseElement):
                found.append((name, part))
    return found


def test_nothing_is_ordered_or_compared_by_text() -> None:
    """Databases sort texts by their own collations, SQLite by bytes: only numbers and times may decide."""
    checked = 0
    for name, whole in _statements():
        for element in visitors.iterate(whole):
            compared: list[ColumnElement[Any]] = []
            if isinstance(element, Select):
                compared += [
                    clause.element if isinstance(clause, UnaryExpression) else clause
                    for clause in element._order_by_clauses
                ]
            elif isinstance(element, BinaryExpression) and element.operator in _ORDERING:
                compared += [element.left, element.right]
            for column in compared:
                checked += 1
                assert not isinstance(column.type, Text), f"{name}: {column}"
    assert checked > 20


def test_a_recipe_is_stored_as_an_object_that_other_programs_can_read(scene: Scene) -> None:
    scene.task()
    with scene.database.read() as connection:
        stored = connection.execute(text("SELECT recipe FROM task")).scalar_one()
    assert (json.loads(stored) if isinstance(stored, str) else stored) == RECIPE.as_json()
