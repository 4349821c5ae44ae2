"""Models that the operator shares with all accounts, over the wire."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from modelpress.domain.policy import Policy
from tests.api.server import Account, RunningServer, import_body, task_body
from tests.api.test_answers import V1, V1_SET, is_a_time

_numbers = itertools.count(1)
ITEM = {"modelSetId", "modelSetName", "modelType", "description", "modelCount", "modelIds", "modifyTime", "modelNames"}
DETAIL = (ITEM - {"modelCount"}) | {"createTime"}
VERSION = {"modelSetId", "modelId", "modelName", "status", "description", "createTime", "modifyTime"} | {
    *("modelApplicationType", "isSupportDeploy", "isSupportModelComp", "isSupportEvaluation"),
    *("capabilities", "modelProviders"),
}


@pytest.fixture
def shared(account: Account) -> tuple[str, str, str]:
    """A set that is shared, by id and by name, and a version in it; its owner is ``account``."""
    name = f"shared {next(_numbers)}"  # names of shared sets are unique in the server
    set_id = account.make_set(name)
    model_id = account.import_model(set_id)
    account.server.services.models.share_set(set_id, description="for all")
    return set_id, name, model_id


@pytest.fixture
def stranger(server: RunningServer) -> Account:
    """Another account."""
    return server.account()


def old(account: Account, route: str, **body: str) -> Any:
    """The result of a route of the old API."""
    return account.send(route, json.dumps(body).encode()).success()["result"]


def listed(account: Account, set_id: str) -> dict[str, Any] | None:
    """A shared set in the list; the server is shared by tests, so there are others."""
    marker: str | None = ""
    while marker is not None:
        page = account.call("DescribeSystemModelSets", {"marker": marker, "maxKeys": 3})
        for item in page["systemModelSetList"]:
            if item["modelSetId"] == set_id:
                return dict(item)
        marker = page["pageInfo"].get("nextMarker")
    return None


def test_a_shared_set_is_described_to_everyone_by_id_by_name_and_in_the_list(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    set_id, name, model_id = shared
    for caller in (account, stranger):
        detail = caller.call("DescribeSystemModelSet", {"modelSetId": set_id})
        assert detail == caller.call("DescribeSystemModelSet", {"modelSetName": name})
        assert set(detail) == DETAIL
        assert (detail["modelSetName"], detail["modelType"], detail["description"]) == (name, "Text2Text", "for all")
        assert (detail["modelIds"], detail["modelNames"]) == ([model_id], [f"{name}-V1"])
        assert is_a_time(detail["createTime"], account)
        item = listed(caller, set_id)
        assert item is not None
        assert set(item) == ITEM
        assert item["modelCount"] == 1
        assert {**item, "createTime": detail["createTime"]} == {**detail, "modelCount": 1}


def test_a_version_of_a_shared_set_is_described_to_everyone(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    set_id, name, model_id = shared
    for caller in (account, stranger):
        detail = caller.call("DescribeSystemModel", {"modelId": model_id})
        assert set(detail) == VERSION
        assert (detail["modelSetId"], detail["modelId"], detail["modelName"]) == (set_id, model_id, f"{name}-V1")
        assert (detail["status"], detail["isSupportModelComp"], detail["modelApplicationType"]) == (
            "Ready",
            True,
            "chat",
        )
        assert not detail["isSupportDeploy"]
        assert not detail["isSupportEvaluation"]


def test_other_accounts_see_a_preset_and_its_owner_what_it_is(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    set_id, name, model_id = shared
    own = account.call("DescribeModelSet", {"modelSetId": set_id})
    assert (own["source"], "description" in own) == ("UserCreate", False)
    seen = stranger.call("DescribeModelSet", {"modelSetId": set_id})
    assert seen == stranger.call("DescribeModelSet", {"modelSetName": name})
    assert seen == {**own, "source": "System", "description": "for all"}
    assert account.call("DescribeModel", {"modelId": model_id})["sourceInfo"]["sourceType"] == "Import"
    version = stranger.call("DescribeModel", {"modelId": model_id})
    assert version["sourceInfo"] == {"sourceType": "PlatformPreset"}
    assert version["isSupportModelComp"] is True
    # The routes of the old API.
    version = old(stranger, V1, modelVersionId=model_id)
    assert (version["modelIdStr"], version["modelName"]) == (set_id, name)
    assert (version["sourceType"], version["sourceExtra"]) == ("PlatformPreset", {"sourceType": "PlatformPreset"})
    model = old(stranger, V1_SET, modelId=set_id)
    assert (model["source"], model["modelVersionList"]) == ("PlatformPreset", [version])
    assert old(account, V1_SET, modelId=set_id)["source"] == "UserCreate"


def test_what_its_owner_compressed_into_a_shared_set_tells_nothing_of_the_owners_task(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    set_id, _, model_id = shared
    hidden = account.import_model(account.make_set("hidden"))
    task_id = account.make_task(set_id, hidden)
    account.server.finish(task_id)
    made = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["modelId"]
    assert task_id in account.call("DescribeModel", {"modelId": made})["description"]
    views = (
        *(stranger.post(action, {"modelId": made}) for action in ("DescribeModel", "DescribeSystemModel")),
        *(stranger.post(action, {"modelSetId": set_id}) for action in ("DescribeModelSet", "DescribeSystemModelSet")),
        stranger.send(V1, json.dumps({"modelVersionId": made}).encode()),
        stranger.send(V1_SET, json.dumps({"modelId": set_id}).encode()),
    )
    for reply in views:
        reply.success()
        assert made.encode() in reply.content
        for secret in (task_id, hidden, "outputs/", account.name):
            assert secret.encode() not in reply.content
    assert stranger.call("DescribeModel", {"modelId": model_id})["modelSetId"] == set_id


def test_an_unshared_set_is_refused_like_one_that_never_was_but_marks_its_place(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    set_id, name, model_id = shared
    account.server.services.models.unshare_set(set_id)
    assert listed(stranger, set_id) is None
    stranger.call("DescribeSystemModelSets", {"marker": set_id})
    for caller in (account, stranger):
        caller.refused("DescribeSystemModelSet", {"modelSetId": set_id}, code="NoSuchModelSet")
        caller.refused("DescribeSystemModelSet", {"modelSetName": name}, code="NoSuchModelSet")
        caller.refused("DescribeSystemModel", {"modelId": model_id}, code="NoSuchModel")
    stranger.refused("DescribeModelSet", {"modelSetName": name}, code="NoSuchModelSet")
    stranger.refused("DescribeModel", {"modelId": model_id}, code="NoSuchModel")
    stranger.send(V1, json.dumps({"modelVersionId": model_id}).encode()).refusal("NoSuchModel")
    stranger.send(V1_SET, json.dumps({"modelId": set_id}).encode()).refusal("NoSuchModelSet")
    stranger.refused("CreateModelCompTask", task_body(stranger.make_set(), model_id), code="NoSuchModel")


def test_a_set_that_is_not_shared_is_no_marker_not_even_its_owners(account: Account) -> None:
    set_id = account.make_set()
    assert repr(set_id) in account.refused("DescribeSystemModelSets", {"marker": set_id}, code="InvalidMarker")


def test_the_name_of_a_shared_set_means_ones_own_where_one_has_it(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    _, name, _ = shared
    own = stranger.make_set(name)
    found = stranger.call("DescribeModelSet", {"modelSetName": name})
    assert (found["modelSetId"], found["source"]) == (own, "UserCreate")


def test_nothing_of_a_shared_set_is_changed_by_another_account(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    set_id, _, model_id = shared
    own_model = stranger.import_model(stranger.make_set())
    for action, body, code in (
        ("DeleteModelSet", {"modelSetId": set_id}, "NoSuchModelSet"),
        ("DeleteModel", {"modelId": model_id}, "NoSuchModel"),
        ("CreateCustomModel", import_body(set_id), "NoSuchModelSet"),
        ("CreateModelCompTask", task_body(set_id, own_model), "NoSuchModelSet"),
        ("CreateModelCompTask", task_body(set_id, model_id), "NoSuchModelSet"),
    ):
        stranger.refused(action, body, code=code)
    assert account.call("DescribeModelSet", {"modelSetId": set_id})["modelIds"] == [model_id]


def test_another_account_compresses_a_shared_version_into_a_set_of_its_own(
    account: Account, stranger: Account, shared: tuple[str, str, str]
) -> None:
    set_id, _, model_id = shared
    own_set = stranger.make_set()
    task_id = stranger.make_task(own_set, model_id)
    for action, body in (("DeleteModel", {"modelId": model_id}), ("DeleteModelSet", {"modelSetId": set_id})):
        message = account.refused(action, body, code="ModelInUse")
        assert task_id not in message
        assert "another account" in message
    stranger.server.finish(task_id)
    detail = stranger.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
    assert (detail["status"], detail["sourceModelId"]) == ("succeeded", model_id)
    made = stranger.call("DescribeModel", {"modelId": detail["modelId"]})
    assert (made["modelSetId"], made["sourceInfo"]["sourceType"]) == (own_set, "Acceleration")
    account.refused("DescribeModel", {"modelId": detail["modelId"]}, code="NoSuchModel")
    assert account.call("DescribeModelCompTasks", {"sourceModelId": model_id})["modelCompTaskList"] == []
    account.call("DeleteModel", {"modelId": model_id})


@pytest.mark.parametrize("policy", Policy)
def test_a_key_of_any_policy_reads_what_is_shared(
    server: RunningServer, policy: Policy, shared: tuple[str, str, str]
) -> None:
    set_id, _, model_id = shared
    caller = server.account(policy)
    assert caller.call("DescribeSystemModelSet", {"modelSetId": set_id})["modelIds"] == [model_id]
    assert listed(caller, set_id) is not None
    caller.call("DescribeSystemModel", {"modelId": model_id})


def test_a_key_without_any_policy_reads_what_is_shared_and_no_more(
    server: RunningServer, shared: tuple[str, str, str]
) -> None:
    set_id, _, model_id = shared
    pair = server.services.access.create_key(account="none", policies=())
    caller = Account(server=server, name="none", access_key=pair.access_key, secret_key=pair.secret_key)
    caller.call("DescribeSystemModel", {"modelId": model_id})
    caller.refused("DescribeModelSet", {"modelSetId": set_id}, code="AccessDenied")
    caller.refused("DescribeModel", {"modelId": model_id}, code="AccessDenied")


def test_a_system_set_is_described_by_its_id_or_its_name_but_not_by_both_or_neither(
    account: Account, shared: tuple[str, str, str]
) -> None:
    set_id, name, _ = shared
    for body in ({}, {"modelSetId": set_id, "modelSetName": name}):
        assert "param[modelSetId]" in account.refused("DescribeSystemModelSet", body, code="InappropriateJSON")
