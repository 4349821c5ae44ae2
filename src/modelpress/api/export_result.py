"""The forms of what is told about exports, and how values become them."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from modelpress.api.result import Result, time_text
from modelpress.api.task_result import EventResult
from modelpress.domain.export import MANIFEST, ExportTask
from modelpress.domain.task import TaskEvent, TaskStatus

_FILE_TYPE = "directory"

_WORDS = {TaskStatus.SUCCEEDED: "Done", TaskStatus.FAILED: "Fail"}


class ExportCreated(Result, frozen=True, kw_only=True):
    """CreateModelExportTask."""

    export_id: str


class ExportDetail(Result, frozen=True, kw_only=True):
    """DescribeModelExportTask: the newest export; ``events`` and the fields from ``bucket`` on are ours."""

    has_record: Annotated[bool, Meta(description="whether there is an export")]
    events: tuple[EventResult, ...]
    export_id: str | UnsetType = UNSET
    status: Annotated[str | UnsetType, Meta(description="Doing, Done or Fail")] = UNSET
    file_name: Annotated[str | UnsetType, Meta(description="the exported directory's name; when done")] = UNSET
    file_type: Annotated[str | UnsetType, Meta(description="directory; when done")] = UNSET
    md5: Annotated[str | UnsetType, Meta(description="of the manifest file; when done")] = UNSET
    file_size: Annotated[int | UnsetType, Meta(description="bytes of all files but the manifest; when done")] = UNSET
    download_url: Annotated[
        str | UnsetType, Meta(description="bucket:objectPath, a place and no address; when done")
    ] = UNSET
    bucket: str | UnsetType = UNSET
    object_path: str | UnsetType = UNSET
    progress: Annotated[int | UnsetType, Meta(description="0 to 100")] = UNSET
    bytes_done: int | UnsetType = UNSET
    bytes_total: int | UnsetType = UNSET
    create_time: str | UnsetType = UNSET
    finish_time: str | UnsetType = UNSET
    failed_reason: str | UnsetType = UNSET
    manifest: Annotated[str | UnsetType, Meta(description="the manifest's objectPath; when done")] = UNSET
    sha256: Annotated[str | UnsetType, Meta(description="of the manifest file; when done")] = UNSET


def export_detail(export: ExportTask | None, events: list[TaskEvent]) -> ExportDetail:
    """The newest export with its history; None where there is none."""
    if export is None:
        return ExportDetail(has_record=False, events=())
    done = export.exported if export.status is TaskStatus.SUCCEEDED else None
    place = export.location
    return ExportDetail(
        has_record=True,
        export_id=export.id,
        status=_WORDS.get(export.status, "Doing"),
        file_name=UNSET if done is None else place.path.rpartition("/")[2],
        file_type=UNSET if done is None else _FILE_TYPE,
        md5=UNSET if done is None else done.manifest_md5,
        file_size=UNSET if done is None else done.size_bytes,
        download_url=UNSET if done is None else str(place),
        bucket=place.bucket,
        object_path=place.path,
        progress=export.percent,
        bytes_done=export.bytes_done,
        bytes_total=export.bytes_total,
        create_time=time_text(export.created_at),
        finish_time=UNSET if export.finished_at is None else time_text(export.finished_at),
        failed_reason=export.reason or UNSET,
        manifest=UNSET if done is None else f"{place.path}/{MANIFEST}",
        sha256=UNSET if done is None else done.manifest_sha256,
        events=tuple(
            EventResult(time=time_text(e.at), status=e.status.value, attempt=e.attempt, message=e.message)
            for e in events
        ),
    )
