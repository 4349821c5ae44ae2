"""Methods, sparsity, calibration and tuning over the wire, from the request to what a worker's process gets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from modelpress.domain.method import Method
from tests.api.server import Account, task_body

GPTQ: dict[str, Any] = {"strategy": "Quantization", "weight": "W4A16C16", "method": "gptq"}
USUAL = {"source": "default", "numSamples": 128, "maxLength": 512}


@pytest.fixture
def text(account: Account) -> Path:
    """A file of calibration text in the bucket ``local``."""
    path = account.local / "text" / "calibration.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"text": "hello"}\n')
    return path


def told(account: Account, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What is told of a task of this config."""
    task_id = account.make_task(*account.make_world(), config=config, **more)
    config = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"]
    [item] = account.call("DescribeModelCompTasks")["modelCompTaskList"]
    assert item["config"] == config
    return config


def test_the_method_that_auto_means_is_told_with_its_calibration(account: Account) -> None:
    config = {"strategy": "Quantization", "weight": "W4A16C16", "calibration": {"numSamples": 16.0}}
    assert told(account, config) == {
        "strategy": "Quantization",
        "weight": "W4A16C16",
        "quantConf": "wint4",
        "method": "gptq",
        "calibration": USUAL | {"numSamples": 16},
    }


def test_what_a_method_is_tuned_with_is_told_where_it_is_not_usual(account: Account) -> None:
    config = told(account, GPTQ | {"tuning": {"actOrder": True, "dampening": 0.01}})
    assert config["tuning"] == {"actOrder": True}
    assert config["calibration"] == USUAL


def test_what_is_pruned_and_quantized_tells_ratio_and_pattern(account: Account) -> None:
    config = {"strategy": "sparsity", "weight": "w8a16", "sparsityPattern": "2:4"}
    assert told(account, config) == {
        "strategy": "Sparsity",
        "weight": "W8A16C16",
        "quantConf": "wint8",
        "method": "magnitude",
        "sparsityRatio": 0.5,
        "sparsityPattern": "2:4",
    }


def test_a_retry_asks_for_the_same(account: Account, text: Path) -> None:
    named = {"bucket": "local", "objectPath": "text/calibration.jsonl"}
    first = account.make_task(*account.make_world(), config=GPTQ | {"calibration": named})
    account.done("CancelModelCompTask", {"modelCompTaskId": first})
    again = account.call("RetryModelCompTask", {"modelCompTaskId": first})
    config = account.call("DescribeModelCompTask", {"modelCompTaskId": again})["config"]
    assert config["calibration"] == USUAL | named | {"source": "object"}
    account.done("CancelModelCompTask", {"modelCompTaskId": again})
    text.unlink()
    account.refused("RetryModelCompTask", {"modelCompTaskId": again}, code="NoSuchObject")


def test_a_token_tells_methods_apart(account: Account) -> None:
    body = task_body(*account.make_world()) | {"clientToken": "t", "config": GPTQ}
    first = account.call("CreateModelCompTask", body)
    same = {"strategy": "Quantization", "weight": "W4A16C16", "calibration": {"source": "DEFAULT", "maxLength": 512}}
    assert account.call("CreateModelCompTask", body | {"config": same}) == first
    for other in ({"method": "awq"}, {"calibration": {"source": "self"}}, {"tuning": {"dampening": 0.1}}):
        account.refused("CreateModelCompTask", body | {"config": GPTQ | other}, code="IdempotentParameterMismatch")


@pytest.mark.parametrize(
    ("calibration", "code"),
    [
        ({"bucket": "none", "objectPath": "text/calibration.jsonl"}, "NoSuchBucket"),
        ({"bucket": "local", "objectPath": "text/none.jsonl"}, "NoSuchObject"),
        ({"bucket": "local", "objectPath": "text"}, "NoSuchObject"),
        ({"bucket": "local", "objectPath": "../credentials.json"}, "InappropriateJSON"),
        ({"bucket": "local", "objectPath": ".hidden"}, "InappropriateJSON"),
        ({"bucket": "local", "objectPath": "text/empty"}, "InappropriateJSON"),
        ({"bucket": "local", "objectPath": "text/huge"}, "InappropriateJSON"),
        ({"bucket": "local", "objectPath": "text/outside"}, "NoSuchObject"),
        ({"bucket": "outputs", "objectPath": "acc-other/model/config.json"}, "NoSuchObject"),
    ],
)
def test_a_file_that_cannot_be_calibrated_with_is_refused_at_once(
    account: Account, text: Path, calibration: dict[str, str], code: str
) -> None:
    for name in ("empty", "huge"):
        (text.parent / name).touch()
    os.truncate(text.parent / "huge", 2**30 + 1)
    outside = text.parent / "outside"
    if not outside.is_symlink():
        outside.symlink_to(account.server.settings.data / "modelpress.db")
    body = task_body(*account.make_world()) | {"config": GPTQ | {"calibration": calibration}}
    message = account.refused("CreateModelCompTask", body, code=code)
    if code == "InappropriateJSON":
        assert "param[config.calibration.objectPath]" in message


def test_schemes_and_methods_are_told_together(account: Account) -> None:
    answer = account.call("DescribeModelCompSchemes")
    methods = {method["method"]: method for method in answer["methods"]}
    assert set(methods) == set(Method)
    assert methods["smoothquant"]["weights"] == ["INT8-PTQ"]
    assert set(methods["rtn"].pop("weights")) == {scheme["weight"] for scheme in answer["schemes"]}
    assert methods["rtn"] == {
        "method": "rtn",
        "strategy": "Quantization",
        "summary": "each weight becomes the nearest number",
        "isCalibrated": False,
        "tuning": [],
    }
    assert "DENSE" not in methods["sparsegpt"]["weights"]


def test_every_method_that_is_told_can_be_asked_for_with_its_weights_and_its_tuning(account: Account) -> None:
    world = account.make_world()
    values = {"actOrder": False, "dampening": 0.5, "smoothingStrength": 0.25, "iterations": 7}
    for method in account.call("DescribeModelCompSchemes")["methods"]:
        for weight in method["weights"]:
            config = {"strategy": method["strategy"], "weight": weight, "method": method["method"]}
            config |= {"tuning": {name: values[name] for name in method["tuning"]}}
            if weight.startswith("Q") or method["method"] == "structured":
                continue  # the world's model is none that llama.cpp runs, and has no neurons that could go
            task_id = account.make_task(*world, config=config)
            made = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"]
            assert (made["method"], made["weight"]) == (method["method"], weight)
            assert made.get("tuning", {}) == config["tuning"]
            assert ("calibration" in made) == method["isCalibrated"]
