"""The actions on compression tasks."""

from __future__ import annotations

from datetime import datetime

from modelpress.conformance import document
from modelpress.conformance.check import check
from modelpress.conformance.envelope_check import NOBODY
from modelpress.conformance.page_check import page_checks
from modelpress.conformance.scene import FINAL, LONGEST_CROWD, Scene, new_name
from modelpress.conformance.session import Session
from modelpress.conformance.task_table import WEIGHTS
from modelpress.conformance.verdict import NotApplicable, ensure

_CREATE, _DETAIL, _LIST = "CreateModelCompTask", "DescribeModelCompTask", "DescribeModelCompTasks"
_RETRY, _CANCEL, _DELETE = "RetryModelCompTask", "CancelModelCompTask", "DeleteModelCompTask"
_LOGS, _SCHEMES = "DescribeModelCompTaskLogs", "DescribeModelCompSchemes"
_NO_MODEL = "amv-000000000000"


def _detail(session: Session, task_id: str) -> dict[str, object]:
    detail: dict[str, object] = session.result(_DETAIL, {"modelCompTaskId": task_id})
    return detail


@check(
    _CREATE,
    request=("name", "description", "sourceModelId", "modelSetId", "config", "config.strategy", "config.weight"),
    answer=("result",),
    writes=True,
)
def created_task_is_described(session: Session, scene: Scene) -> str:
    """The answer is the id of a task that has the name, description, source, strategy and weight of the request."""
    given = {"name": new_name("task"), "description": "a check's", "sourceModelId": scene.source}
    config = {"strategy": "Quantization", "weight": "W8A16C16"}
    body = given | {"modelSetId": scene.target_set, "config": config}
    task_id = scene.new_task(config, **given)
    ensure(task_id.startswith("amva-"), f"the id is {task_id}")
    detail = _detail(session, task_id)
    for name, value in given.items():
        ensure(detail.get(name) == value, f"{name} became {detail.get(name)!r}")
    told = detail["config"]
    ensure(isinstance(told, dict) and told.get("strategy") == "Quantization", f"config became {told!r}")
    if session.options.ours:
        ensure(detail.get("modelSetId") == body["modelSetId"], "modelSetId became another")
    scene.end(task_id)
    return "as given"


@check(_CREATE, request=("config.weight", "config.strategy"), writes=True)
def weights_in_any_letter_case(session: Session, scene: Scene) -> str:
    """Each documented weight is taken as tables print it and as samples send it, in small letters."""
    for weight in WEIGHTS:
        for written in (weight, weight.lower()):
            task_id = scene.new_task({"strategy": "Quantization", "weight": written})
            if session.options.ours:
                told = _detail(session, task_id)["config"]
                ensure(isinstance(told, dict) and told["weight"] == weight, f"{written} became {told!r}")
            scene.end(task_id)
    return ", ".join(WEIGHTS)


@check(_CREATE, request=("config.quantConf",), writes=True, ours=True)
def older_names_of_weights(session: Session, scene: Scene) -> str:
    """quantConf, the name of samples of answers, names the weight as well."""
    for older, weight in (("wint8", "W8A16C16"), ("wint4", "W4A16C16"), ("int8-ptq", "INT8-PTQ")):
        task_id = scene.new_task({"strategy": "Quantization", "quantConf": older})
        told = _detail(session, task_id)["config"]
        ensure(isinstance(told, dict) and told["weight"] == weight, f"{older} became {told!r}")
        scene.end(task_id)
    return "wint8, wint4, int8-ptq"


@check(_CREATE, request=("clientToken",), document=document.ERRORS, writes=True)
def repeated_with_a_token(session: Session, scene: Scene) -> str:
    """With a clientToken used before, the same request gives the same task, another 403 IdempotentParameterMismatch."""
    token = new_name("token")
    first, second = (scene.new_task(clientToken=token) for _ in range(2))
    ensure(first == second, "the same request made a second task")
    config = {"strategy": "Quantization", "weight": "W4A16C16"}
    body = {"name": "another", "sourceModelId": scene.source, "modelSetId": scene.target_set, "config": config}
    told = session.refused(_CREATE, body | {"clientToken": token}, code="IdempotentParameterMismatch", status=403)
    scene.end(first)
    return told


