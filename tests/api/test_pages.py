"""Lists: order, markers, sizes, filters; the same for tasks and for model sets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.server import Account

KINDS = ["DescribeModelCompTasks", "DescribeCustomModelSets"]


def make_some(account: Account, action: str, count: int) -> list[str]:
    if action == "DescribeCustomModelSets":
        return [account.make_set(f"set {number}") for number in range(count)]
    set_id, model_id = account.make_world()
    return [account.make_task(set_id, model_id) for _ in range(count)]


def page(account: Account, action: str, **body: Any) -> tuple[list[str], dict[str, Any]]:
    result = account.call(action, body)
    items = result["modelCompTaskList" if action == KINDS[0] else "customModelSetList"]
    return [item.get("id") or item["modelSetId"] for item in items], result["pageInfo"]


@pytest.mark.parametrize("action", KINDS)
def test_an_account_without_any_has_an_empty_page(account: Account, action: str) -> None:
    info = {"marker": "", "maxKeys": 10, "isTruncated": False}
    assert page(account, action) == ([], info)
    assert page(account, action, marker="", maxKeys=None, pageReverse=None) == ([], info)


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_pages_follow_each_other_by_their_markers_from_the_oldest_or_the_newest(
    account: Account, action: str, reverse: bool
) -> None:
    ids = make_some(account, action, 5)
    wanted = ids[::-1] if reverse else ids
    options: dict[str, Any] = {"maxKeys": 2, "pageReverse": reverse}
    first, info = page(account, action, **options)
    assert first == wanted[:2]
    assert info == {"marker": "", "maxKeys": 2, "isTruncated": True, "nextMarker": wanted[2]}
    second, info = page(account, action, marker=wanted[2], **options)
    assert second == wanted[2:4]
    assert info == {"marker": wanted[2], "maxKeys": 2, "isTruncated": True, "nextMarker": wanted[4]}
    last, info = page(account, action, marker=wanted[4], **options)
    assert last == wanted[4:]
    assert info == {"marker": wanted[4], "maxKeys": 2, "isTruncated": False}


@pytest.mark.parametrize("action", KINDS)
def test_a_page_that_is_just_full_is_the_last(account: Account, action: str) -> None:
    ids = make_some(account, action, 2)
    listed, info = page(account, action, maxKeys=2)
    assert listed == ids
    assert not info["isTruncated"]


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize(
    ("sent", "meant"), [(None, 10), (1, 1), (100, 100), (101, 100), (10**30, 100), (2.0, 2), (1e308, 100)]
)
def test_a_page_has_as_many_as_asked_for_up_to_a_hundred(
    account: Account, action: str, sent: float | None, meant: int
) -> None:
    _, info = page(account, action, maxKeys=sent)
    assert info["maxKeys"] == meant
    assert type(info["maxKeys"]) is int


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize("sent", [0, -1, -(10**300), "2", True, 2.5, [], {}])
def test_a_page_size_that_is_none_is_refused(account: Account, action: str, sent: Any) -> None:
    assert "param[maxKeys] invalid" in account.refused(action, {"maxKeys": sent}, code="InappropriateJSON")


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize("marker", ["amva-n50985crhqq3", "am-n50985crhqq3", "x", "'; --", "模型"])
def test_a_marker_that_never_was_is_refused(account: Account, action: str, marker: str) -> None:
    assert repr(marker) in account.refused(action, {"marker": marker}, code="InvalidMarker")


def delete(account: Account, action: str, made: str) -> None:
    if action == "DescribeCustomModelSets":
        account.call("DeleteModelSet", {"modelSetId": made})
        return
    account.done("CancelModelCompTask", {"modelCompTaskId": made})
    account.done("DeleteModelCompTask", {"modelCompTaskId": made})


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_what_was_deleted_still_marks_its_place(account: Account, action: str, reverse: bool) -> None:
    ids = make_some(account, action, 4)
    delete(account, action, ids[1])
    listed, info = page(account, action, marker=ids[1], pageReverse=reverse)
    assert listed == (ids[:1] if reverse else ids[2:])
    assert info["marker"] == ids[1]


def test_tasks_are_listed_by_their_source(account: Account) -> None:
    set_id, first = account.make_world()
    second = account.import_model(set_id)
    ids = [account.make_task(set_id, model_id) for model_id in (first, second, first, first)]
    listed, info = page(account, KINDS[0], sourceModelId=first, maxKeys=2)
    assert (listed, info["nextMarker"]) == ([ids[0], ids[2]], ids[3])
    listed, _ = page(account, KINDS[0], sourceModelId=first, marker=ids[1])
    assert listed == [ids[2], ids[3]]
    assert page(account, KINDS[0], sourceModelId="")[0] == ids
    assert page(account, KINDS[0], sourceModelId="amv-none")[0] == []
