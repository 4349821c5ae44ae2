"""The actions on how a model is configured for serving, and what an import says of it."""

from __future__ import annotations

import json
from typing import Any

from modelpress.conformance.check import check
from modelpress.conformance.scene import MODEL_FORMAT, Scene
from modelpress.conformance.session import Session, refusal
from modelpress.conformance.verdict import ensure

_CREATE, _UPLOAD = "CreateCustomModel", "CreateModelCustomConf"
_SYSTEM, _CUSTOM = "DescribeModelSystemAdvancedConf", "DescribeModelCustomAdvancedConf"
_SOURCE = b"# a chat template\n"


def _told(text: Any) -> dict[str, Any]:
    ensure(isinstance(text, str), f"result is {text!r}, no string")
    value = json.loads(text)
    ensure(isinstance(value, dict), f"result holds {text}, no object")
    return dict(value)


@check(_SYSTEM, request=("basicModelName", "modelFormat", "modelApplicationType"), answer=("result",))
def presets_are_json_in_a_string(session: Session, scene: Scene) -> str:
    """Both kinds of use are answered with an object as JSON in a string."""
    for kind in ("chat", "completion"):
        body = {"basicModelName": "Huggingface", "modelFormat": MODEL_FORMAT, "modelApplicationType": kind}
        _told(session.result(_SYSTEM, body))
    return "chat and completion"


@check(_CUSTOM, request=("modelId",), answer=("result",))
def configuration_is_json_in_a_string(session: Session, scene: Scene) -> str:
    """Of a version an object is told, as JSON in a string."""
    return f"{len(_told(session.result(_CUSTOM, {'modelId': scene.model_id})))} settings"


@check(
    _CREATE,
    request=(
        "importMeta.transformerVersion",
        "importMeta.basicModelName",
        "importMeta.chatConf",
        "importMeta.chatConf.historyQATemplate",
        "importMeta.chatConf.latestQuestionTemplate",
        "importMeta.chatConf.promptTemplate",
    ),
    writes=True,
    ours=True,
)
def import_says_how_it_is_used(session: Session, scene: Scene) -> str:
    """What an import says of the version of transformers and of the chat template is told of its version."""
    chat = {"historyQATemplate": "{history}", "latestQuestionTemplate": "{question}", "promptTemplate": "{prompt}"}
    said = {"transformerVersion": "4.40.2", "basicModelName": "HuggingFace", "chatConf": chat}
    model_id = scene.new_model(scene.target_set, importMeta=said)
    told = _told(session.result(_CUSTOM, {"modelId": model_id}))
    ensure(told == said, f"told is {told}")
    return "as given"


@check(_UPLOAD, request=("customSpecFile",), answer=("result",), writes=True, http_only=True)
def uploaded_file_has_a_name(session: Session, scene: Scene) -> str:
    """The answer is the name under which the file is kept, which ends in .py."""
    name = session.upload(_UPLOAD, "customSpecFile", name="template.py", content=_SOURCE).body.get("result")
    ensure(str(name).endswith(".py"), f"result is {name!r}")
    return ".py"


@check(_UPLOAD, request=("customSpecFile",), writes=True, http_only=True)
def other_files_are_not_taken(session: Session, scene: Scene) -> str:
    """A file whose name does not end in .py is refused."""
    return refusal(session.upload(_UPLOAD, "customSpecFile", name="template.txt", content=_SOURCE))


@check(
    _CREATE,
    request=("importMeta.customSpec", "importMeta.customSpec.displayName", "importMeta.customSpec.file"),
    writes=True,
    ours=True,
    http_only=True,
)
def import_names_an_uploaded_file(session: Session, scene: Scene) -> str:
    """A version that is imported with an uploaded template tells its text."""
    kept = session.upload(_UPLOAD, "customSpecFile", name="template.py", content=_SOURCE).body.get("result")
    spec = {"displayName": "a check's", "file": kept}
    model_id = scene.new_model(scene.target_set, importMeta={"customSpec": spec})
    told = _told(session.result(_CUSTOM, {"modelId": model_id}))
    ensure(told == {"customSpec": {**spec, "content": _SOURCE.decode()}}, f"told is {told}")
    return "with its text"


CONFIGURATION_CHECKS = (
    presets_are_json_in_a_string,
    configuration_is_json_in_a_string,
    import_says_how_it_is_used,
    uploaded_file_has_a_name,
    other_files_are_not_taken,
    import_names_an_uploaded_file,
)