@check(_CREATE, request=("config.weight",), document=document.ERRORS, writes=True)
def unknown_weight(session: Session, scene: Scene) -> str:
    """A weight that is not documented is refused with 400 InappropriateJSON."""
    config = {"strategy": "Quantization", "weight": "W1A1C1"}
    body = {"name": "conformance", "sourceModelId": scene.source, "modelSetId": scene.target_set, "config": config}
    return session.refused(_CREATE, body, code="InappropriateJSON", status=400, about="config.weight")


@check(_CREATE, request=("sourceModelId",), writes=True)
def unknown_source(session: Session, scene: Scene) -> str:
    """A model version that does not exist is refused."""
    config = {"strategy": "Quantization", "weight": "W8A16C16"}
    body = {"name": "conformance", "sourceModelId": _NO_MODEL, "modelSetId": scene.target_set, "config": config}
    return session.refused(_CREATE, body)


@check(_CREATE, request=("sourceModelId",), writes=True)
def unsupported_source(session: Session, scene: Scene) -> str:
    """A model version whose isSupportModelComp is false, here a compressed one, is refused."""
    made = str(scene.succeeded["modelId"])
    if session.result("DescribeModel", {"modelId": made})["isSupportModelComp"]:
        raise NotApplicable("a compressed version can be compressed again")
    config = {"strategy": "Quantization", "weight": "W8A16C16"}
    body = {"name": "conformance", "sourceModelId": made, "modelSetId": scene.target_set, "config": config}
    return session.refused(_CREATE, body)


@check(_DETAIL, request=("modelCompTaskId",), answer=("result.id", "result.status"))
def task_by_id(session: Session, scene: Scene) -> str:
    """The task that the id names is told; what the list tells of it too is the same."""
    task_id = scene.succeeded["id"] if session.options.write else scene.task_with(*FINAL)
    detail = _detail(session, task_id)
    ensure(detail["id"] == task_id, f"another is told: {detail['id']!r}")
    page = session.result(_LIST, {"marker": task_id, "maxKeys": 100})
    for item in page["modelCompTaskList"]:
        if item["id"] == task_id:
            differing = [name for name, value in item.items() if name in detail and detail[name] != value]
            ensure(not differing, f"the list tells otherwise of {', '.join(differing)}")
    return str(detail["status"])


@check(
    _DETAIL,
    request=("modelCompTaskId",),
    answer=("result.modelId", "result.finishTime", "result.status", "result.createTime"),
)
def succeeded_task(session: Session, scene: Scene) -> str:
    """A task that succeeded names the model version it made, which exists, and its times in order."""
    detail = scene.succeeded
    detail = _detail(session, detail["id"])
    ensure(str(detail.get("modelId")).startswith("amv-"), f"modelId is {detail.get('modelId')!r}")
    session.success("DescribeModel", {"modelId": detail["modelId"]})
    created, finished = (datetime.fromisoformat(str(detail[name])) for name in ("createTime", "finishTime"))
    ensure(created <= finished, "it was finished before it was created")
    return "succeeded"


@check(_DETAIL, request=("modelCompTaskId",), answer=("result.failedReason", "result.status"))
def failed_task(session: Session, scene: Scene) -> str:
    """A task that failed says why, and names no model version."""
    detail = _detail(session, scene.failed["id"])
    ensure(bool(detail.get("failedReason")), "failedReason is missing or empty")
    ensure(not detail.get("modelId"), f"modelId is {detail.get('modelId')!r}")
    return "failed"


@check(_DETAIL, request=("modelCompTaskId",), answer=("result.status",))
def stopped_task(session: Session, scene: Scene) -> str:
    """A task that was stopped names no model version."""
    detail = _detail(session, scene.stopped["id"])
    ensure(detail["status"] == "stopped" and not detail.get("modelId"), f"modelId is {detail.get('modelId')!r}")
    return "stopped"


