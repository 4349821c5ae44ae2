"""Every field of every action's body: left out, null, or of another type."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.inspect import (
    BoolType,
    CustomType,
    Field,
    FloatType,
    Metadata,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    type_info,
)

from modelpress.api.actions import ACTIONS, V1_ROUTES
from modelpress.api.wire import ColumnCount, NameText, StatusWords, Whole
from tests.api.server import Account

FORMS = {f"/v2/model?Action={name}": action for name, action in ACTIONS.items()} | V1_ROUTES

_PAGE = {"marker": "", "maxKeys": 10, "pageReverse": False}
#: A body with every field, for every action.
BODIES: dict[str, dict[str, Any]] = {
    "CreateModelCompTask": {
        "name": "n",
        "sourceModelId": "amv-x",
        "modelSetId": "am-x",
        "description": "d",
        "clientToken": "t",
        "tags": [{"tagKey": "team", "tagValue": "search"}],
        "config": {
            "strategy": "Quantization",
            "weight": "W8A16C16",
            "quantConf": "wint8",
            "outputFormat": "safetensors",
            "groupSize": 32,
            "symmetric": False,
            "scaleSearch": "mse",
            "targets": ["*"],
            "ignore": ["layers.0.*"],
            "overrides": [{"targets": ["down_proj"], "weight": "W4A16C16", "groupSize": "channel", "symmetric": True}],
            "method": "gptq",
            "sparsityRatio": 0.5,
            "sparsityPattern": "2:4",
            "calibration": {
                "source": "object",
                "bucket": "local",
                "objectPath": "calibration.jsonl",
                "numSamples": 16,
                "maxLength": 64,
                "textField": "text",
            },
            "tuning": {"actOrder": True, "dampening": 0.1, "smoothingStrength": 0.5, "iterations": 10},
        },
    },
    "DescribeModelCompTask": {"modelCompTaskId": "amva-x"},
    "DescribeModelCompTasks": {
        **_PAGE,
        "sourceModelId": "amv-x",
        "status": "failed",
        "strategy": "Quantization",
        "weight": "wint8",
        "name": "n",
        "modelSetId": "am-x",
        "createTimeStart": "2026-01-01T00:00:00Z",
        "createTimeEnd": "2026-12-31T23:59:59+08:00",
        "tags": [{"tagKey": "team", "tagValue": "search"}],
    },
    "DescribeModelCompTaskLogs": {"modelCompTaskId": "amva-x", "offset": 0, "maxLines": 10},
    "DescribeModelCompSchemes": {},
    "RetryModelCompTask": {"modelCompTaskId": "amva-x"},
    "CancelModelCompTask": {"modelCompTaskId": "amva-x"},
    "DeleteModelCompTask": {"modelCompTaskId": "amva-x"},
    "CreateCustomModelSet": {"modelSetName": "n", "modelType": "Text2Text", "labels": ["a"]},
    "DescribeCustomModelSets": _PAGE,
    "DescribeModelSet": {"modelSetId": "am-x", "modelSetName": "n"},
    "DeleteModelSet": {"modelSetId": "am-x"},
    "CreateCustomModel": {
        "modelSetId": "am-x",
        "sourceType": "Import",
        "description": "d",
        "importMeta": {
            "bucket": "local",
            "objectPath": "tiny",
            "modelFormat": "HuggingFace.Transformers",
            "modelApplicationType": "chat",
            "transformerVersion": "4.40.2",
            "basicModelName": "HuggingFace",
            "chatConf": {"historyQATemplate": "h", "latestQuestionTemplate": "q", "promptTemplate": "p"},
            "customSpec": {"displayName": "n", "file": "amt-x.py"},
        },
    },
    "DescribeModel": {"modelId": "amv-x"},
    "DeleteModel": {"modelId": "amv-x"},
    "CreateModelCustomConf": {"customSpecFile": "text"},
    "DescribeModelSystemAdvancedConf": {
        "basicModelName": "Huggingface",
        "modelFormat": "HuggingFace.Transformers",
        "modelApplicationType": "chat",
    },
    "DescribeModelCustomAdvancedConf": {"modelId": "amv-x"},
    "DescribeSystemModelSets": _PAGE,
    "DescribeSystemModelSet": {"modelSetId": "am-x", "modelSetName": "n"},
    "DescribeSystemModel": {"modelId": "amv-x"},
    "CreateModelExportTask": {"modelId": "amv-x", "exportMeta": {"bucket": "exports", "objectPath": "x"}},
    "DescribeModelExportTask": {"modelId": "amv-x"},
    "modelVersionDetail": {"modelVersionId": "amv-x"},
    "modelDetail": {"modelId": "am-x"},
    "publishTrainModel": {},
}

Path = tuple[str, ...]
#: The one type of JSON's that a field takes; a list or object that is empty or of others is wrong all the same.
_AS_JSON: dict[type, str] = {
    StrType: "str",
    BoolType: "bool",
    Whole: "int",
    NameText: "str",
    StatusWords: "str",
    ColumnCount: "int",
}


def fields_of(kind: Type, place: Path = ()) -> Iterator[tuple[Path, Field, Type]]:
    """Each field below ``kind`` with its place and its type, but for None."""
    assert isinstance(kind, StructType)
    for field in kind.fields:
        inner = field.type
        while isinstance(inner, UnionType | Metadata):
            if isinstance(inner, Metadata):
                inner = inner.type
            else:
                (inner,) = (one for one in inner.types if not isinstance(one, NoneType))
        yield (*place, field.encode_name), field, inner
        if isinstance(inner, StructType):
            yield from fields_of(inner, (*place, field.encode_name))


FIELDS = [
    pytest.param(target, place, field, kind, id=f"{action.name}.{'.'.join(place)}")
    for target, action in FORMS.items()
    for place, field, kind in fields_of(type_info(action.request))
]


#: What says something else than the rest of the full body of CreateModelCompTask.
CONTRADICTING = ("sparsityRatio", "sparsityPattern", "tuning")


def changed(target: str, place: Path, *value: Any, sound: bool = False) -> bytes:
    """The full body with another value at a place, or without the field; all else is in order where it is ``sound``."""
    body = copy.deepcopy(BODIES[FORMS[target].name])
    for name in CONTRADICTING if sound and "config" in body else ():
        del body["config"][name]
    inner = body
    for name in place[:-1]:
        inner = inner.setdefault(name, {})
    inner.pop(place[-1], None)
    if value:
        inner[place[-1]] = value[0]
    return json.dumps(body).encode()


@pytest.mark.parametrize("target", FORMS)
def test_the_full_bodies_are_full(target: str) -> None:
    for place, _, _ in fields_of(type_info(FORMS[target].request)):
        inner = BODIES[FORMS[target].name]
        for name in place:
            inner = inner[name]


@pytest.mark.parametrize(("target", "place", "field", "kind"), FIELDS)
def test_a_field_that_is_left_out_or_null_is_named_where_it_is_required(
    account: Account, target: str, place: Path, field: Field, kind: Type
) -> None:
    named = f"param[{'.'.join(place)}] invalid"
    without = account.send(target, changed(target, place)).checked()
    null = account.server.account().send(target, changed(target, place, None)).checked()
    if field.required:
        assert f"{named}: required" in without.refusal("InappropriateJSON")
        assert named in null.refusal("InappropriateJSON")
    else:
        assert without.json.get("code") == null.json.get("code")


@pytest.mark.parametrize(("target", "place", "field", "kind"), FIELDS)
def test_a_field_of_another_type_is_named(account: Account, target: str, place: Path, field: Field, kind: Type) -> None:
    wrong: dict[str, Any] = {"str": "text", "bool": True, "int": 5, "float": 0.5, "list": [[]], "dict": {"a": {}}}
    del wrong[_AS_JSON.get(kind.cls if isinstance(kind, CustomType) else type(kind), "float")]
    if isinstance(kind, FloatType):
        del wrong["int"]  # a whole number is a number too
    if isinstance(kind, StructType) and not any(inner.required for inner in kind.fields):
        del wrong["dict"]
    for value in wrong.values():
        message = account.send(target, changed(target, place, value)).refusal("InappropriateJSON")
        assert f"param[{'.'.join(place)}" in message, value


@pytest.mark.parametrize(("target", "place", "field", "kind"), FIELDS)
def test_a_text_that_is_too_long_is_named_and_not_quoted(
    account: Account, target: str, place: Path, field: Field, kind: Type
) -> None:
    if isinstance(kind, StrType | CustomType) and place[-1] != "maxKeys":
        reply = account.send(target, changed(target, place, "x" * 2000))
        assert f"param[{'.'.join(place)}]" in reply.refusal("InappropriateJSON")
        assert len(reply.content) < 1000


@pytest.mark.parametrize(
    ("action", "place", "value"),
    [
        ("CreateModelCompTask", "name", ""),
        ("CreateModelCompTask", "name", "x" * 65),
        ("CreateModelCompTask", "description", "x" * 1001),
        ("CreateModelCompTask", "sourceModelId", ""),
        ("CreateModelCompTask", "config.strategy", "Distillation"),
        ("CreateModelCompTask", "config.strategy", ""),
        ("CreateModelCompTask", "config.weight", "W9A16"),
        ("CreateModelCompTask", "config.quantConf", "wint4"),
        ("CreateModelCompTask", "config.quantConf", "wint9"),
        ("CreateModelCompTask", "config.outputFormat", "onnx"),
        ("CreateModelCompTask", "config.groupSize", 0),
        ("CreateModelCompTask", "config.groupSize", 1.5),
        ("CreateModelCompTask", "config.groupSize", "row"),
        ("CreateModelCompTask", "config.groupSize", 10**30),
        ("CreateModelCompTask", "config.scaleSearch", "best"),
        ("CreateModelCompTask", "config.targets", ["re:.*"]),
        ("CreateModelCompTask", "config.targets", "down_proj"),
        ("CreateModelCompTask", "config.ignore", ["x" * 201]),
        ("CreateModelCompTask", "config.ignore", ["["]),
        ("CreateModelCompTask", "config.overrides", [{"weight": "W8A16"}]),
        ("CreateModelCompTask", "config.overrides", [{"targets": [], "weight": "W8A16"}]),
        ("CreateModelCompTask", "config.overrides", [{"targets": ["a"]}]),
        ("CreateModelCompTask", "config.overrides", [{"targets": ["a"], "weight": "W9A16"}]),
        ("CreateModelCompTask", "config.overrides", [{"targets": ["a"], "groupSize": True}]),
        ("CreateModelCompTask", "config.method", "best"),
        ("CreateModelCompTask", "config.method", "wanda"),
        ("CreateModelCompTask", "config.sparsityRatio", 0.5),
        ("CreateModelCompTask", "config.sparsityPattern", "2:4"),
        ("CreateModelCompTask", "config.calibration.source", "web"),
        ("CreateModelCompTask", "config.calibration.source", "self"),
        ("CreateModelCompTask", "config.calibration.bucket", ""),
        ("CreateModelCompTask", "config.calibration.objectPath", ""),
        ("CreateModelCompTask", "config.calibration.objectPath", "x" * 1025),
        ("CreateModelCompTask", "config.calibration.numSamples", 0),
        ("CreateModelCompTask", "config.calibration.numSamples", 10**30),
        ("CreateModelCompTask", "config.calibration.numSamples", 1.5),
        ("CreateModelCompTask", "config.calibration.maxLength", 15),
        ("CreateModelCompTask", "config.calibration.textField", "x" * 65),
        ("CreateModelCompTask", "config.tuning.dampening", 0),
        ("CreateModelCompTask", "config.tuning.dampening", 1e300),
        ("CreateModelCompTask", "config.tuning.smoothingStrength", 0.5),
        ("CreateModelCompTask", "config.tuning.iterations", 10**30),
        ("CreateModelCompTask", "name", "  \u3000"),
        ("CreateModelCompTask", "name", "a\nb"),
        ("CreateModelCompTask", "name", "a\x1b[31m"),
        ("CreateModelCompTask", "name", "a\u2028b"),
        ("CreateModelCompTask", "tags", [{"tagKey": str(n)} for n in range(11)]),
        ("CreateModelCompTask", "tags", [{"tagKey": "a"}, {"tagKey": "a", "tagValue": "b"}]),
        ("CreateModelCompTask", "tags", [{"tagKey": ""}]),
        ("CreateModelCompTask", "tags", [{"tagKey": "x" * 65}]),
        ("CreateModelCompTask", "tags", [{"tagKey": "a", "tagValue": "x" * 65}]),
        ("CreateModelCompTask", "tags", [{"tagValue": "b"}]),
        ("DescribeModelCompTasks", "status", "finished"),
        ("DescribeModelCompTasks", "status", ["failed", "finished"]),
        ("DescribeModelCompTasks", "status", ["x" * 65]),
        ("DescribeModelCompTasks", "strategy", "Distillation"),
        ("DescribeModelCompTasks", "weight", "W9A16"),
        ("DescribeModelCompTasks", "createTimeStart", "yesterday"),
        ("DescribeModelCompTasks", "createTimeStart", "2026-01-01T00:00:00"),
        ("DescribeModelCompTasks", "createTimeEnd", "2026-13-01T00:00:00Z"),
        ("DescribeModelCompTasks", "tags", [{"tagKey": "a"}] * 2),
        ("CreateCustomModelSet", "modelSetName", ""),
        ("CreateCustomModelSet", "modelSetName", "x" * 65),
        ("CreateCustomModelSet", "modelType", "Text2Song"),
        ("CreateCustomModelSet", "labels", ["x" * 65]),
        ("CreateCustomModelSet", "labels", [""]),
        ("CreateCustomModel", "sourceType", "Train"),
        ("CreateCustomModel", "sourceType", "Other"),
        ("CreateCustomModel", "importMeta", None),
        ("CreateCustomModel", "importMeta.bucket", ""),
        ("CreateCustomModel", "importMeta.objectPath", ""),
        ("CreateCustomModel", "importMeta.objectPath", "x" * 1025),
        ("CreateCustomModel", "importMeta.modelFormat", "Safetensors"),
        ("CreateCustomModel", "importMeta.modelApplicationType", "dance"),
        ("DescribeModelSet", "modelSetId", ""),
        ("DescribeModelCompTask", "modelCompTaskId", "x" * 65),
    ],
)
def test_a_value_that_is_not_allowed_is_named(account: Account, action: str, place: str, value: Any) -> None:
    reply = account.send(
        f"/v2/model?Action={action}",
        changed(f"/v2/model?Action={action}", tuple(place.split(".")), value, sound=True),
    )
    assert f"param[{place}" in reply.refusal("InappropriateJSON")


def test_a_strategy_without_a_weight_is_refused(account: Account) -> None:
    body = BODIES["CreateModelCompTask"] | {"config": {"strategy": "Quantization"}}
    message = account.refused("CreateModelCompTask", body, code="InappropriateJSON")
    assert "param[config.weight] invalid: required" in message


def test_a_set_is_described_by_its_id_or_its_name_but_not_by_both_or_neither(account: Account) -> None:
    set_id = account.make_set()
    for body in ({}, {"modelSetId": set_id, "modelSetName": "set"}):
        assert "param[modelSetId]" in account.refused("DescribeModelSet", body, code="InappropriateJSON")
