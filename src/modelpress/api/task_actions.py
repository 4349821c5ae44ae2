"""The actions on compression tasks."""

from __future__ import annotations

from contextlib import suppress

from modelpress.api import task_result as result
from modelpress.api import wire
from modelpress.api.action import Action, page_request
from modelpress.domain.policy import Caller
from modelpress.domain.recipe import make_recipe
from modelpress.domain.task import TaskStatus
from modelpress.errors import NoSuchModel
from modelpress.service.services import Services
from modelpress.service.tasks import TaskRequest

#: Of a log, told at once.
_DEFAULT_LINES = 100


def _create_task(services: Services, caller: Caller, request: wire.CreateTask) -> str:
    recipe = make_recipe(
        strategy=request.config.strategy, weight=request.config.weight, quant_conf=request.config.quant_conf
    )
    task = services.tasks.create(
        caller,
        TaskRequest(
            name=request.name,
            description=request.description or "",
            source_model_id=request.source_model_id,
            model_set_id=request.model_set_id,
            recipe=recipe,
            client_token=request.client_token,
        ),
    )
    return task.id


def _describe_task(services: Services, caller: Caller, request: wire.TaskId) -> result.TaskDetail:
    task = services.tasks.get(caller, request.model_comp_task_id)
    output = None
    if task.status is TaskStatus.SUCCEEDED:
        with suppress(NoSuchModel):  # the version was deleted since; the task stays what it was
            output = services.models.get_version(caller, task.output_model_id)
    return result.task_detail(task, services.tasks.history(caller, task.id), output)


def _describe_tasks(services: Services, caller: Caller, request: wire.ListTasks) -> result.TaskList:
    wanted = page_request(request)
    page = services.tasks.page(caller, wanted, source_model_id=request.source_model_id or None)
    return result.task_list(wanted, page)


def _retry_task(services: Services, caller: Caller, request: wire.TaskId) -> str:
    return services.tasks.retry(caller, request.model_comp_task_id).id


def _describe_log(services: Services, caller: Caller, request: wire.ReadLog) -> result.TaskLog:
    max_lines = _DEFAULT_LINES if request.max_lines is None else int(request.max_lines)
    page = services.tasks.log(caller, request.model_comp_task_id, offset=int(request.offset or 0), max_lines=max_lines)
    return result.task_log(page)


def _cancel_task(services: Services, caller: Caller, request: wire.TaskId) -> None:
    services.tasks.cancel(caller, request.model_comp_task_id)


def _delete_task(services: Services, caller: Caller, request: wire.TaskId) -> None:
    services.tasks.delete(caller, request.model_comp_task_id)


TASK_ACTIONS = (
    Action(name="CreateModelCompTask", request=wire.CreateTask, run=_create_task, writes=True),
    Action(name="DescribeModelCompTask", request=wire.TaskId, run=_describe_task, writes=False, quick=True),
    Action(name="DescribeModelCompTasks", request=wire.ListTasks, run=_describe_tasks, writes=False, quick=True),
    Action(name="DescribeModelCompTaskLogs", request=wire.ReadLog, run=_describe_log, writes=False),
    Action(name="RetryModelCompTask", request=wire.TaskId, run=_retry_task, writes=True),
    Action(name="CancelModelCompTask", request=wire.TaskId, run=_cancel_task, writes=True),
    Action(name="DeleteModelCompTask", request=wire.TaskId, run=_delete_task, writes=True),
)
