"""Nothing is on the wire that the conformance tables do not know, and nothing in them is without a check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn, get_type_hints

import msgspec
import pytest
from msgspec.inspect import (
    BoolType,
    CustomType,
    DataclassType,
    DictType,
    FloatType,
    IntType,
    ListType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from modelpress.api.action import Action
from modelpress.api.actions import ACTIONS, V1_ROUTES
from modelpress.api.wire import ColumnCount, NameText, StatusWords, Whole
from modelpress.conformance.checks import CHECKS
from modelpress.conformance.field import Field, Mark
from modelpress.conformance.table import ActionTable
from modelpress.conformance.tables import TABLES

OFFERED = {action.name: action for action in (*ACTIONS.values(), *V1_ROUTES.values())}
TABLES_OF_ACTIONS = [table for table in TABLES.values() if table.name != "every action" and table.offered]
_KINDS: dict[type[Type], set[str]] = {
    StrType: {"string", "time"},
    BoolType: {"boolean"},
    IntType: {"integer"},
    FloatType: {"number"},
    StructType: {"object"},
    DictType: {"object"},
    DataclassType: {"file"},
}
_CUSTOM = {
    Whole: {"integer"},
    NameText: {"string"},
    StatusWords: {"string or strings"},
    ColumnCount: {"integer or string"},
}


def plain(kind: Type) -> list[Type]:
    """The types a value may have, but for None."""
    if isinstance(kind, Metadata):
        return plain(kind.type)
    if isinstance(kind, UnionType):
        return [one for inner in kind.types for one in plain(inner)]
    return [] if isinstance(kind, NoneType) else [kind]


def kinds(types: list[Type]) -> set[str]:
    """What the table may call these."""
    lists = [one for one in types if isinstance(one, VarTupleType | ListType)]
    if lists and len(types) > 1:
        return {"string or strings"}
    if lists:
        return {"list"} if isinstance(plain(lists[0].item_type)[0], StructType) else {"strings"}
    if {type(one) for one in types} == {IntType, StrType}:
        return {"integer or string"}
    (one,) = types
    return _CUSTOM[one.cls] if isinstance(one, CustomType) else _KINDS[type(one)]


def fields_of(form: Type, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every place below a form with what its kind may be called."""
    if isinstance(form, StructType):
        for field in form.fields:
            types = plain(field.type)
            called = kinds(types)
            place = f"{prefix}{field.encode_name}" + ("[]" if called == {"list"} else "")
            yield place, called
            for one in types:
                inner = plain(one.item_type)[0] if isinstance(one, VarTupleType | ListType) else one
                yield from fields_of(inner, f"{place}.")


def request_fields(action: Action) -> dict[str, set[str]]:
    return dict(fields_of(type_info(action.request)))


def answer_fields(action: Action) -> dict[str, set[str]]:
    """Places of a success below its root; nothing where it has no result."""
    kind = get_type_hints(action.run)["return"]
    if kind in (type(None), NoReturn):
        return {}
    found = {"result": {"string"} if kind is str else {"object"}}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        found |= dict(fields_of(type_info(kind), "result."))
    return found


def offered(fields: tuple[Field, ...]) -> dict[str, Field]:
    return {field.place: field for field in fields if field.mark is not Mark.NOT_OFFERED}


def test_every_action_and_route_has_a_table_and_no_other_is_said_to_be_offered() -> None:
    assert {table.name for table in TABLES_OF_ACTIONS} == OFFERED.keys()
    assert {table.path for table in TABLES_OF_ACTIONS if table.path} == V1_ROUTES.keys()


@pytest.mark.parametrize("table", TABLES_OF_ACTIONS, ids=lambda table: table.name)
def test_a_table_has_the_fields_of_its_actions_forms_and_their_kinds(table: ActionTable) -> None:
    action = OFFERED[table.name]
    assert table.writes == action.writes
    in_result = tuple(field for field in table.answer if field.place.startswith("result"))
    for known, forms in (
        (offered(table.request), request_fields(action)),
        (offered(in_result), answer_fields(action)),
    ):
        assert known.keys() == forms.keys(), "a field has no row in src/modelpress/conformance/*_table.py, or no form"
        wrong = {place: field.kind for place, field in known.items() if field.kind not in forms[place]}
        assert not wrong, f"kinds differ from the forms': {wrong}"


@pytest.mark.parametrize("table", TABLES_OF_ACTIONS, ids=lambda table: table.name)
def test_every_field_of_a_request_has_a_check_of_what_it_does_or_a_reason_for_none(table: ActionTable) -> None:
    checked = {
        place for check in CHECKS if check.action == table.name and not check.kinds_only for place in check.request
    }
    expected = {field.place for field in table.request if field.checked}
    assert checked == expected, "add a check to src/modelpress/conformance/*_check.py, or say unchecked="


def test_checks_prove_fields_that_their_tables_have() -> None:
    for check in CHECKS:
        table = TABLES[check.action]
        known = offered((*table.request, *table.answer))
        missing = [place for place in (*check.request, *check.answer) if place not in known]
        assert not missing, f"{check.action} {check.name} proves unknown fields: {missing}"


def test_a_check_is_known_by_its_action_and_name_and_has_a_sentence() -> None:
    names = [(check.action, check.name) for check in CHECKS]
    assert len(names) == len(set(names))
    assert all(check.sentence.endswith(".") for check in CHECKS)


def test_a_check_that_writes_by_its_action_says_so() -> None:
    """Reads are the default of the command, so nothing that changes an account may hide among them."""
    hidden = [check.name for check in CHECKS if TABLES[check.action].writes and check.request and not check.writes]
    assert not hidden
