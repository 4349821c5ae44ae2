"""Nothing of another account shows: not by id, marker, filter or name, nor by an error's text or the work behind it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.inspect import type_info
from sqlalchemy import event
from sqlalchemy.pool import Pool

from modelpress.domain.policy import Policy
from modelpress.settings import Settings
from tests.api.exchange import Reply
from tests.api.model_directory import write_all
from tests.api.server import Account, RunningServer, import_body, running_server
from tests.api.test_fields import BODIES, CONTRADICTING, FORMS, fields_of
from tests.conformance.clock import SettableClock


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An account, and every id of it by what it is the id of; the last of each was deleted."""

    account: Account
    ids: dict[str, list[str]]


def _make_world(account: Account) -> World:
    name, gone_name = f"set of {account.name}", f"gone set of {account.name}"
    set_id = account.make_set(name)
    model_id = account.import_model(set_id)
    task_id, stopped = (account.make_task(set_id, model_id) for _ in range(2))
    for action in ("Cancel", "Delete"):
        account.done(f"{action}ModelCompTask", {"modelCompTaskId": stopped})
    gone = account.make_set(gone_name)
    gone_model = account.import_model(gone)
    account.call("DeleteModelSet", {"modelSetId": gone})
    return World(
        account=account,
        ids={
            "set": [set_id, gone],
            "name": [name, gone_name],
            "model": [model_id, gone_model],
            "task": [task_id, stopped],
        },
    )


#: What a field of a request names, by the field's own name.
KINDS = {
    "modelSetId": "set",
    "modelSetName": "name",
    "modelId": "model",
    "modelVersionId": "model",
    "sourceModelId": "model",
    "modelCompTaskId": "task",
}
#: In the old API a "model" is a set.
OLD_KINDS = {"modelDetail": "set"}
#: A marker names an item of its list; the first two are of what an account has.
LISTS = {"DescribeModelCompTasks": "task", "DescribeCustomModelSets": "set"}
MARKERS = {**LISTS, "DescribeSystemModelSets": "set"}
#: Fields that look like ids and name nothing that an account owns. (The name of a set to be made is free or is not.)
FREE = {("CreateCustomModelSet", "modelSetName")}


def _references() -> Iterator[Any]:
    """Each field of each action that names something an account owns."""
    for target, action in FORMS.items():
        for place, field, _ in fields_of(type_info(action.request)):
            name = field.encode_name
            looks_like_one = re.search(r"Ids?$|^marker$", name) or name in KINDS
            if looks_like_one and (action.name, name) not in FREE:
                yield pytest.param(target, place, id=f"{action.name}.{'.'.join(place)}")


REFERENCES = list(_references())


def _kind(target: str, name: str) -> str:
    action = FORMS[target].name
    kind = MARKERS.get(action) if name == "marker" else OLD_KINDS.get(action, KINDS.get(name))
    assert kind, f"say in KINDS (or MARKERS) what {name} of {action} names, and let a World have some"
    return kind


def _body(target: str, place: tuple[str, ...], named: str, *, own: World) -> bytes:
    """The body in which one field has the id in question, and every other field something of the caller's own."""
    body = copy.deepcopy(BODIES[FORMS[target].name])
    if FORMS[target].name == "DescribeModelCompTasks":  # its other filters would leave nothing to be found
        body = {name: body[name] for name in ("marker", "sourceModelId", "modelSetId")}
    # What contradicts the rest, and a file that is nobody's, would be answered before any id is looked at.
    for name in (*CONTRADICTING, "method", "calibration") if "config" in body else ():
        body["config"].pop(name, None)
    for other, field, _ in fields_of(type_info(FORMS[target].request)):
        if other[-1] not in KINDS and other[-1] != "marker":
            continue
        inner: Any = body
        for name in other[:-1]:
            inner = inner[name]
        if other == place:
            inner[other[-1]] = named
        elif field.required:
            inner[other[-1]] = own.ids[_kind(target, other[-1])][0]
        else:  # of an id and a name, only one may be given
            del inner[other[-1]]
    return json.dumps(body).encode()


def _never(named: str) -> str:
    """What has the form of ``named`` and never existed."""
    return named[:-3] + "000"


def _seen(reply: Reply, named: str) -> tuple[int, dict[str, str], str]:
    """All of a reply but what no two replies share; ``named`` is what the caller wrote itself."""
    reply.checked()
    headers = {name: value for name, value in reply.headers.items() if name not in ("date", "x-bce-request-id")}
    text = reply.content.decode().replace(reply.json["requestId"], "(request)").replace(named, "(named)")
    return reply.status, headers, text


@pytest.fixture(scope="module")
def statements(log: Any) -> Iterator[list[str]]:
    """Every statement that any SQLite connection runs, in order; values left out."""
    seen: list[str] = []

    def listen(connection: Any, _record: Any) -> None:
        connection.set_trace_callback(lambda text: seen.append(re.sub(r"'[^']*'", "'…'", text)))

    event.listen(Pool, "connect", listen)
    yield seen
    event.remove(Pool, "connect", listen)


