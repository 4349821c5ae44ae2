"""RetryModelCompTask over the wire: the new task is the old one's like, tags and all."""

from __future__ import annotations

from tests.api.server import Account

TAGS = [{"tagKey": "cost", "tagValue": "7"}, {"tagKey": "team", "tagValue": "a"}]


def test_a_retry_asks_for_the_same_and_is_found_by_the_same_tags(account: Account) -> None:
    set_id, model_id = account.make_world()
    old_id = account.make_task(set_id, model_id, description="d", tags=TAGS)
    account.done("CancelModelCompTask", {"modelCompTaskId": old_id})
    new_id = account.call("RetryModelCompTask", {"modelCompTaskId": old_id})
    old, new = (account.call("DescribeModelCompTask", {"modelCompTaskId": task_id}) for task_id in (old_id, new_id))
    assert new["retryOf"] == old_id
    assert "retryOf" not in old
    for same in ("name", "description", "sourceModelId", "modelSetId", "config", "tags"):
        assert new[same] == old[same]
    found = account.call("DescribeModelCompTasks", {"tags": TAGS[:1]})["modelCompTaskList"]
    assert [task["id"] for task in found] == [old_id, new_id]


def test_a_task_that_goes_on_is_not_retried(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    message = account.refused("RetryModelCompTask", {"modelCompTaskId": task_id}, code="TaskStatusConflict")
    assert "creating" in message
