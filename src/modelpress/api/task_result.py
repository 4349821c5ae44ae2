"""The forms of what is told about tasks, and how values become them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from msgspec import UNSET, UnsetType, structs

from modelpress.api.result import PageInfo, Result, page_info, second_text, time_text
from modelpress.domain.calibration import Calibration
from modelpress.domain.model import ModelVersion
from modelpress.domain.page import Page, PageRequest
from modelpress.domain.recipe import Override, recipe_from_json
from modelpress.domain.scheme import Scheme
from modelpress.domain.task import FINAL, Task, TaskEvent, TaskStatus, TaskSummary
from modelpress.domain.wish import KEPT
from modelpress.storage.log import LogPage

_SECOND_US = 1_000_000
#: Recipes as they are stored, most tasks of an account having one of a few.
_REMEMBERED = 256
_SUCCEEDED, _RUNNING = TaskStatus.SUCCEEDED.value, TaskStatus.RUNNING.value


class OverrideResult(Result, frozen=True, kw_only=True):
    """What holds for some modules (ours); "none" as the weight keeps them as they are."""

    targets: tuple[str, ...]
    weight: str
    group_size: int | str | UnsetType = UNSET
    symmetric: bool | UnsetType = UNSET


class CalibrationResult(Result, frozen=True, kw_only=True):
    """Which calibration text, and how much of it (ours)."""

    source: str
    bucket: str | UnsetType = UNSET
    object_path: str | UnsetType = UNSET
    num_samples: int
    max_length: int
    text_field: str | UnsetType = UNSET


class TuningResult(Result, frozen=True, kw_only=True):
    """The numbers of a method that are not its usual ones (ours)."""

    act_order: bool | UnsetType = UNSET
    dampening: float | UnsetType = UNSET
    smoothing_strength: float | UnsetType = UNSET
    iterations: int | UnsetType = UNSET


class ConfigResult(Result, frozen=True, kw_only=True):
    """A recipe in the wire's words: both names of the scheme, since documents and samples differ.

    The rest is ours and, the method apart, there only where the request asked for something else than what is usual.
    """

    strategy: str
    #: Both absent where weights are pruned and not quantized.
    weight: str | UnsetType = UNSET
    quant_conf: str | UnsetType = UNSET
    method: str
    sparsity_ratio: float | UnsetType = UNSET
    sparsity_pattern: str | UnsetType = UNSET
    calibration: CalibrationResult | UnsetType = UNSET
    tuning: TuningResult | UnsetType = UNSET
    output_format: str | UnsetType = UNSET
    group_size: int | str | UnsetType = UNSET
    symmetric: bool | UnsetType = UNSET
    scale_search: str | UnsetType = UNSET
    targets: tuple[str, ...] | UnsetType = UNSET
    ignore: tuple[str, ...] | UnsetType = UNSET
    overrides: tuple[OverrideResult, ...] | UnsetType = UNSET


class TagResult(Result, frozen=True, kw_only=True, omit_defaults=False):
    """A tag (ours)."""

    tag_key: str
    tag_value: str


class TaskItem(Result, frozen=True, kw_only=True):
    """A task in a list. From ``progress`` on, ``modelId`` and ``finishTime`` apart, the fields are ours."""

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
    queue_position: int | UnsetType = UNSET
    tags: tuple[TagResult, ...] | UnsetType = UNSET


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


@lru_cache(_REMEMBERED)
def _config(stored: str) -> ConfigResult:
    recipe = recipe_from_json(json.loads(stored))
    scheme, sparsity = recipe.scheme, recipe.sparsity
    return ConfigResult(
        strategy=recipe.strategy.value,
        weight=scheme.name if recipe.quantizes else UNSET,
        quant_conf=scheme.quant_conf if recipe.quantizes else UNSET,
        method=recipe.method.value,
        sparsity_ratio=UNSET if sparsity is None else sparsity.ratio,
        sparsity_pattern=UNSET if sparsity is None or sparsity.pattern == "unstructured" else sparsity.pattern,
        calibration=UNSET if recipe.calibration is None else _calibration(recipe.calibration),
        tuning=UNSET if recipe.tuning is None else TuningResult(**recipe.tuning.as_json()),
        output_format=UNSET if scheme.output_format == "compressed-tensors" else scheme.output_format,
        group_size=UNSET if recipe.group_size is None else recipe.group_size,
        symmetric=UNSET if recipe.symmetric is None else recipe.symmetric,
        scale_search=UNSET if recipe.scale_search == "max" else recipe.scale_search,
        targets=recipe.targets or UNSET,
        ignore=recipe.ignore or UNSET,
        overrides=tuple(_override(override, recipe.scheme) for override in recipe.overrides) or UNSET,
    )


def _calibration(calibration: Calibration) -> CalibrationResult:
    return CalibrationResult(
        source=calibration.source.value,
        bucket=calibration.bucket or UNSET,
        object_path=calibration.object_path or UNSET,
        num_samples=calibration.num_samples,
        max_length=calibration.max_length,
        text_field=calibration.text_field or UNSET,
    )


def _override(override: Override, scheme: Scheme) -> OverrideResult:
    return OverrideResult(
        targets=override.targets,
        weight=KEPT if override.keep else (override.scheme or scheme).name,
        group_size=UNSET if override.group_size is None else override.group_size,
        symmetric=UNSET if override.symmetric is None else override.symmetric,
    )


def _item(task: TaskSummary, waiting: Mapping[str, int]) -> TaskItem:
    # Taken apart at once: measured 12 µs a page of twenty, against 16 with each field by its name.
    (
        task_id, name, description, status, recipe, source_model_id, output_model_id,
        percent, stage, eta, tags, created_us, finished_us,
    ) = task  # fmt: skip
    model_id: str | UnsetType = UNSET
    if status == _SUCCEEDED:
        model_id = output_model_id
    elif status in FINAL:
        model_id = ""
    return TaskItem(
        id=task_id,
        name=name,
        description=description,
        status=status,
        source_model_id=source_model_id,
        config=_config(recipe),
        create_time=second_text(created_us // _SECOND_US),
        progress=percent,
        model_id=model_id,
        finish_time=UNSET if finished_us is None else second_text(finished_us // _SECOND_US),
        stage=stage or UNSET,
        eta_seconds=UNSET if eta is None or status != _RUNNING else eta,
        queue_position=waiting.get(task_id, UNSET) if waiting else UNSET,
        tags=_tags(tags) if tags else UNSET,
    )


def _tags(text: str) -> tuple[TagResult, ...]:
    return tuple(TagResult(tag_key=key, tag_value=value) for key, value in json.loads(text))


def task_detail(
    task: Task, events: list[TaskEvent], output: ModelVersion | None, *, waiting: Mapping[str, int]
) -> TaskDetail:
    """A task with its history; ``output`` is the version it made, if that is still there."""
    return TaskDetail(
        **structs.asdict(_item(task.summary, waiting)),
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


def task_list(request: PageRequest, page: Page[TaskSummary], *, waiting: Mapping[str, int]) -> TaskList:
    """A page of tasks; ``waiting`` has the places of those that wait for a worker."""
    return TaskList(
        model_comp_task_list=tuple([_item(task, waiting) for task in page.items]),
        page_info=page_info(request, page.next_marker),
    )
