"""Exports over the wire: the documented fields, ours, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modelpress.domain.policy import Policy
from tests.api.server import Account, RunningServer
from tests.conformance.export_scene import SHARD, copied

#: The fields of a result that are documented.
DOCUMENTED = {"exportId", "hasRecord", "status", "fileName", "fileType", "md5", "fileSize", "downloadUrl"}
WHEN_DONE = {"fileName", "fileType", "md5", "fileSize", "downloadUrl", "manifest", "sha256"}
_DIGITS = re.compile(r"[0-9a-f]+")


@pytest.fixture
def model_id(account: Account) -> str:
    """A version of the account's."""
    _, model_id = account.make_world()
    return model_id


def _export(account: Account, model_id: str, **meta: str) -> str:
    body = {"modelId": model_id} | ({"exportMeta": meta} if meta else {})
    result = account.call("CreateModelExportTask", body)
    assert set(result) == {"exportId"}
    assert re.fullmatch(r"amx-[a-z0-9]{12}", result["exportId"])
    return str(result["exportId"])


def _describe(account: Account, model_id: str) -> dict[str, Any]:
    detail: dict[str, Any] = account.call("DescribeModelExportTask", {"modelId": model_id})
    return detail


def _finish(server: RunningServer, export_id: str, *, reason: str | None = None) -> None:
    """Do an export's work as a worker does, or end it for a reason; what else waits is claimed on the way and left."""
    work = server.services.export_work
    while assignment := work.claim("worker-of-the-test"):
        if assignment.task.id != export_id:
            continue
        if reason is not None:
            work.fail(assignment.task, reason)
        else:
            assert work.publish(assignment, copied(assignment))
        return
    raise AssertionError(f"{export_id} cannot be claimed")


def test_a_version_that_was_never_exported_has_no_record(account: Account, model_id: str) -> None:
    assert _describe(account, model_id) == {"hasRecord": False, "events": []}


def test_an_export_is_doing_then_done_and_every_documented_field_is_there(account: Account, model_id: str) -> None:
    export_id = _export(account, model_id)
    doing = _describe(account, model_id)
    assert (doing["exportId"], doing["hasRecord"], doing["status"]) == (export_id, True, "Doing")
    assert not WHEN_DONE & set(doing)
    assert doing["progress"] == 0
    assert "finishTime" not in doing
    _finish(account.server, export_id)
    done = _describe(account, model_id)
    assert set(done) >= DOCUMENTED | WHEN_DONE
    assert (done["status"], done["progress"], done["fileType"]) == ("Done", 100, "directory")
    assert (done["fileName"], done["fileSize"], done["bytesTotal"]) == (export_id, len(SHARD), len(SHARD))
    assert done["downloadUrl"] == f"{done['bucket']}:{done['objectPath']}"
    assert done["manifest"] == f"{done['objectPath']}/manifest.sha256"
    assert [len(done[name]) for name in ("md5", "sha256")] == [32, 64]
    assert all(_DIGITS.fullmatch(done[name]) for name in ("md5", "sha256"))
    assert [event["status"] for event in done["events"]] == ["creating", "running", "succeeded"]
    folder = account.server.settings.data / done["bucket"] / done["objectPath"]
    assert (folder / "model.safetensors").read_bytes() == SHARD


def test_a_failed_export_is_told_with_its_reason_until_there_is_a_newer_one(account: Account, model_id: str) -> None:
    first = _export(account, model_id)
    _finish(account.server, first, reason="DiskFull: no space")
    failed = _describe(account, model_id)
    assert (failed["exportId"], failed["status"], failed["failedReason"]) == (first, "Fail", "DiskFull: no space")
    assert failed["hasRecord"] is True
    assert not WHEN_DONE & set(failed)
    second = _export(account, model_id)
    assert second != first
    assert _describe(account, model_id)["exportId"] == second


def test_asking_again_while_it_is_doing_gives_the_same_id(account: Account, model_id: str) -> None:
    assert _export(account, model_id) == _export(account, model_id)


def test_a_version_that_is_being_exported_cannot_be_deleted(account: Account, model_id: str) -> None:
    export_id = _export(account, model_id)
    assert export_id in account.refused("DeleteModel", {"modelId": model_id}, code="ModelInUse")
    _finish(account.server, export_id)
    assert account.call("DeleteModel", {"modelId": model_id}) == {}
    account.refused("DescribeModelExportTask", {"modelId": model_id}, code="NoSuchModel")


@pytest.mark.parametrize("policy", [Policy.READ, Policy.TUNING_READ])
def test_also_looking_needs_a_full_control_policy_as_is_documented(
    account: Account, model_id: str, policy: Policy
) -> None:
    reader = account.server.account(policy, name=account.name)
    for action in ("CreateModelExportTask", "DescribeModelExportTask"):
        reader.refused(action, {"modelId": model_id}, code="AccessDenied")


def test_an_account_exports_into_its_own_directory_alone(server: RunningServer) -> None:
    owner, stranger = server.account(), server.account()
    _, theirs = owner.make_world()
    _export(owner, theirs)
    place = _describe(owner, theirs)["objectPath"]
    _, model_id = stranger.make_world()
    body = {"modelId": model_id, "exportMeta": {"bucket": "exports", "objectPath": f"{place}-2"}}
    assert "exportMeta.objectPath" in stranger.refused("CreateModelExportTask", body, code="InappropriateJSON")
