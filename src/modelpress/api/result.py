"""The forms of results, in the wire's own camelCase, and how values become them. Absent is not null."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from modelpress.domain.model import ModelSet, ModelVersion
from modelpress.domain.page import Page, PageRequest
from modelpress.domain.recipe import Recipe
from modelpress.domain.task import FINAL, Task, TaskEvent, TaskStatus


class Result(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The base of all results; a field that is UNSET is left out."""


class PageInfo(Result, frozen=True, kw_only=True):
    """Paging, echoed and told."""

    marker: str
    max_keys: int
    is_truncated: bool
    next_marker: str | UnsetType = UNSET


class ConfigResult(Result, frozen=True, kw_only=True):
    """A recipe in the wire's words: both names of the scheme, since documents and samples differ."""

    strategy: str
    weight: str
    quant_conf: str


class TaskItem(Result, frozen=True, kw_only=True):
    """A task in a list; ``progress`` and ``stage`` are additions of ours."""

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


class StatisticsResult(Result, frozen=True, kw_only=True):
    """What a succeeded task measured (ours); sizes in bytes of all files."""

    source_bytes: int
    output_bytes: int
    ratio: float
    seconds: float
    peak_memory_bytes: int
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
    statistics: StatisticsResult | UnsetType = UNSET


class TaskList(Result, frozen=True, kw_only=True):
    """DescribeModelCompTasks."""

    model_comp_task_list: tuple[TaskItem, ...]
    page_info: PageInfo


class SetItem(Result, frozen=True, kw_only=True):
    """A model set in a list."""

    model_set_id: str
    model_set_name: str
    model_type: str
    labels: tuple[str, ...]
    create_time: str
    modify_time: str
    model_count: int
    model_ids: tuple[str, ...]
    model_names: tuple[str, ...]


class SetDetail(SetItem, frozen=True, kw_only=True):
    """DescribeModelSet."""

    source: str


class SetList(Result, frozen=True, kw_only=True):
    """DescribeCustomModelSets."""

    custom_model_set_list: tuple[SetItem, ...]
    page_info: PageInfo


class SourceInfo(Result, frozen=True, kw_only=True):
    """Where a version comes from. Baidu names no children; these are ours."""

    source_type: str
    acceleration_task_id: str | UnsetType = UNSET
    bucket: str
    object_path: str


class VersionDetail(Result, frozen=True, kw_only=True):
    """DescribeModel."""

    model_set_id: str
    model_id: str
    model_name: str
    status: str
    source_info: SourceInfo
    create_time: str
    modify_time: str
    model_application_type: str
    model_format: str
    model: str
    size_bytes: int
    is_support_model_comp: bool
    unsupported_reason: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class VersionCreated(Result, frozen=True, kw_only=True):
    """CreateCustomModel."""

    model_id: str


class VersionDetailV1(Result, frozen=True, kw_only=True):
    """The V1 route modelVersionDetail, as the Python SDK's Model class reads it."""

    model_id_str: str
    model_version_id_str: str
    model_name: str
    source_type: str
    state: str
    create_time: str
    modify_time: str
    support_options: tuple[str, ...]


def time_text(moment: datetime) -> str:
    """RFC 3339 with the server's offset, whole seconds."""
    return moment.astimezone().isoformat(timespec="seconds")


def config_result(recipe: Recipe) -> ConfigResult:
    """A recipe."""
    return ConfigResult(strategy=recipe.strategy.value, weight=recipe.scheme.name, quant_conf=recipe.scheme.quant_conf)


def _item_fields(task: Task) -> dict[str, Any]:
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
    }


def task_detail(task: Task, events: list[TaskEvent], output: ModelVersion | None) -> TaskDetail:
    """A task with its history; ``output`` is the version it made, if that is still there."""
    return TaskDetail(
        **_item_fields(task),
        model_set_id=task.model_set_id,
        bytes_done=task.bytes_done,
        bytes_total=task.bytes_total,
        failed_reason=task.reason or UNSET,
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
        group_size=UNSET if measured.group_size is None else measured.group_size,
        kernel=measured.kernel,
        bucket=output.location.bucket,
        object_path=output.location.path,
    )


def page_info(request: PageRequest, next_marker: str | None) -> PageInfo:
    """The paging of a list."""
    return PageInfo(
        marker=request.marker,
        max_keys=request.max_keys,
        is_truncated=next_marker is not None,
        next_marker=UNSET if next_marker is None else next_marker,
    )


def task_list(request: PageRequest, page: Page[Task]) -> TaskList:
    """A page of tasks."""
    return TaskList(
        model_comp_task_list=tuple(TaskItem(**_item_fields(task)) for task in page.items),
        page_info=page_info(request, page.next_marker),
    )


def _set_fields(model_set: ModelSet) -> dict[str, Any]:
    return {
        "model_set_id": model_set.id,
        "model_set_name": model_set.name,
        "model_type": model_set.model_type,
        "labels": model_set.labels,
        "create_time": time_text(model_set.created_at),
        "modify_time": time_text(model_set.modified_at),
        "model_count": len(model_set.versions),
        "model_ids": tuple(version.id for version in model_set.versions),
        "model_names": tuple(version.name for version in model_set.versions),
    }


def set_detail(model_set: ModelSet) -> SetDetail:
    """A model set by itself."""
    return SetDetail(**_set_fields(model_set), source="UserCreate")


def set_list(request: PageRequest, page: Page[ModelSet]) -> SetList:
    """A page of model sets."""
    return SetList(
        custom_model_set_list=tuple(SetItem(**_set_fields(item)) for item in page.items),
        page_info=page_info(request, page.next_marker),
    )


def version_detail(version: ModelVersion) -> VersionDetail:
    """A model version. A registered version is always Ready: import checks it before it answers."""
    return VersionDetail(
        model_set_id=version.set_id,
        model_id=version.id,
        model_name=version.name,
        status="Ready",
        source_info=SourceInfo(
            source_type=version.source_type.value,
            acceleration_task_id=version.task_id or UNSET,
            bucket=version.location.bucket,
            object_path=version.location.path,
        ),
        create_time=time_text(version.created_at),
        modify_time=time_text(version.modified_at),
        model_application_type=version.application_type,
        model_format=version.model_format,
        model=version.architecture,
        size_bytes=version.size_bytes,
        is_support_model_comp=version.supports_compression,
        unsupported_reason=version.unsupported_reason or UNSET,
        description=version.description or UNSET,
    )


def version_detail_v1(version: ModelVersion) -> VersionDetailV1:
    """A model version in the V1 route's words."""
    return VersionDetailV1(
        model_id_str=version.set_id,
        model_version_id_str=version.id,
        model_name=version.name,
        source_type=version.source_type.value,
        state="Ready",
        create_time=time_text(version.created_at),
        modify_time=time_text(version.modified_at),
        support_options=("Acceleration",) if version.supports_compression else (),
    )