@check(_DETAIL, request=("modelCompTaskId",))
def unknown_task(session: Session, scene: Scene) -> str:
    """An id that no task has is refused."""
    code, status = ("NoSuchModelCompTask", 404) if session.options.ours else ("", 0)
    return session.refused(_DETAIL, {"modelCompTaskId": NOBODY}, code=code, status=status)


@check(
    _DETAIL,
    answer=("result.progress", "result.bytesDone", "result.bytesTotal", "result.statistics", "result.events[]"),
    ours=True,
)
def measured_task(session: Session, scene: Scene) -> str:
    """A task that succeeded tells what it measured: all of its bytes, a smaller output, and its history."""
    detail = session.result(_DETAIL, {"modelCompTaskId": scene.succeeded["id"]})
    ensure(detail["progress"] == 100 and detail["bytesDone"] == detail["bytesTotal"], "its progress is not whole")
    measured = detail["statistics"]
    ensure(measured["outputBytes"] < measured["sourceBytes"], "the output is not smaller")
    states = [event["status"] for event in detail["events"]]
    ensure(states[0] == "creating" and states[-1] == "succeeded", f"its history is {states}")
    return f"{len(states)} events"


@check(_LIST, answer=("result.modelCompTaskList[].queuePosition",), writes=True, ours=True)
def waiting_task_has_a_place(session: Session, scene: Scene) -> str:
    """The list tells of a task that waits which place it has, counted from 1; its detail tells a place too."""
    for _ in range(LONGEST_CROWD):
        made = scene.waiting_task()
        (item,) = session.result(_LIST, {"pageReverse": True, "maxKeys": 1})["modelCompTaskList"]
        detail = _detail(session, made)
        scene.end(made)
        if (item["id"], item["status"], detail["status"]) == (made, "creating", "creating"):
            places = (item.get("queuePosition"), detail.get("queuePosition"))
            ensure(all(isinstance(place, int) and place >= 1 for place in places), f"the places are {places}")
            return "it has one"
    raise NotApplicable("every task was begun before it could be looked at")


@check(_LIST, request=("sourceModelId",))
def tasks_of_a_source(session: Session, scene: Scene) -> str:
    """sourceModelId leaves only tasks that read this version."""
    source = scene.succeeded["sourceModelId"]
    page = session.result(_LIST, {"sourceModelId": source, "maxKeys": 100})
    found = page["modelCompTaskList"]
    ensure(bool(found) and all(task["sourceModelId"] == source for task in found), "others are among them")
    return f"{len(found)} tasks"


@check(_SCHEMES, answer=("result", "result.schemes[]", "result.schemes[].weight"), ours=True)
def schemes_are_the_weights(session: Session, scene: Scene) -> str:
    """Every weight that is documented is among the schemes."""
    told = [scheme["weight"] for scheme in session.result(_SCHEMES)["schemes"]]
    ensure(set(told) >= set(WEIGHTS), f"the schemes are {', '.join(told)}")
    return f"{len(told)} schemes"


@check(_RETRY, request=("modelCompTaskId",), answer=("result",), writes=True, ours=True)
def retried_task(session: Session, scene: Scene) -> str:
    """A stopped task is tried again as a new one of the same wish, which names the old one."""
    old = scene.stopped
    new = _detail(session, scene.retried(old["id"]))
    ensure(new["id"] != old["id"] and new.get("retryOf") == old["id"], f"retryOf is {new.get('retryOf')!r}")
    ensure(new["config"] == old["config"] and new["sourceModelId"] == old["sourceModelId"], "it wants something else")
    scene.end(str(new["id"]))
    return "a new task"


@check(_RETRY, request=("modelCompTaskId",), writes=True, ours=True)
def succeeded_task_is_not_retried(session: Session, scene: Scene) -> str:
    """A task that succeeded is refused with 409 TaskStatusConflict."""
    body = {"modelCompTaskId": scene.succeeded["id"]}
    return session.refused(_RETRY, body, code="TaskStatusConflict", status=409)


