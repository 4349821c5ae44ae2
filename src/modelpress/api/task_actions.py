"""The actions on compression tasks."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

from modelpress.api import task_result as result
from modelpress.api import wire
from modelpress.api.action import Action, page_request
from modelpress.domain.calibration import CalibrationWish
from modelpress.domain.policy import Caller
from modelpress.domain.task import TaskStatus
from modelpress.domain.task_filter import (
    Tag,
    TaskFilter,
    end_of_second,
    make_moment,
    make_scheme,
    make_statuses,
    make_strategy,
    make_tags,
)
from modelpress.domain.tuning import Tuning
from modelpress.domain.wish import OverrideWish, Wish, make_recipe
from modelpress.errors import NoSuchModel
from modelpress.service.services import Services
from modelpress.service.tasks import TaskRequest

#: Of a log, told at once.
#: Filters that only name a source model are what is polled; each is made once.
_REMEMBERED = 256
_DEFAULT_LINES = 100


def _create_task(services: Services, caller: Caller, request: wire.CreateTask) -> str:
    recipe = make_recipe(_wish(request.config))
    task = services.tasks.create(
        caller,
        TaskRequest(
            name=request.name,
            description=request.description or "",
            source_model_id=request.source_model_id,
            model_set_id=request.model_set_id,
            recipe=recipe,
            client_token=request.client_token,
            tags=_tags(request.tags),
        ),
    )
    return task.id


def _wish(config: wire.Config) -> Wish:
    return Wish(
        strategy=config.strategy,
        weight=config.weight,
        quant_conf=config.quant_conf,
        output_format=config.output_format,
        group_size=config.group_size.size if config.group_size else None,
        symmetric=config.symmetric,
        scale_search=config.scale_search,
        targets=config.targets or (),
        ignore=config.ignore or (),
        overrides=[
            OverrideWish(
                targets=override.targets,
                weight=override.weight,
                group_size=override.group_size.size if override.group_size else None,
                symmetric=override.symmetric,
            )
            for override in config.overrides or ()
        ],
        method=config.method,
        sparsity_ratio=config.sparsity_ratio,
        sparsity_pattern=config.sparsity_pattern,
        calibration=_calibration(config.calibration) if config.calibration else None,
        tuning=_tuning(config.tuning) if config.tuning else None,
    )


def _calibration(form: wire.CalibrationForm) -> CalibrationWish:
    return CalibrationWish(
        source=form.source,
        bucket=form.bucket,
        object_path=form.object_path,
        num_samples=form.num_samples,
        max_length=form.max_length,
        text_field=form.text_field,
    )


def _tuning(form: wire.TuningForm) -> Tuning:
    return Tuning(
        act_order=form.act_order,
        dampening=form.dampening,
        smoothing_strength=form.smoothing_strength,
        iterations=form.iterations,
    )


def _describe_task(services: Services, caller: Caller, request: wire.TaskId) -> result.TaskDetail:
    task = services.tasks.get(caller, request.model_comp_task_id)
    output = None
    if task.status is TaskStatus.SUCCEEDED:
        with suppress(NoSuchModel):  # the version was deleted since; the task stays what it was
            output = services.models.get_version(caller, task.output_model_id)
    waiting = services.tasks.waiting() if task.status is TaskStatus.CREATING else {}
    return result.task_detail(task, services.tasks.history(caller, task.id), output, waiting=waiting)


def _describe_tasks(services: Services, caller: Caller, request: wire.ListTasks) -> result.TaskList:
    wanted = page_request(request)
    page = services.tasks.page(caller, wanted, _filter(request))
    waits = TaskStatus.CREATING in [task.status for task in page.items]
    return result.task_list(wanted, page, waiting=services.tasks.waiting() if waits else {})


def _filter(request: wire.ListTasks) -> TaskFilter:
    if not (_looks_at_many(request) or request.status or request.create_time_start or request.create_time_end):
        return _of_source(request.source_model_id or "")
    return TaskFilter(
        source_model_id=request.source_model_id or "",
        model_set_id=request.model_set_id or "",
        statuses=make_statuses(request.status.words if request.status else ()),
        strategy=make_strategy(request.strategy or ""),
        scheme=make_scheme(request.weight or ""),
        name_part=request.name or "",
        created_from=make_moment(request.create_time_start or "", field="createTimeStart"),
        created_before=end_of_second(make_moment(request.create_time_end or "", field="createTimeEnd")),
        tags=_tags(request.tags),
    )


@lru_cache(_REMEMBERED)
def _of_source(source_model_id: str) -> TaskFilter:
    return TaskFilter(source_model_id=source_model_id)


def _tags(tags: tuple[wire.Tag, ...] | None) -> tuple[Tag, ...]:
    return make_tags((tag.tag_key, tag.tag_value) for tag in tags or ())


def _looks_at_many(request: wire.ListTasks) -> bool:
    """Whether an index alone does not answer it."""
    return bool(request.name or request.weight or request.strategy or request.model_set_id or request.tags)


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
    Action(
        name="DescribeModelCompTasks",
        request=wire.ListTasks,
        run=_describe_tasks,
        writes=False,
        quick=True,
        slow_when=_looks_at_many,
    ),
    Action(name="DescribeModelCompTaskLogs", request=wire.ReadLog, run=_describe_log, writes=False),
    Action(name="RetryModelCompTask", request=wire.TaskId, run=_retry_task, writes=True),
    Action(name="CancelModelCompTask", request=wire.TaskId, run=_cancel_task, writes=True),
    Action(name="DeleteModelCompTask", request=wire.TaskId, run=_delete_task, writes=True),
)
