"""Checks made of an action's table: required fields, kinds in requests, kinds in all answers that were met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelpress.conformance import document
from modelpress.conformance.check import Check
from modelpress.conformance.field import Field, Mark
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Session
from modelpress.conformance.table import ActionTable
from modelpress.conformance.verdict import Mismatch, NotApplicable


def _offered(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    return tuple(field for field in fields if field.mark is not Mark.NOT_OFFERED)


def request_checks(table: ActionTable) -> Iterator[Check]:
    """That required fields are required, and that a value of another kind is refused."""
    fields = _offered(table.request)
    # An item of an optional list has required fields of its own, which an empty body does not lack.
    required = tuple(field.place for field in fields if field.always and "[]." not in field.place)
    if required:
        yield Check(
            action=table.name,
            name="required-fields",
            sentence="A request without its required fields is refused with 400 InappropriateJSON.",
            run=lambda session, scene: _without(session, table),
            document=document.ERRORS,
            writes=table.writes,
            ours=table.prints_optional,
        )
    if fields:
        yield Check(
            action=table.name,
            name="kinds-of-fields",
            sentence="A field of another kind than documented is refused with 400 InappropriateJSON.",
            run=lambda session, scene: _with_other_kinds(session, table, fields),
            request=tuple(field.place for field in fields),
            document=document.ERRORS,
            writes=table.writes,
            kinds_only=True,
        )


def _without(session: Session, table: ActionTable) -> str:
    return session.refused(table.name, {}, code="InappropriateJSON", status=400)


def _with_other_kinds(session: Session, table: ActionTable, fields: tuple[Field, ...]) -> str:
    for field in fields:
        *outside, name = field.place.removesuffix("[]").split(".")
        body: Any = {name: 7 if field.kind in ("object", "strings", "list") else {"wrong": "kind"}}
        for place in reversed(outside):
            body = {place.removesuffix("[]"): [body] if place.endswith("[]") else body}
        session.refused(table.name, body, code="InappropriateJSON", status=400, about=name)
    return f"{len(fields)} fields"


def answer_check(table: ActionTable) -> Check:
    """That every answer met so far was as its table has it; to be run last."""

    def run(session: Session, scene: Scene) -> str:
        wrong, seen = session.faults[table.name], session.seen[table.name]
        if wrong:
            raise Mismatch("; ".join(sorted(set(wrong))))
        if not seen:
            raise NotApplicable("no answer of it was met")
        session.met[table.name].update(seen)
        return f"{len(seen)} fields were met"

    return Check(
        action=table.name,
        name="fields-of-answers",
        sentence="Every answer that was met has the documented fields, each of its kind, none missing.",
        run=run,
        answer=tuple(field.place for field in _offered(table.answer) if field.checked),
        document=table.document,
        http_only=table.multipart,
    )