@check(
    _LOGS,
    request=("modelCompTaskId", "offset", "maxLines"),
    answer=("result", "result.lines", "result.offset", "result.nextOffset", "result.isTruncated"),
    writes=True,
    ours=True,
)
def log_is_followed_by_its_offsets(session: Session, scene: Scene) -> str:
    """Lines of a log, asked for one by one from each nextOffset, are those of one page."""
    task = {"modelCompTaskId": scene.succeeded["id"]}
    whole = session.result(_LOGS, task)
    ensure(len(whole["lines"]) > 1 and whole["offset"] == 0, f"the log has {len(whole['lines'])} lines")
    told: list[object] = []
    offset = 0
    for _ in whole["lines"]:
        page = session.result(_LOGS, task | {"offset": offset, "maxLines": 1})
        ensure(page["offset"] == offset, f"offset {offset} became {page['offset']}")
        told += page["lines"]
        offset = page["nextOffset"]
    ensure(told == whole["lines"], "the lines differ")
    ensure((offset, page["isTruncated"]) == (whole["nextOffset"], whole["isTruncated"]), "it does not end there")
    return f"{len(told)} lines"


@check(_CANCEL, request=("modelCompTaskId",), writes=True)
def cancelled_task_stops(session: Session, scene: Scene) -> str:
    """The answer is a requestId alone, and the task comes to stopped."""
    task_id = scene.waiting_task()
    answer = session.success(_CANCEL, {"modelCompTaskId": task_id})
    ensure(set(answer) - {"headers"} == {"requestId"}, f"the answer has {sorted(answer)}")
    session.end(task_id, ("stopped",))
    return "stopped"


@check(_CANCEL, request=("modelCompTaskId",), writes=True, ours=True)
def final_task_is_not_cancelled(session: Session, scene: Scene) -> str:
    """A task that is final is refused with 409 TaskStatusConflict."""
    body = {"modelCompTaskId": scene.succeeded["id"]}
    return session.refused(_CANCEL, body, code="TaskStatusConflict", status=409)


@check(_CANCEL, request=("modelCompTaskId",), writes=True)
def unknown_task_is_not_cancelled(session: Session, scene: Scene) -> str:
    """An id that no task has is refused."""
    return session.refused(_CANCEL, {"modelCompTaskId": NOBODY})


@check(_DELETE, request=("modelCompTaskId",), writes=True)
def deleted_task_is_gone(session: Session, scene: Scene) -> str:
    """The answer is a requestId alone, and neither detail nor list has the task any more."""
    body = {"modelCompTaskId": scene.end(scene.new_task())["id"]}
    answer = session.success(_DELETE, body)
    ensure(set(answer) - {"headers"} == {"requestId"}, f"the answer has {sorted(answer)}")
    session.refused(_DETAIL, body)
    page = session.result(_LIST, {"maxKeys": 100, "pageReverse": True})
    ensure(all(task["id"] != body["modelCompTaskId"] for task in page["modelCompTaskList"]), "the list still has it")
    return "gone"


@check(_DELETE, request=("modelCompTaskId",), writes=True, ours=True)
def unfinished_task_is_not_deleted(session: Session, scene: Scene) -> str:
    """A task that is not final is refused with 409 TaskStatusConflict."""
    task_id = scene.waiting_task()
    told = session.refused(_DELETE, {"modelCompTaskId": task_id}, code="TaskStatusConflict", status=409)
    scene.end(task_id)
    return told


TASK_CHECKS = (
    created_task_is_described,
    weights_in_any_letter_case,
    older_names_of_weights,
    repeated_with_a_token,
    unknown_weight,
    unknown_source,
    unsupported_source,
    task_by_id,
    succeeded_task,
    failed_task,
    stopped_task,
    unknown_task,
    measured_task,
    *page_checks(_LIST, items="modelCompTaskList", key="id", fill=lambda scene: scene.end(scene.new_task())),
    waiting_task_has_a_place,
    tasks_of_a_source,
    schemes_are_the_weights,
    retried_task,
    succeeded_task_is_not_retried,
    log_is_followed_by_its_offsets,
    cancelled_task_stops,
    final_task_is_not_cancelled,
    unknown_task_is_not_cancelled,
    deleted_task_is_gone,
    unfinished_task_is_not_deleted,
)
