"""The filters and tags of the task list, additions of modelpress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelpress.conformance.check import Check, check
from modelpress.conformance.scene import Scene, new_name
from modelpress.conformance.session import Session
from modelpress.conformance.verdict import ensure

_CREATE, _DETAIL, _LIST = "CreateModelCompTask", "DescribeModelCompTask", "DescribeModelCompTasks"
_ITEMS = "result.modelCompTaskList[]"


def _listed(session: Session, **wanted: Any) -> list[dict[str, Any]]:
    """A page of the tasks that a filter shows, newest first; pages may be empty before there is one."""
    marker = ""
    while True:
        page = session.result(_LIST, {"pageReverse": True, "maxKeys": 100, "marker": marker, **wanted})
        marker = page["pageInfo"].get("nextMarker", "")
        if page["modelCompTaskList"] or not marker:
            return list(page["modelCompTaskList"])


def _filter_check(
    field: str, sentence: str, wish: Callable[[dict[str, Any]], Any], holds: Callable[[dict[str, Any], Any], bool]
) -> Check:
    """A filter shows the task that its value was taken from, and none of which it does not hold."""

    def run(session: Session, scene: Scene) -> str:
        task = scene.succeeded
        value = wish(task)
        shown = _listed(session, **{field: value})
        ensure(any(item["id"] == task["id"] for item in shown), f"{field} {value!r} does not show {task['id']}")
        for item in shown:
            ensure(holds(item, value), f"{field} {value!r} shows {item['id']}")
        return f"{len(shown)} tasks"

    run.__name__, run.__doc__ = f"filtered_by_{field}", sentence
    return check(_LIST, request=(field,), writes=True, ours=True)(run)


_FILTERS = (
    _filter_check(
        "status",
        "status, one or a list, shows tasks of these statuses alone.",
        lambda task: ["SUCCEEDED", "failed"],
        lambda item, _: item["status"] in ("succeeded", "failed"),
    ),
    _filter_check(
        "strategy",
        "strategy shows tasks of this strategy alone.",
        lambda task: task["config"]["strategy"].lower(),
        lambda item, value: item["config"]["strategy"].lower() == value,
    ),
    _filter_check(
        "weight",
        "weight, by any of a scheme's names, shows tasks of this scheme alone.",
        lambda task: task["config"]["quantConf"],
        lambda item, value: item["config"]["quantConf"] == value,
    ),
    _filter_check(
        "name",
        "name shows tasks that have this in their names.",
        lambda task: task["name"][1:],
        lambda item, value: value in item["name"],
    ),
    _filter_check(
        "createTimeStart",
        "createTimeStart shows tasks created in this second or later.",
        lambda task: task["createTime"],
        lambda item, value: item["createTime"] >= value,
    ),
    _filter_check(
        "createTimeEnd",
        "createTimeEnd shows tasks created in this second or earlier.",
        lambda task: task["createTime"],
        lambda item, value: item["createTime"] <= value,
    ),
)


@check(_LIST, request=("modelSetId",), writes=True, ours=True)
def filtered_by_set(session: Session, scene: Scene) -> str:
    """modelSetId shows tasks that fill this set alone."""
    task_id = scene.new_task(modelSetId=scene.new_set())
    filled = session.result(_DETAIL, {"modelCompTaskId": task_id})["modelSetId"]
    shown = [item["id"] for item in _listed(session, modelSetId=filled)]
    scene.end(task_id)
    ensure(shown == [task_id], f"the list shows {shown}")
    return "one task"


@check(
    _LIST,
    request=("tags[]", "tags[].tagKey", "tags[].tagValue"),
    answer=(f"{_ITEMS}.tags[]", f"{_ITEMS}.tags[].tagKey", f"{_ITEMS}.tags[].tagValue"),
    writes=True,
    ours=True,
)
def filtered_by_tags(session: Session, scene: Scene) -> str:
    """Tags show tasks that bear all of them, each with its tags."""
    mine = {"tagKey": "conformance", "tagValue": new_name("tag")}
    both = [mine, {"tagKey": "other", "tagValue": ""}]
    first, second = scene.new_task(tags=[mine]), scene.new_task(tags=both)
    shown = {item["id"]: item["tags"] for item in _listed(session, tags=[mine])}
    narrowed = [item["id"] for item in _listed(session, tags=both)]
    for task_id in (first, second):
        scene.end(task_id)
    ensure(shown == {first: [mine], second: both}, f"one tag shows {shown}")
    ensure(narrowed == [second], f"two tags show {narrowed}")
    return "one and two tags"


@check(
    _CREATE,
    request=("tags[]", "tags[].tagKey", "tags[].tagValue"),
    writes=True,
    ours=True,
)
def tags_are_told(session: Session, scene: Scene) -> str:
    """A task's tags are told in the order of their keys; a key that is there twice is refused."""
    tags = [{"tagKey": "b", "tagValue": "2"}, {"tagKey": "a", "tagValue": ""}]
    task_id = scene.new_task(tags=tags)
    told = session.result(_DETAIL, {"modelCompTaskId": task_id})["tags"]
    scene.end(task_id)
    ensure(told == tags[::-1], f"they became {told}")
    config = {"strategy": "Quantization", "weight": "W8A16C16"}
    body = {"name": "conformance", "sourceModelId": scene.source, "modelSetId": scene.target_set, "config": config}
    return session.refused(_CREATE, body | {"tags": [tags[0]] * 2}, code="InappropriateJSON", status=400, about="tags")


FILTER_CHECKS = (*_FILTERS, filtered_by_set, filtered_by_tags, tags_are_told)
