"""DescribeModelCompTaskLogs: pages of a task's log."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.server import Account


@pytest.fixture
def task_id(account: Account) -> str:
    """A task without a log."""
    return account.make_task(*account.make_world())


def _write(account: Account, task_id: str, content: str) -> None:
    path = account.server.settings.data / "outputs" / ".logs" / f"{task_id}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(content)


def _read(account: Account, task_id: str, **asked: Any) -> dict[str, Any]:
    page: dict[str, Any] = account.call("DescribeModelCompTaskLogs", {"modelCompTaskId": task_id, **asked})
    assert set(page) == {"lines", "offset", "nextOffset", "isTruncated"}
    return page


def test_a_task_that_was_not_begun_has_an_empty_log(account: Account, task_id: str) -> None:
    assert _read(account, task_id, offset=50) == {"lines": [], "offset": 0, "nextOffset": 0, "isTruncated": False}


def test_a_log_is_followed_by_its_offsets(account: Account, task_id: str) -> None:
    _write(account, task_id, "one\ntwo\nthree\nfo")
    first = _read(account, task_id, maxLines=2)
    assert first == {"lines": ["one", "two"], "offset": 0, "nextOffset": 8, "isTruncated": True}
    second = _read(account, task_id, offset=first["nextOffset"], maxLines=2.0)
    assert second == {"lines": ["three"], "offset": 8, "nextOffset": 14, "isTruncated": False}
    assert _read(account, task_id, offset=14)["lines"] == []
    _write(account, task_id, "ur\n")
    assert _read(account, task_id, offset=14)["lines"] == ["four"]
    assert _read(account, task_id, offset=10**15)["lines"] == []


def test_the_end_of_a_final_tasks_log_is_told_also_without_a_line_break(account: Account, task_id: str) -> None:
    account.done("CancelModelCompTask", {"modelCompTaskId": task_id})
    _write(account, task_id, "killed in the mid")
    assert _read(account, task_id)["lines"] == ["killed in the mid"]


@pytest.mark.parametrize(("asked", "told"), [(None, 100), (1, 1), (1000, 1000), (10**9, 1000)])
def test_a_page_has_a_hundred_lines_by_default_and_a_thousand_at_most(
    account: Account, task_id: str, asked: int | None, told: int
) -> None:
    _write(account, task_id, "line\n" * 1200)
    assert len(_read(account, task_id, **({} if asked is None else {"maxLines": asked}))["lines"]) == told


@pytest.mark.parametrize(("field", "value"), [("offset", -1), ("maxLines", 0), ("maxLines", -5)])
def test_numbers_that_are_too_small_are_named(account: Account, task_id: str, field: str, value: int) -> None:
    body = {"modelCompTaskId": task_id, field: value}
    assert f"param[{field}]" in account.refused("DescribeModelCompTaskLogs", body, code="InappropriateJSON")


def test_a_log_is_its_accounts_alone_and_goes_out_of_sight_with_its_task(account: Account, task_id: str) -> None:
    _write(account, task_id, "line\n")
    named = {"modelCompTaskId": task_id}
    account.server.account().refused("DescribeModelCompTaskLogs", named, code="NoSuchModelCompTask")
    account.done("CancelModelCompTask", named)
    account.done("DeleteModelCompTask", named)
    account.refused("DescribeModelCompTaskLogs", named, code="NoSuchModelCompTask")
    outside = {"modelCompTaskId": "../../worker.lock"}
    account.refused("DescribeModelCompTaskLogs", outside, code="NoSuchModelCompTask")
