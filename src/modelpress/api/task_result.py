"""The forms of what is told about tasks, and how values become them."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from modelpress.api.result import PageInfo, Result, page_info, time_text
from modelpress.domain.model import ModelVersion
from modelpress.domain.page import Page, PageRequest
from modelpress.domain.recipe import Recipe
from modelpress.domain.task import FINAL, Task, TaskEvent, TaskStatus
from modelpress.storage.log import LogPage


class ConfigResult(Result, frozen=True, kw_only=True):
    """A recipe in the wire's words: both names of the scheme, since documents and samples differ."""

    strategy: str
    weight: str
    quant_conf: str


class TaskItem(Result, frozen=True, kw_only=True):
    """A task in a list; ``progress``, ``stage`` and ``etaSeconds`` are additions of ours."""

    id: str
    name: str
    description: str
    status: str
    source_model_id: str
    config: ConfigResult
    create_time: str
    progress: int
    model_id: str | UnsetType = UNSET
    finish_time: str | UnsetType = UNSET
    stage: str | UnsetType = UNSET
    eta_seconds: int | UnsetType = UNSET


class StatisticsResult(Result, frozen=True, kw_only=True):
    """What a succeeded task measured (ours); sizes in bytes of all files."""

    source_bytes: int
    output_bytes: int
    ratio: float
    seconds: float
    peak_memory_bytes: int
    shards_reused: int
    group_size: int | UnsetType = UNSET
    kernel: str
    bucket: str
    object_path: str


class EventResult(Result, frozen=True, kw_only=True):
    """One line of a task's history (ours)."""

    time: str
    status: str
    attempt: int
    message: str


class TaskDetail(TaskItem, frozen=True, kw_only=True):
    """A task by itself."""

    model_set_id: str
    bytes_done: int
    bytes_total: int
    events: tuple[EventResult, ...]
    failed_reason: str | UnsetType = UNSET
    retry_of: str | UnsetType = UNSET
    statistics: StatisticsResult | UnsetType = UNSET


class TaskList(Result, frozen=True, kw_only=True):
    """DescribeModelCompTasks."""

    model_comp_task_list: tuple[TaskItem, ...]
    page_info: PageInfo


class TaskLog(Result, frozen=True, kw_only=True):
    """DescribeModelCompTaskLogs (ours); offsets are bytes of the log."""

    lines: tuple[str, ...]
    offset: int
    next_offset: int
    is_truncated: bool


def task_log(page: LogPage) -> TaskLog:
    """Lines of a log."""
    return TaskLog(lines=page.lines, offset=page.offset, next_offset=page.next_offset, is_truncated=page.is_truncated)


def config_result(recipe: Recipe) -> ConfigResult:
    """A recipe."""
    return ConfigResult(strategy=recipe.strategy.value, weight=recipe.scheme.name, quant_conf=recipe.scheme.quant_conf)


def _item_fields(task: Task) -> dict[str, Any]:
    eta = task.eta_seconds if task.status is TaskStatus.RUNNING else None
    model_id: str | UnsetType = UNSET
    if task.status is TaskStatus.SUCCEEDED:
        model_id = task.output_model_id
    elif task.status in FINAL:
        model_id = ""
    return {
        "id": task.id,
        "name": task.name,
        "description": task.description,
        "status": task.status.value,
        "source_model_id": task.source_model_id,
        "config": config_result(task.recipe),
        "create_time": time_text(task.created_at),
        "progress": task.percent,
        "model_id": model_id,
        "finish_time": UNSET if task.finished_at is None else time_text(task.finished_at),
        "stage": task.stage or UNSET,
        "eta_seconds": UNSET if eta is None else eta,
    }


def task_detail(task: Task, events: list[TaskEvent], output: ModelVersion | None) -> TaskDetail:
    """A task with its history; ``output`` is the version it made, if that is still there."""
    return TaskDetail(
        **_item_fields(task),
        model_set_id=task.model_set_id,
        bytes_done=task.bytes_done,
        bytes_total=task.bytes_total,
        failed_reason=task.reason or UNSET,
        retry_of=task.retry_of or UNSET,
        statistics=_statistics(task, output),
        events=tuple(
            EventResult(time=time_text(e.at), status=e.status.value, attempt=e.attempt, message=e.message)
            for e in events
        ),
    )


def _statistics(task: Task, output: ModelVersion | None) -> StatisticsResult | UnsetType:
    measured = task.statistics
    if measured is None or output is None:
        return UNSET
    return StatisticsResult(
        source_bytes=measured.source_bytes,
        output_bytes=measured.output_bytes,
        ratio=round(measured.output_bytes / measured.source_bytes, 4),
        seconds=measured.seconds,
        peak_memory_bytes=measured.peak_memory_bytes,
        shards_reused=measured.shards_reused,
        group_size=UNSET if measured.group_size is None else measured.group_size,
        kernel=measured.kernel,
        bucket=output.location.bucket,
        object_path=output.location.path,
    )


def task_list(request: PageRequest, page: Page[Task]) -> TaskList:
    """A page of tasks."""
    return TaskList(
        model_comp_task_list=tuple(TaskItem(**_item_fields(task)) for task in page.items),
        page_info=page_info(request, page.next_marker),
    )
