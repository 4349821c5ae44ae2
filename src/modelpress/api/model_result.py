"""The forms of what is told about model sets and versions, and how values become them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET, UnsetType

from modelpress.api.result import PageInfo, Result, page_info, time_text
from modelpress.domain.model import ModelSet, ModelVersion, SourceType
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
    """DescribeModelSet; ``description`` is there for a preset only."""

    source: str
    description: str | UnsetType = UNSET


class SetList(Result, frozen=True, kw_only=True):
    """DescribeCustomModelSets."""

    custom_model_set_list: tuple[SetItem, ...]
    page_info: PageInfo


class SourceInfo(Result, frozen=True, kw_only=True):
    """Where a version comes from; of a preset no more than that it is one. Baidu names no children; these are ours."""

    source_type: str
    acceleration_task_id: str | UnsetType = UNSET
    bucket: str | UnsetType = UNSET
    object_path: str | UnsetType = UNSET


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


class SystemSetItem(Result, frozen=True, kw_only=True):
    """A shared model set in a list."""

    model_set_id: str
    model_set_name: str
    model_type: str
    description: str
    model_count: int
    model_ids: tuple[str, ...]
    modify_time: str
    model_names: tuple[str, ...]


class SystemSetDetail(Result, frozen=True, kw_only=True):
    """DescribeSystemModelSet."""

    model_set_id: str
    model_set_name: str
    model_type: str
    create_time: str
    modify_time: str
    description: str
    model_ids: tuple[str, ...]
    model_names: tuple[str, ...]


class SystemSetList(Result, frozen=True, kw_only=True):
    """DescribeSystemModelSets."""

    system_model_set_list: tuple[SystemSetItem, ...]
    page_info: PageInfo


class SystemVersionDetail(Result, frozen=True, kw_only=True):
    """DescribeSystemModel."""

    model_set_id: str
    model_id: str
    model_name: str
    status: str
    description: str
    create_time: str
    modify_time: str
    model_application_type: str
    is_support_deploy: bool
    is_support_model_comp: bool
    is_support_evaluation: bool
    capabilities: tuple[str, ...]
    model_providers: tuple[str, ...]


class AccelerationExtraV1(Result, frozen=True, kw_only=True):
    """The task that made a version."""

    task_id_str: str


class ImportExtraV1(Result, frozen=True, kw_only=True):
    """Where an imported version lies."""

    bucket: str
    object: str


class SourceExtraV1(Result, frozen=True, kw_only=True):
    """Where a version comes from, in the V1 routes' words; of a preset no more than that it is one."""

    source_type: str
    acceleration_source_extra: AccelerationExtraV1 | UnsetType = UNSET
    import_model_version_source_extra: ImportExtraV1 | UnsetType = UNSET


class VersionDetailV1(Result, frozen=True, kw_only=True):
    """The V1 route modelVersionDetail, as the Python SDK's Model class reads it."""

    model_id_str: str
    model_name: str
    model_version_id_str: str
    version: str
    description: str
    source_type: str
    source_extra: SourceExtraV1
    model_net: str
    state: str
    io_mode: str
    create_time: str
    modify_time: str
    deploy_resource: tuple[str, ...]
    support_options: tuple[str, ...]


class SetDetailV1(Result, frozen=True, kw_only=True):
    """The V1 route modelDetail."""

    model_id_str: str
    model_name: str
    source: str
    description: str
    create_time: str
    modify_time: str
    model_version_list: tuple[VersionDetailV1, ...]


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


def set_detail(model_set: ModelSet, *, account_id: str) -> SetDetail:
    """A model set by itself, as this account sees it."""
    if model_set.account_id == account_id:
        return SetDetail(**_set_fields(model_set), source="UserCreate")
    return SetDetail(**_set_fields(model_set), source="System", description=model_set.description)


def set_list(request: PageRequest, page: Page[ModelSet]) -> SetList:
    """A page of model sets."""
    return SetList(
        custom_model_set_list=tuple(SetItem(**_set_fields(item)) for item in page.items),
        page_info=page_info(request, page.next_marker),
    )


def _picked(form: type[Result], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in form.__struct_fields__}


def system_set_detail(model_set: ModelSet) -> SystemSetDetail:
    """A shared model set by itself."""
    fields = _set_fields(model_set) | {"description": model_set.description}
    return SystemSetDetail(**_picked(SystemSetDetail, fields))


def system_set_list(request: PageRequest, page: Page[ModelSet]) -> SystemSetList:
    """A page of shared model sets."""
    described = (_set_fields(item) | {"description": item.description} for item in page.items)
    return SystemSetList(
        system_model_set_list=tuple(SystemSetItem(**_picked(SystemSetItem, fields)) for fields in described),
        page_info=page_info(request, page.next_marker),
    )


def system_version_detail(version: ModelVersion) -> SystemVersionDetail:
    """A version of a shared set. Nothing is deployed or evaluated here; what it can do and who made it is not known."""
    return SystemVersionDetail(
        model_set_id=version.set_id,
        model_id=version.id,
        model_name=version.name,
        status="Ready",
        description=version.description,
        create_time=time_text(version.created_at),
        modify_time=time_text(version.modified_at),
        model_application_type=version.application_type,
        is_support_deploy=False,
        is_support_model_comp=version.supports_compression,
        is_support_evaluation=False,
        capabilities=(),
        model_providers=(),
    )


def _is_preset(version: ModelVersion) -> bool:
    return version.source_type is SourceType.PLATFORM_PRESET


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
            bucket=UNSET if _is_preset(version) else version.location.bucket,
            object_path=UNSET if _is_preset(version) else version.location.path,
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


def version_detail_v1(version: ModelVersion, *, set_name: str) -> VersionDetailV1:
    """A model version in the V1 routes' words; their numeric ids are not ours."""
    return VersionDetailV1(
        model_id_str=version.set_id,
        model_name=set_name,
        model_version_id_str=version.id,
        version=version.name,
        description=version.description,
        source_type=version.source_type.value,
        source_extra=_source_extra_v1(version),
        model_net=version.architecture,
        state="Ready",
        io_mode=version.application_type,
        create_time=time_text(version.created_at),
        modify_time=time_text(version.modified_at),
        deploy_resource=(),
        support_options=("Acceleration",) if version.supports_compression else (),
    )


def _source_extra_v1(version: ModelVersion) -> SourceExtraV1:
    task, imported = version.task_id, version.source_type is SourceType.IMPORT
    lies = ImportExtraV1(bucket=version.location.bucket, object=version.location.path)
    return SourceExtraV1(
        source_type=version.source_type.value,
        acceleration_source_extra=AccelerationExtraV1(task_id_str=task) if task else UNSET,
        import_model_version_source_extra=lies if imported else UNSET,
    )


def set_detail_v1(model_set: ModelSet, versions: Iterable[ModelVersion], *, account_id: str) -> SetDetailV1:
    """A model set in the V1 routes' words, with its versions."""
    return SetDetailV1(
        model_id_str=model_set.id,
        model_name=model_set.name,
        # The Python SDK's command line looks for this very word.
        source="UserCreate" if model_set.account_id == account_id else "PlatformPreset",
        description=model_set.description,
        create_time=time_text(model_set.created_at),
        modify_time=time_text(model_set.modified_at),
        model_version_list=tuple(version_detail_v1(version, set_name=model_set.name) for version in versions),
    )
