"""What a client developer does with the official Qianfan SDK; run by the interpreter that has it, never imported.

Arguments: the id of a model version and of its model set. Address and keys come from the SDK's own variables. Prints
one JSON object a line: ``{"say": …}`` for people, and last ``{"tasks": {scheme: id}}``. A step that does not come out
as it must ends the tour with an AssertionError.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from qianfan import resources
from qianfan.errors import RequestError

SCHEMES = ("INT8-PTQ", "W8A16C16", "W4A16C16")
FINAL = ("succeeded", "failed", "stopped")
PATIENCE_SECONDS = 110


def call(action: str, **body: Any) -> Any:
    """One call by the SDK; what is in ``result``."""
    return resources.console.utils.call_action("/v2/model", action, body).body.get("result")


def say(text: str) -> None:
    print(json.dumps({"say": text}), flush=True)


def create(name: str, weight: str, model_id: str, set_id: str) -> str:
    config = {"strategy": "Quantization", "weight": weight}
    task_id = call("CreateModelCompTask", name=name, sourceModelId=model_id, modelSetId=set_id, config=config)
    say(f"CreateModelCompTask    {weight:9} -> {task_id}")
    return str(task_id)


def cancel_waiting(task_id: str) -> None:
    """Cancel a task that no worker has begun."""
    call("CancelModelCompTask", modelCompTaskId=task_id)
    status = call("DescribeModelCompTask", modelCompTaskId=task_id)["status"]
    assert status == "stopped", f"a cancelled task that waited is {status}"
    say(f"CancelModelCompTask    {task_id} waited, and is {status}")


def follow(tasks: dict[str, str]) -> None:
    """Wait until every task is final; each must have succeeded."""
    seen: dict[str, str] = {}
    until = time.monotonic() + PATIENCE_SECONDS
    while len([status for status in seen.values() if status in FINAL]) < len(tasks):
        assert time.monotonic() < until, f"not done after {PATIENCE_SECONDS} s: {seen}"
        for scheme, task_id in tasks.items():
            task = call("DescribeModelCompTask", modelCompTaskId=task_id)
            if seen.get(scheme) != task["status"]:
                seen[scheme] = task["status"]
                say(f"DescribeModelCompTask  {scheme:9} is {task['status']}")
            assert task["status"] not in ("failed", "stopped"), task.get("failedReason")
        time.sleep(0.2)


def pages(**filters: Any) -> list[str]:
    """The ids of all tasks, read page by page with one task a page."""
    ids: list[str] = []
    marker = ""
    while True:
        page = call("DescribeModelCompTasks", maxKeys=1, marker=marker, **filters)
        ids += [task["id"] for task in page["modelCompTaskList"]]
        if not page["pageInfo"]["isTruncated"]:
            return ids
        marker = page["pageInfo"]["nextMarker"]


def main() -> None:
    model_id, set_id = sys.argv[1:]
    tasks = {scheme: create(f"smollm2-{scheme.lower()}", scheme, model_id, set_id) for scheme in SCHEMES}
    waiting = create("one too many", "W8A16C16", model_id, set_id)
    cancel_waiting(waiting)
    follow(tasks)

    mine = [*tasks.values(), waiting]
    listed = pages(sourceModelId=model_id)
    assert listed == mine, f"of this model the list has {listed}, not {mine}"
    say(f"DescribeModelCompTasks filtered by sourceModelId, maxKeys=1: {len(listed)} pages, in order of creation")
    backwards = pages(sourceModelId=model_id, pageReverse=True)
    assert backwards == mine[::-1], f"in reverse the list has {backwards}"
    assert pages()[-len(mine) :] == mine, "the whole list does not end with the new tasks"

    first = call("DescribeModelCompTasks", marker=mine[1], maxKeys=100)["modelCompTaskList"][0]
    assert first["id"] == mine[1], f"the page of marker {mine[1]} begins with {first['id']}"
    say(f"DescribeModelCompTasks marker={mine[1]}: the page begins with that task")

    call("DeleteModelCompTask", modelCompTaskId=waiting)
    assert pages(sourceModelId=model_id) == mine[:-1], "the deleted task is still listed"
    refusal = "nothing"
    try:
        call("DescribeModelCompTask", modelCompTaskId=waiting)
    except RequestError as error:
        refusal = str(error)
    assert "NoSuchModelCompTask" in refusal, f"a deleted task is refused with {refusal}"
    say(f"DeleteModelCompTask    {waiting} is gone from the list")
    print(json.dumps({"tasks": tasks}), flush=True)


if __name__ == "__main__":
    main()
