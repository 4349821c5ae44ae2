"""What a task's config may say beside its weight, over the wire."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.server import Account, task_body

ASKED: dict[str, Any] = {
    "groupSize": 64,
    "symmetric": False,
    "scaleSearch": "mse",
    "targets": ["mlp.*", "self_attn.*"],
    "ignore": ["layers.0.*"],
    "overrides": [
        {"targets": ["down_proj"], "weight": "W8A16C16", "groupSize": 32},
        {"targets": ["o_proj"], "weight": "none"},
    ],
}
CONFIG = {"strategy": "Quantization", "weight": "W4A16C16", **ASKED}
#: The same, written otherwise.
RESPELT = {
    "strategy": "quantization",
    "quantConf": "wint4",
    "outputFormat": "SafeTensors",
    "groupSize": 64.0,
    "symmetric": False,
    "scaleSearch": "MSE",
    "targets": ["self_attn.*", "mlp.**", "mlp.*"],
    "ignore": [" layers.0.* "],
    "overrides": [
        {"targets": ["down_proj"], "weight": "wint8", "groupSize": 32, "symmetric": True, "colour": "blue"},
        {"targets": ["o_proj"], "weight": "NONE"},
        {"targets": ["o_proj"], "weight": "none"},
    ],
}
TOLD = {"quantConf": "wint4", "method": "rtn"} | CONFIG


def layered(account: Account) -> tuple[str, str]:
    """A set and a version of two layers in it."""
    set_id = account.make_set()
    return set_id, account.import_model(set_id, "layers")


def test_what_was_asked_is_told_with_the_task_in_lists_and_after_a_retry(account: Account) -> None:
    first = account.make_task(*layered(account), config=CONFIG)
    account.done("CancelModelCompTask", {"modelCompTaskId": first})
    again = account.call("RetryModelCompTask", {"modelCompTaskId": first})
    for task_id in (first, again):
        assert account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"] == TOLD
    assert [task["config"] for task in account.call("DescribeModelCompTasks")["modelCompTaskList"]] == [TOLD, TOLD]


def test_what_is_usual_is_not_told(account: Account) -> None:
    usual = {"strategy": "Quantization", "weight": "W8A16", "groupSize": "Channel", "symmetric": True, "targets": []}
    task_id = account.make_task(*layered(account), config=usual | {"scaleSearch": "max", "outputFormat": ""})
    config = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"]
    assert config == {"strategy": "Quantization", "weight": "W8A16C16", "quantConf": "wint8", "method": "rtn"}


def test_a_token_knows_the_same_options_again_however_they_are_written_and_others_as_others(account: Account) -> None:
    body = task_body(*layered(account)) | {"clientToken": "t", "config": CONFIG}
    first = account.call("CreateModelCompTask", body)
    assert account.call("CreateModelCompTask", body | {"config": RESPELT}) == first
    for name in ASKED:
        less = {field: value for field, value in CONFIG.items() if field != name}
        account.refused("CreateModelCompTask", body | {"config": less}, code="IdempotentParameterMismatch")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ignore": ["dwn_proj"]}, "dwn_proj"),
        ({"targets": ["embed_tokens"]}, "embed_tokens"),
        ({"overrides": [{"targets": ["lm_head"], "weight": "W8A16"}]}, "lm_head"),
        ({"ignore": ["*"]}, "leaves all"),
        ({"groupSize": 48}, "groups of 48 columns do not divide"),
        ({"overrides": [{"targets": ["down_proj"], "groupSize": 48}]}, "groups of 48 columns do not divide"),
    ],
)
def test_what_the_models_layers_cannot_be_given_is_refused_at_once(
    account: Account, options: dict[str, Any], told: str
) -> None:
    config = {"strategy": "Quantization", "weight": "W4A16C16"} | options
    body = task_body(*layered(account)) | {"config": config}
    assert told in account.refused("CreateModelCompTask", body, code="ModelNotSupported")


@pytest.mark.parametrize(
    ("config", "weight"),
    [
        ({"weight": "W4A16", "outputFormat": "gguf"}, "Q4_K_M"),
        ({"quantConf": "wint8", "outputFormat": "GGUF"}, "Q8_0"),
        ({"weight": "q6-k"}, "Q6_K"),
    ],
)
def test_a_gguf_file_is_asked_for_by_its_format_or_its_own_scheme(
    account: Account, config: dict[str, str], weight: str
) -> None:
    set_id = account.make_set()
    overrides = [{"targets": ["down_proj"], "weight": "W8A16"}]
    asked = {"strategy": "Quantization", **config, "overrides": overrides}
    task_id = account.make_task(set_id, account.import_model(set_id, "gguf"), config=asked)
    told = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["config"]
    assert (told["weight"], told["outputFormat"]) == (weight, "gguf")
    assert told["overrides"] == [{"targets": ["down_proj"], "weight": "Q8_0"}]
    assert account.call("DescribeModelCompTasks")["modelCompTaskList"][0]["config"] == told
