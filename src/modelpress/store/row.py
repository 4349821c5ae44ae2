"""Rows into values and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row

from modelpress.domain.advanced_conf import conf_from_json
from modelpress.domain.export import Exported, ExportTask
from modelpress.domain.model import Location, ModelSet, ModelVersion, SourceType, VersionName
from modelpress.domain.recipe import recipe_from_json
from modelpress.domain.task import Statistics, Task, TaskEvent, TaskStatus


def to_task(row: Row[Any]) -> Task:
    """A row of ``task``."""
    return Task(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        description=row.description,
        status=TaskStatus(row.status),
        recipe=recipe_from_json(row.recipe),
        source_model_id=row.source_model_id,
        model_set_id=row.model_set_id,
        output_model_id=row.output_model_id,
        reason=row.reason,
        attempt=row.attempt,
        barren_attempts=row.barren_attempts,
        stage=row.stage,
        percent=row.percent,
        bytes_done=row.bytes_done,
        bytes_total=row.bytes_total,
        eta_seconds=row.eta_seconds,
        statistics=None if row.statistics is None else Statistics(**row.statistics),
        retry_of=row.retry_of,
        tags=tuple((key, value) for key, value in row.tags or ()),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def to_event(row: Row[Any]) -> TaskEvent:
    """A row of ``task_event``."""
    return TaskEvent(at=row.at, status=TaskStatus(row.status), attempt=row.attempt, message=row.message)


def to_version(row: Row[Any]) -> ModelVersion:
    """A row of ``model_version``."""
    return ModelVersion(
        id=row.id,
        account_id=row.account_id,
        set_id=row.set_id,
        name=row.name,
        description=row.description,
        source_type=SourceType(row.source_type),
        location=Location(bucket=row.bucket, path=row.path),
        model_format=row.model_format,
        application_type=row.application_type,
        architecture=row.architecture,
        size_bytes=row.size_bytes,
        unsupported_reason=row.unsupported_reason,
        task_id=row.task_id,
        created_at=row.created_at,
        modified_at=row.modified_at,
        advanced_conf=conf_from_json(row.advanced_conf),
    )


def from_version(version: ModelVersion) -> dict[str, Any]:
    """The columns of ``model_version`` for a new row."""
    columns = asdict(version)
    location = columns.pop("location")
    return columns | {
        "bucket": location["bucket"],
        "path": location["path"],
        "source_type": version.source_type.value,
        "advanced_conf": version.advanced_conf.as_json(),
    }


def to_set(row: Row[Any], versions: tuple[VersionName, ...]) -> ModelSet:
    """A row of ``model_set`` and its versions."""
    return ModelSet(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        model_type=row.model_type,
        labels=tuple(row.labels),
        created_at=row.created_at,
        modified_at=row.modified_at,
        description=row.description or "",
        versions=versions,
    )


def to_export(row: Row[Any]) -> ExportTask:
    """A row of ``export_task``."""
    exported = None
    if row.manifest_sha256 is not None:
        exported = Exported(
            size_bytes=row.bytes_total, manifest_sha256=row.manifest_sha256, manifest_md5=row.manifest_md5
        )
    return ExportTask(
        id=row.id,
        account_id=row.account_id,
        model_id=row.model_id,
        location=Location(bucket=row.bucket, path=row.path),
        status=TaskStatus(row.status),
        reason=row.reason,
        attempt=row.attempt,
        barren_attempts=row.barren_attempts,
        bytes_done=row.bytes_done,
        bytes_total=row.bytes_total,
        exported=exported,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
