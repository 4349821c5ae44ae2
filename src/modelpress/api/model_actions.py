"""The actions on model sets and versions."""

from __future__ import annotations

from typing import Any, NoReturn

from modelpress.api import model_result as result
from modelpress.api import wire
from modelpress.api.action import Action, page_request
from modelpress.domain.advanced_conf import AdvancedConf, ChatConf, CustomSpec
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
    found = services.models.get_set(caller, set_id=request.model_set_id, name=request.model_set_name)
    return result.set_detail(found, account_id=caller.account_id)


def _delete_set(services: Services, caller: Caller, request: wire.SetId) -> dict[str, Any]:
    services.models.delete_set(caller, request.model_set_id)
    return {}


def _create_version(services: Services, caller: Caller, request: wire.CreateVersion) -> result.VersionCreated:
    if request.source_type.lower() != SourceType.IMPORT.value.lower():
        raise InvalidRequest("sourceType", f"{request.source_type!r} is not Import; there is no training here")
    if request.import_meta is None:
        raise InvalidRequest("importMeta", "required when sourceType is Import")
    meta = request.import_meta
    version = services.models.import_version(
        caller,
        ImportRequest(
            set_id=request.model_set_id,
            location=Location(bucket=meta.bucket, path=meta.object_path),
            description=request.description or "",
            model_format=meta.model_format or MODEL_FORMAT,
            application_type=meta.model_application_type or "chat",
            advanced_conf=_advanced_conf(meta),
        ),
    )
    return result.VersionCreated(model_id=version.id)


def _advanced_conf(meta: wire.ImportMeta) -> AdvancedConf:
    return AdvancedConf(
        transformer_version=meta.transformer_version,
        basic_model_name=meta.basic_model_name or None,
        chat_conf=None if meta.chat_conf is None else _chat_conf(meta.chat_conf),
        custom_spec=None if meta.custom_spec is None else _custom_spec(meta.custom_spec),
    )


def _chat_conf(said: wire.ChatConf) -> ChatConf:
    return ChatConf(
        history_qa_template=said.history_qa_template,
        latest_question_template=said.latest_question_template,
        prompt_template=said.prompt_template or "",
    )


def _custom_spec(said: wire.CustomSpec) -> CustomSpec:
    return CustomSpec(display_name=said.display_name, file=said.file)


def _describe_version(services: Services, caller: Caller, request: wire.ModelId) -> result.VersionDetail:
    return result.version_detail(services.models.get_version(caller, request.model_id))


def _delete_version(services: Services, caller: Caller, request: wire.ModelId) -> dict[str, Any]:
    services.models.delete_version(caller, request.model_id)
    return {}


def _describe_system_sets(services: Services, _caller: Caller, request: wire.PageForm) -> result.SystemSetList:
    wanted = page_request(request)
    return result.system_set_list(wanted, services.models.page_shared_sets(wanted))


def _describe_system_set(services: Services, _caller: Caller, request: wire.SetIdOrName) -> result.SystemSetDetail:
    found = services.models.get_shared_set(set_id=request.model_set_id, name=request.model_set_name)
    return result.system_set_detail(found)


def _describe_system_version(services: Services, caller: Caller, request: wire.ModelId) -> result.SystemVersionDetail:
    return result.system_version_detail(services.models.get_shared_version(caller, request.model_id))


def _describe_version_v1(services: Services, caller: Caller, request: wire.ModelVersionId) -> result.VersionDetailV1:
    version = services.models.get_version(caller, request.model_version_id)
    found = services.models.get_set(caller, set_id=version.set_id, name=None)
    return result.version_detail_v1(version, set_name=found.name)


def _describe_set_v1(services: Services, caller: Caller, request: wire.ModelIdV1) -> result.SetDetailV1:
    model_set, versions = services.models.versions(caller, request.model_id)
    return result.set_detail_v1(model_set, versions, account_id=caller.account_id)


def _publish_training_v1(_services: Services, _caller: Caller, _request: wire.PublishTraining) -> NoReturn:
    raise InvalidRequest("versionMeta", "no training task can be published; there is no training here")


MODEL_ACTIONS = (
    Action(name="CreateCustomModelSet", request=wire.CreateSet, run=_create_set, writes=True),
    Action(name="DescribeCustomModelSets", request=wire.PageForm, run=_describe_sets, writes=False, quick=True),
    Action(name="DescribeModelSet", request=wire.SetIdOrName, run=_describe_set, writes=False, quick=True),
    Action(name="DeleteModelSet", request=wire.SetId, run=_delete_set, writes=True),
    Action(name="CreateCustomModel", request=wire.CreateVersion, run=_create_version, writes=True),
    Action(name="DescribeModel", request=wire.ModelId, run=_describe_version, writes=False, quick=True),
    Action(name="DeleteModel", request=wire.ModelId, run=_delete_version, writes=True),
    *(
        Action(name=name, request=form, run=run, writes=False, quick=True, open_to_all=True)
        for name, form, run in (
            ("DescribeSystemModelSets", wire.PageForm, _describe_system_sets),
            ("DescribeSystemModelSet", wire.SetIdOrName, _describe_system_set),
            ("DescribeSystemModel", wire.ModelId, _describe_system_version),
        )
    ),
)

#: Routes of the old API that the Python SDK's Model class still calls; no Action in the query.
V1_ROUTES = {
    f"/wenxinworkshop/modelrepo/{action.name}": action
    for action in (
        Action(
            name="modelVersionDetail",
            request=wire.ModelVersionId,
            run=_describe_version_v1,
            writes=False,
            quick=True,
            old=True,
        ),
        Action(name="modelDetail", request=wire.ModelIdV1, run=_describe_set_v1, writes=False, old=True),
        Action(name="publishTrainModel", request=wire.PublishTraining, run=_publish_training_v1, writes=True, old=True),
    )
}
