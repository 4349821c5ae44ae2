"""A task's whole life over the wire, on both databases."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from modelpress.settings import Settings
from tests.api.model_directory import write_all
from tests.api.server import RunningServer, running_server
from tests.conformance.clock import SettableClock


@pytest.fixture
def either(settings: Settings, clock: SettableClock, log: io.StringIO) -> Iterator[RunningServer]:
    """A server on the database under test."""
    with running_server(settings, clock) as running:
        write_all(settings.data / "local")
        yield running


def test_a_model_is_registered_compressed_and_deleted(either: RunningServer) -> None:
    account = either.account()
    set_id, model_id = account.make_world()
    assert account.call("DescribeModel", {"modelId": model_id})["isSupportModelComp"] is True
    task_id = account.make_task(set_id, model_id)
    account.refused("DeleteModel", {"modelId": model_id}, code="ModelInUse")
    either.finish(task_id)
    detail = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
    assert detail["status"] == "succeeded"
    made = account.call("DescribeModel", {"modelId": detail["modelId"]})
    assert made["sourceInfo"]["accelerationTaskId"] == task_id
    assert account.call("DescribeModelSet", {"modelSetId": set_id})["modelIds"] == [model_id, made["modelId"]]
    account.done("DeleteModelCompTask", {"modelCompTaskId": task_id})
    assert account.call("DeleteModel", {"modelId": model_id}) == {}
    assert account.call("DeleteModelSet", {"modelSetId": set_id}) == {}
    assert account.call("DescribeCustomModelSets")["customModelSetList"] == []
