"""The forms of what is told about model sets and versions, and how values become them."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from modelpress.api.result import PageInfo, Result, page_info, time_text
from modelpress.domain.model import ModelSet, ModelVersion
from modelpress.domain.page import Page, PageRequest


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
