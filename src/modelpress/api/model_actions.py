"""The actions on model sets and versions."""

from __future__ import annotations

from typing import Any

from modelpress.api import model_result as result
from modelpress.api import wire
from modelpress.api.action import Action, page_request
from modelpress.domain.model import Location, SourceType
from modelpress.domain.policy import Caller
from modelpress.errors import InvalidRequest
from modelpress.service.models import MODEL_FORMAT, ImportRequest
from modelpress.service.services import Services


def _create_set(services: Services, caller: Caller, request: wire.CreateSet) -> str:
    made = services.models.create_set(
        caller, name=request.model_set_name, model_type=request.model_type, labels=request.labels or ()
    )
    return made.id


def _describe_sets(services: Services, caller: Caller, request: wire.PageForm) -> result.SetList:
    wanted = page_request(request)
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


MODEL_ACTIONS = (
    Action(name="CreateCustomModelSet", request=wire.CreateSet, run=_create_set, writes=True),
    Action(name="DescribeCustomModelSets", request=wire.PageForm, run=_describe_sets, writes=False, quick=True),
    Action(name="DescribeModelSet", request=wire.SetIdOrName, run=_describe_set, writes=False, quick=True),
    Action(name="DeleteModelSet", request=wire.SetId, run=_delete_set, writes=True),
    Action(name="CreateCustomModel", request=wire.CreateVersion, run=_create_version, writes=True),
    Action(name="DescribeModel", request=wire.ModelId, run=_describe_version, writes=False, quick=True),
    Action(name="DeleteModel", request=wire.ModelId, run=_delete_version, writes=True),
)

#: Routes of the old API that the Python SDK's Model class still calls; no Action in the query.
V1_ROUTES = {
    "/wenxinworkshop/modelrepo/modelVersionDetail": Action(
        name="modelVersionDetail", request=wire.ModelVersionId, run=_describe_version_v1, writes=False, quick=True
    ),
}
