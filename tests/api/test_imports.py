"""What may be imported and compressed, and why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelpress.settings import BucketSettings, Settings
from tests.api.model_directory import write_directory, write_tiny
from tests.api.server import Account, import_body, running_server, task_body
from tests.conformance.clock import SettableClock


def refused_import(account: Account, path: str, *, code: str, bucket: str = "local") -> str:
    body = import_body(account.make_set(f"{bucket}: {path}"[:64]), path)
    body["importMeta"]["bucket"] = bucket
    message = account.refused("CreateCustomModel", body, code=code)
    assert account.call("DescribeCustomModelSets")["customModelSetList"][-1]["modelCount"] == 0
    return message


@pytest.mark.parametrize("path", ["tiny", "/tiny", "tiny/", "/tiny/", "./tiny", "//tiny//"])
def test_slashes_around_a_path_do_not_matter(account: Account, path: str) -> None:
    account.import_model(account.make_set(), path)


@pytest.mark.parametrize(
    "path", ["none", "tiny/model.safetensors", "a-file", "~", "x" * 300, "x/" * 500, "模型", "\ufffe"]
)
def test_a_path_without_a_directory_is_not_found(account: Account, path: str) -> None:
    assert repr(path) in refused_import(account, path, code="NoSuchObject")


@pytest.mark.parametrize(
    "path", ["../local/tiny", "tiny/../tiny", "..", ".", "/", "//", ".staging", " /../ ", "./.git"]
)
def test_a_path_that_leaves_the_bucket_or_is_hidden_is_refused(account: Account, path: str) -> None:
    assert "param[importMeta.objectPath]" in refused_import(account, path, code="InappropriateJSON")


def test_a_link_that_leaves_the_bucket_is_not_followed(account: Account, tmp_path: Path) -> None:
    write_tiny(tmp_path / "outside")
    (account.local / f"{account.name}-link").symlink_to(tmp_path / "outside")
    refused_import(account, f"{account.name}-link", code="NoSuchObject")
    write_tiny(account.local / account.name)
    weights = account.local / account.name / "model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "outside" / "model.safetensors")
    assert "leads out of its bucket" in refused_import(account, account.name, code="ModelNotSupported")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("empty", "no config.json"),
        ("broken-config", "config.json is not JSON"),
        ("truncated", "its tensors need"),
        ("lying", "claims a header of"),
        ("pickle", "pickles"),
        ("odd-name", "\\udcff.safetensors"),
    ],
)
def test_what_is_no_sound_checkpoint_is_refused_with_the_reason(account: Account, path: str, why: str) -> None:
    assert why in refused_import(account, path, code="ModelNotSupported")


def test_a_quantized_checkpoint_is_registered_but_not_compressed(account: Account) -> None:
    set_id = account.make_set()
    model_id = account.import_model(set_id, "compressed")
    detail = account.call("DescribeModel", {"modelId": model_id})
    assert detail["isSupportModelComp"] is False
    assert "gptq" in detail["unsupportedReason"]
    message = account.refused("CreateModelCompTask", task_body(set_id, model_id), code="ModelNotSupported")
    assert detail["unsupportedReason"] in message


def test_a_model_without_linear_layers_is_registered_but_not_compressed(account: Account) -> None:
    set_id = account.make_set()
    body = task_body(set_id, account.import_model(set_id, "no-linear"))
    assert "no linear weights" in account.refused("CreateModelCompTask", body, code="ModelNotSupported")


def test_a_source_that_went_away_is_not_compressed(account: Account) -> None:
    write_directory(account.local / account.name, {})
    set_id = account.make_set()
    model_id = account.import_model(set_id, account.name)
    (account.local / account.name).rename(account.local / f"{account.name}-elsewhere")
    message = account.refused("CreateModelCompTask", task_body(set_id, model_id), code="ModelNotSupported")
    assert "no model directory" in message


def test_what_a_config_says_of_its_quantization_need_not_be_text(account: Account) -> None:
    odd = {"quant_method": "\ud800 \0"}
    write_tiny(account.local / account.name, **{"\ud800\0_config": {"quantization_config": odd}})
    model_id = account.import_model(account.make_set(), account.name)
    assert account.call("DescribeModel", {"modelId": model_id})["isSupportModelComp"] is False


@pytest.mark.parametrize("bucket", ["none", "LOCAL", "..", "outputs/.staging"])
def test_a_bucket_that_is_not_configured_is_not_found(account: Account, bucket: str) -> None:
    assert repr(bucket) in refused_import(account, "tiny", bucket=bucket, code="NoSuchBucket")


def test_a_bucket_of_other_accounts_is_not_found(log: object, tmp_path: Path) -> None:
    shared, closed = tmp_path / "shared", tmp_path / "closed"
    write_tiny(shared / "tiny")
    write_tiny(closed / "tiny")
    buckets = {
        "shared": BucketSettings(url=shared.as_uri()),
        "closed": BucketSettings(url=closed.as_uri(), accounts=("acc-of-nobody",)),
    }
    with running_server(Settings(data=tmp_path / "data", buckets=buckets), SettableClock()) as running:
        account = running.account()
        body = import_body(account.make_set())
        body["importMeta"]["bucket"] = "shared"
        account.call("CreateCustomModel", body)
        closed_message = refused_import(account, "tiny", bucket="closed", code="NoSuchBucket")
        none_message = refused_import(account, "tiny", bucket="nothing", code="NoSuchBucket")
    assert closed_message.replace("closed", "nothing") == none_message


def test_what_a_task_made_is_not_registered_again(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    account.server.finish(task_id)
    output = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["statistics"]["objectPath"]
    for caller in (account, account.server.account()):
        refused_import(caller, output, bucket="outputs", code="InappropriateJSON")
        refused_import(caller, "amv-never", bucket="outputs", code="InappropriateJSON")
