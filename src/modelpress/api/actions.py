"""The actions of ``POST /v2/model``: one row each. An Action that is no row cannot reach code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from modelpress.api import result, wire
from modelpress.domain.model import Location, SourceType
from modelpress.domain.page import PageRequest, make_page_request
from modelpress.domain.policy import Caller
from modelpress.domain.recipe import make_recipe
from modelpress.domain.task import TaskStatus
from modelpress.errors import InvalidRequest, NoSuchModel
from modelpress.service.models import MODEL_FORMAT, ImportRequest
from modelpress.service.services import Services
from modelpress.service.tasks import TaskRequest

Outcome = result.Result | str | dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action: its request's form, what it does, whether it writes, and whether it is a mere indexed read."""

    name: str
    request: type[wire.Request]
    run: Callable[[Services, Caller, Any], Outcome]
    writes: bool
    quick: bool = False


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
    wanted = _page_request(request)
    page = services.tasks.page(caller, wanted, source_model_id=request.source_model_id or None)
    return result.task_list(wanted, page)


def _cancel_task(services: Services, caller: Caller, request: wire.TaskId) -> None:
    services.tasks.cancel(caller, request.model_comp_task_id)


def _delete_task(services: Services, caller: Caller, request: wire.TaskId) -> None:
    services.tasks.delete(caller, request.model_comp_task_id)


def _create_set(services: Services, caller: Caller, request: wire.CreateSet) -> str:
    made = services.models.create_set(
        caller, name=request.model_set_name, model_type=request.model_type, labels=request.labels or ()
    )
    return made.id


def _describe_sets(services: Services, caller: Caller, request: wire.PageForm) -> result.SetList:
    wanted = _page_request(request)
    return result.set_list(wanted, services.models.page_sets(caller, wanted))


def _describe_set(services: Services, caller: Caller, request: wire.SetIdOrName) -> result.SetDetail:
    return result.set_detail(services.models.get_set(caller, set_id=request.model_set_id, name=request.model_set_name))


def _delete_set(services: Services, caller: Caller, request: wire.SetId) -> dict[str, Any]:
    services.models.delete_set(caller, request.model_set_id)
    return {}


def _create_version(services: Services, caller: Caller, request: wire.CreateVersion) -> result.VersionCreated:
    if request.source_type.lower() != SourceType.IMPORT.value.lower():
        raise InvalidRequest("sourceType", f"{request.source_type!r} is not Import; there is no training here")
    if request.import_meta is None:
        raise InvalidRequest("importMeta", "required when sourceType is Import")
    version = services.models.import_version(
        caller,
        ImportRequest(
            set_id=request.model_set_id,
            location=Location(bucket=request.import_meta.bucket, path=request.import_meta.object_path),
            description=request.description or "",
            model_format=request.import_meta.model_format or MODEL_FORMAT,
            application_type=request.import_meta.model_application_type or "chat",
        ),
    )
    return result.VersionCreated(model_id=version.id)


def _describe_version(services: Services, caller: Caller, request: wire.ModelId) -> result.VersionDetail:
    return result.version_detail(services.models.get_version(caller, request.model_id))


def _delete_version(services: Services, caller: Caller, request: wire.ModelId) -> dict[str, Any]:
    services.models.delete_version(caller, request.model_id)
    return {}


def _describe_version_v1(services: Services, caller: Caller, request: wire.ModelVersionId) -> result.VersionDetailV1:
    return result.version_detail_v1(services.models.get_version(caller, request.model_version_id))


def _page_request(request: wire.PageForm) -> PageRequest:
    max_keys = None if request.max_keys is None else int(request.max_keys)
    return make_page_request(marker=request.marker, max_keys=max_keys, reverse=request.page_reverse)


_TABLE = (
    Action(name="CreateModelCompTask", request=wire.CreateTask, run=_create_task, writes=True),
    Action(name="DescribeModelCompTask", request=wire.TaskId, run=_describe_task, writes=False, quick=True),
    Action(name="DescribeModelCompTasks", request=wire.ListTasks, run=_describe_tasks, writes=False, quick=True),
    Action(name="CancelModelCompTask", request=wire.TaskId, run=_cancel_task, writes=True),
    Action(name="DeleteModelCompTask", request=wire.TaskId, run=_delete_task, writes=True),
    Action(name="CreateCustomModelSet", request=wire.CreateSet, run=_create_set, writes=True),
    Action(name="DescribeCustomModelSets", request=wire.PageForm, run=_describe_sets, writes=False, quick=True),
    Action(name="DescribeModelSet", request=wire.SetIdOrName, run=_describe_set, writes=False, quick=True),
    Action(name="DeleteModelSet", request=wire.SetId, run=_delete_set, writes=True),
    Action(name="CreateCustomModel", request=wire.CreateVersion, run=_create_version, writes=True),
    Action(name="DescribeModel", request=wire.ModelId, run=_describe_version, writes=False, quick=True),
    Action(name="DeleteModel", request=wire.ModelId, run=_delete_version, writes=True),
)

#: The actions of ``/v2/model`` by name.
ACTIONS = {action.name: action for action in _TABLE}

#: Routes of the old API that the Python SDK's Model class still calls; no Action in the query.
V1_ROUTES = {
    "/wenxinworkshop/modelrepo/modelVersionDetail": Action(
        name="modelVersionDetail", request=wire.ModelVersionId, run=_describe_version_v1, writes=False, quick=True
    ),
}
