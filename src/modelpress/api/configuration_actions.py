"""The actions on how imported models are configured; what they tell is JSON in a text, as documented."""

from __future__ import annotations

import json
from typing import Any

from modelpress.api import wire
from modelpress.api.action import Action
from modelpress.domain.advanced_conf import AdvancedConf
from modelpress.domain.policy import Caller
from modelpress.errors import InvalidRequest
from modelpress.service.models import MODEL_FORMAT
from modelpress.service.services import Services

_CONFIGURABLE = ("chat", "completion")


def _upload(services: Services, caller: Caller, request: wire.SpecFile) -> str:
    given = request.custom_spec_file
    return services.configurations.upload(caller, name=given.name, content=given.content)


def _describe_system_conf(_services: Services, _caller: Caller, request: wire.SystemConf) -> str:
    if request.model_format.lower() != MODEL_FORMAT.lower():
        raise InvalidRequest("modelFormat", f"{request.model_format!r} is not {MODEL_FORMAT}")
    kind = request.model_application_type.lower()
    if kind not in _CONFIGURABLE:
        raise InvalidRequest(
            "modelApplicationType", f"{request.model_application_type!r} is none of {', '.join(_CONFIGURABLE)}"
        )
    # What holds for an import that says nothing more: a checkpoint brings its own chat template.
    return _text({"modelFormat": MODEL_FORMAT, "modelApplicationType": kind})


def _describe_custom_conf(services: Services, caller: Caller, request: wire.ModelId) -> str:
    conf, template = services.configurations.of_version(caller, request.model_id)
    return _text(_told(conf, template))


def _told(conf: AdvancedConf, template: str) -> dict[str, Any]:
    """In the words of importMeta, and the template file's text beside its name; what was not said is left out."""
    chat, custom = conf.chat_conf, conf.custom_spec
    told = {
        "transformerVersion": conf.transformer_version,
        "basicModelName": conf.basic_model_name,
        "chatConf": chat
        and {
            "historyQATemplate": chat.history_qa_template,
            "latestQuestionTemplate": chat.latest_question_template,
            "promptTemplate": chat.prompt_template,
        },
        "customSpec": custom and {"displayName": custom.display_name, "file": custom.file, "content": template},
    }
    return {name: value for name, value in told.items() if value is not None}


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


CONFIGURATION_ACTIONS = (
    Action(
        name="CreateModelCustomConf",
        request=wire.SpecFile,
        run=_upload,
        writes=True,
        multipart=True,
        tells="the name under which the file is kept, a string",
    ),
    Action(
        name="DescribeModelSystemAdvancedConf",
        request=wire.SystemConf,
        run=_describe_system_conf,
        writes=False,
        guarded=True,
        quick=True,
        tells="JSON in a string: what holds for an import that says nothing more",
    ),
    Action(
        name="DescribeModelCustomAdvancedConf",
        request=wire.ModelId,
        run=_describe_custom_conf,
        writes=False,
        tells="JSON in a string: what the version was imported with, in the words of `importMeta`; `{}` where nothing",
    ),
)