@pytest.fixture(scope="module")
def watched(statements: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose every statement is seen."""
    settings = Settings(data=tmp_path_factory.mktemp("isolation"))
    with running_server(settings, SettableClock()) as running:
        write_all(settings.data / "local")
        yield running


@pytest.fixture(scope="module")
def theirs(watched: RunningServer) -> World:
    """What another account has."""
    return _make_world(watched.account(name="theirs"))


@pytest.fixture(scope="module")
def ours(watched: RunningServer) -> World:
    """What the caller has."""
    return _make_world(watched.account(name="ours"))


@pytest.mark.parametrize(("target", "place"), REFERENCES)
@pytest.mark.parametrize("which", [0, -1], ids=["there", "deleted"])
def test_what_is_anothers_is_answered_like_what_never_was_and_by_the_same_work(
    ours: World, theirs: World, statements: list[str], target: str, place: tuple[str, ...], which: int
) -> None:
    named = theirs.ids[_kind(target, place[-1])][which]
    caller = ours.account
    answers, work = [], []
    for one in (named, _never(named)):
        statements.clear()
        answers.append(_seen(caller.send(target, _body(target, place, one, own=ours)), one))
        work.append(list(statements))
    assert answers[0] == answers[1]
    assert work[0] == work[1]
    assert len(work[0]) > 1  # the look for the key, and something more


@pytest.mark.parametrize(
    ("target", "place"), [reference for reference in REFERENCES if reference.values[1] != ("marker",)]
)
def test_what_was_deleted_is_answered_like_what_never_was(ours: World, target: str, place: tuple[str, ...]) -> None:
    """But for a marker, which goes on marking its place."""
    named = ours.ids[_kind(target, place[-1])][-1]
    gone, never = (
        _seen(ours.account.send(target, _body(target, place, one, own=ours)), one) for one in (named, _never(named))
    )
    assert gone == never


@pytest.mark.parametrize(("target", "place"), REFERENCES)
def test_what_is_ones_own_is_answered_otherwise(watched: RunningServer, target: str, place: tuple[str, ...]) -> None:
    """Else the test above would prove nothing. (Of the system's actions, what is one's own is that if it is shared.)"""
    own = _make_world(watched.account())
    watched.services.models.share_set(own.ids["set"][0], description=None)
    named = own.ids[_kind(target, place[-1])][0]
    found, missed = (
        _seen(own.account.send(target, _body(target, place, one, own=own)), one) for one in (named, _never(named))
    )
    assert found != missed


def test_everything_that_names_something_is_among_what_is_tried() -> None:
    tried = {FORMS[parameter.values[0]].name for parameter in REFERENCES}
    assert set(BODIES) - tried == {
        *("CreateCustomModelSet", "CreateModelCustomConf", "DescribeModelSystemAdvancedConf", "publishTrainModel"),
        "DescribeModelCompSchemes",
    }


def test_lists_hold_only_ones_own(ours: World, theirs: World) -> None:
    for world, other in ((ours, theirs), (theirs, ours)):
        for action in LISTS:
            content = world.account.post(action, {"maxKeys": 100}).success()
            text = json.dumps(content)
            assert world.ids[LISTS[action]][0] in text
            assert not [one for kind, ids in other.ids.items() if kind != "name" for one in ids if one in text]


def test_names_bind_within_one_account_only(ours: World, theirs: World) -> None:
    only_theirs = theirs.account.make_set("only theirs")
    assert ours.account.make_set("only theirs") != only_theirs
    ours.account.refused(
        "CreateCustomModelSet", {"modelSetName": "only theirs", "modelType": "Text2Text"}, code="NameConflict"
    )


def test_who_is_calling_costs_one_statement_and_a_revoked_key_is_told_from_none_by_nothing(
    watched: RunningServer, statements: list[str]
) -> None:
    user = watched.account()
    watched.services.access.revoke(user.access_key)
    answers = []
    for access_key in (user.access_key, _never(user.access_key)):
        statements.clear()
        answers.append(_seen(user.but(access_key=access_key).post("DescribeModelCompTasks"), access_key))
        assert len(statements) == 1
    assert answers[0] == answers[1]
    other = watched.account()
    statements.clear()
    other.post("Nonsense").refusal("InvalidAction")
    assert len(statements) == 1


def test_users_of_one_account_see_the_same(ours: World) -> None:
    reader = ours.account.server.account(Policy.TUNING_READ, name=ours.account.name)
    set_id = ours.ids["set"][0]
    assert reader.call("DescribeModelSet", {"modelSetId": set_id})["modelSetId"] == set_id


def test_the_directory_of_anothers_output_is_answered_like_none(
    ours: World, watched: RunningServer, statements: list[str]
) -> None:
    other = watched.account()
    set_id, model_id = other.make_world()
    task_id = other.make_task(set_id, model_id)
    watched.finish(task_id)
    output = other.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["modelId"]
    (account_id,) = (one.id for one in watched.services.access.accounts() if one.name == other.name)
    path = f"{account_id}/{output}"
    assert (watched.settings.data / "outputs" / path).is_dir()
    answers, work = [], []
    for one in (path, _never(path)):
        body = import_body(ours.ids["set"][0], one)
        body["importMeta"]["bucket"] = "outputs"
        statements.clear()
        answers.append(_seen(ours.account.post("CreateCustomModel", body), one))
        work.append(list(statements))
    assert answers[0] == answers[1]
    assert answers[0][0] >= 400
    assert work[0] == work[1]
