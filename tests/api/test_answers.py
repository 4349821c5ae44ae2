"""What answers say, field by field."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from tests.api.model_directory import UP, write_tiny
from tests.api.server import Account, RunningServer, import_body, task_body

V1 = "/wenxinworkshop/modelrepo/modelVersionDetail"
V1_SET = "/wenxinworkshop/modelrepo/modelDetail"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
ITEM = {"id", "name", "description", "status", "sourceModelId", "config", "createTime", "progress"}
DETAIL = ITEM | {"modelSetId", "bytesDone", "bytesTotal", "events"}
OLD_VERSION = {"modelIdStr", "modelName", "modelVersionIdStr", "version", "description", "sourceType"} | {
    *("sourceExtra", "modelNet", "state", "ioMode", "createTime", "modifyTime", "deployResource", "supportOptions")
}
SET = {"modelSetId", "modelSetName", "modelType", "labels", "createTime", "modifyTime"} | {
    *("modelCount", "modelIds", "modelNames")
}


def is_a_time(text: str, account: Account) -> bool:
    assert RFC_3339.fullmatch(text), text
    return datetime.fromisoformat(text) == account.server.clock()


def both_views(account: Account, task_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A task in its list and by itself, which agree where both speak."""
    detail = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
    items = account.call("DescribeModelCompTasks")["modelCompTaskList"]
    item = next(item for item in items if item["id"] == task_id)
    assert item == {name: value for name, value in detail.items() if name in item}
    assert set(detail) - set(item) <= {"modelSetId", "bytesDone", "bytesTotal", "events", "failedReason", "statistics"}
    return item, detail


# Tasks.


def test_a_waiting_task_has_a_place_in_the_queue_and_neither_a_model_nor_an_end(own_server: RunningServer) -> None:
    account = own_server.account()
    set_id, model_id = account.make_world()
    task_id = account.make_task(set_id, model_id, description="why")
    item, detail = both_views(account, task_id)
    assert set(item) == ITEM | {"queuePosition"}
    assert set(detail) == DETAIL | {"queuePosition"}
    assert item["queuePosition"] == 1
    assert task_id.startswith("amva-")
    assert (item["name"], item["description"], item["sourceModelId"]) == ("task", "why", model_id)
    assert (item["status"], item["progress"], detail["modelSetId"]) == ("creating", 0, set_id)
    assert item["config"] == {"strategy": "Quantization", "weight": "W8A16C16", "quantConf": "wint8", "method": "rtn"}
    assert is_a_time(item["createTime"], account)
    (event,) = detail["events"]
    assert set(event) == {"time", "status", "attempt", "message"}
    assert is_a_time(event["time"], account)


def test_a_running_task_has_neither_a_model_nor_an_end(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    account.server.claim(task_id)
    item, _ = both_views(account, task_id)
    assert set(item) == ITEM
    assert item["status"] == "running"


def test_a_succeeded_task_names_its_model_its_end_and_what_it_measured(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    account.server.finish(task_id)
    item, detail = both_views(account, task_id)
    assert (item["status"], item["progress"]) == ("succeeded", 100)
    assert item["modelId"].startswith("amv-")
    assert is_a_time(item["finishTime"], account)
    assert "failedReason" not in detail
    statistics = detail["statistics"]
    assert set(statistics) == {"sourceBytes", "outputBytes", "ratio", "seconds", "peakMemoryBytes", "kernel"} | {
        *("shardsReused", "bucket", "objectPath")
    }
    assert statistics["outputBytes"] > 0
    assert statistics["ratio"] == round(statistics["outputBytes"] / statistics["sourceBytes"], 4)
    output = account.server.settings.data / statistics["bucket"] / statistics["objectPath"]
    assert (output / "model.safetensors").is_file()


def test_a_grouped_task_tells_its_group_size(account: Account) -> None:
    set_id, model_id = account.make_world()
    task_id = account.make_task(set_id, model_id, config={"strategy": "Quantization", "weight": "W4A16C16"})
    account.server.finish(task_id)
    _, detail = both_views(account, task_id)
    assert detail["statistics"]["groupSize"] == 128


def test_a_succeeded_task_outlives_the_model_it_made(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    account.server.finish(task_id)
    made = both_views(account, task_id)[0]["modelId"]
    account.call("DeleteModel", {"modelId": made})
    item, detail = both_views(account, task_id)
    assert (item["status"], item["modelId"]) == ("succeeded", made)
    assert "statistics" not in detail


def test_a_failed_task_has_an_empty_model_an_end_and_a_reason(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    account.server.services.work.fail(account.server.claim(task_id).task, "BadSource: it is bad")
    item, detail = both_views(account, task_id)
    assert (item["status"], item["modelId"], detail["failedReason"]) == ("failed", "", "BadSource: it is bad")
    assert is_a_time(item["finishTime"], account)


def test_a_task_stopped_before_it_ran_has_an_empty_model_and_an_end(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    account.done("CancelModelCompTask", {"modelCompTaskId": task_id})
    item, detail = both_views(account, task_id)
    assert (item["status"], item["modelId"]) == ("stopped", "")
    assert "failedReason" not in detail
    assert is_a_time(item["finishTime"], account)


def test_a_running_task_is_stopping_until_its_worker_lets_go(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    task = account.server.claim(task_id).task
    for _ in range(2):  # asking again changes nothing
        account.done("CancelModelCompTask", {"modelCompTaskId": task_id})
        item, _ = both_views(account, task_id)
        assert item["status"] == "stopping"
        assert not {"modelId", "finishTime"} & set(item)
    account.server.services.work.stopped(task)
    item, _ = both_views(account, task_id)
    assert (item["status"], item["modelId"]) == ("stopped", "")


def test_only_a_final_task_is_deleted_and_then_it_is_gone(account: Account) -> None:
    task_id = account.make_task(*account.make_world())
    message = account.refused("DeleteModelCompTask", {"modelCompTaskId": task_id}, code="TaskStatusConflict")
    assert "creating" in message
    account.done("CancelModelCompTask", {"modelCompTaskId": task_id})
    account.done("DeleteModelCompTask", {"modelCompTaskId": task_id})
    for action in ("DescribeModelCompTask", "CancelModelCompTask", "DeleteModelCompTask"):
        account.refused(action, {"modelCompTaskId": task_id}, code="NoSuchModelCompTask")
    assert account.call("DescribeModelCompTasks")["modelCompTaskList"] == []


def test_a_weight_that_is_not_a_number_fails_the_task_with_the_tensors_name(account: Account) -> None:
    set_id = account.make_set()
    task_id = account.make_task(set_id, account.import_model(set_id, "nan"))
    account.server.finish(task_id)
    _, detail = both_views(account, task_id)
    assert detail["status"] == "failed"
    assert detail["failedReason"].startswith("BadSource: ")
    assert UP in detail["failedReason"]


# Names of schemes.

SPELLINGS = {
    "W8A16C16": ("W8A16C16", "w8a16c16", "W8A16", "w8a16", "WINT8", "wint8"),
    "W4A16C16": ("W4A16C16", "w4a16c16", "W4A16", "WINT4", "wint4"),
    "INT8-PTQ": ("INT8-PTQ", "int8-ptq", "W8A8", "w8a8", "W8A8C16", "w8a8c16"),
}
QUANT_CONF = {"W8A16C16": "wint8", "W4A16C16": "wint4", "INT8-PTQ": "int8-ptq"}


@pytest.mark.parametrize("field", ["weight", "quantConf"])
@pytest.mark.parametrize("strategy", ["Quantization", "quantization", "QUANTIZATION"])
def test_schemes_are_taken_by_any_name_and_answered_by_their_own(account: Account, field: str, strategy: str) -> None:
    set_id, model_id = account.make_world()
    for canonical, spellings in SPELLINGS.items():
        for spelling in spellings:
            task_id = account.make_task(set_id, model_id, config={"strategy": strategy, field: spelling})
            detail = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
            assert detail["config"] == {
                "strategy": "Quantization",
                "weight": canonical,
                "quantConf": QUANT_CONF[canonical],
                "method": "rtn",
            }


# Sets and versions.


def test_a_set_is_described_by_id_by_name_and_in_the_list(account: Account) -> None:
    body = {"modelSetName": "模型 & co", "modelType": "text2TEXT", "labels": ["a", "b"]}
    set_id = account.call("CreateCustomModelSet", body)
    assert set_id.startswith("am-")
    model_id = account.import_model(set_id)
    detail = account.call("DescribeModelSet", {"modelSetId": set_id})
    assert detail == account.call("DescribeModelSet", {"modelSetName": "模型 & co"})
    assert set(detail) == SET | {"source"}
    assert (detail["source"], detail["modelType"], detail["labels"]) == ("UserCreate", "Text2Text", ["a", "b"])
    assert (detail["modelCount"], detail["modelIds"], detail["modelNames"]) == (1, [model_id], ["模型 & co-V1"])
    assert is_a_time(detail["createTime"], account)
    assert is_a_time(detail["modifyTime"], account)
    (item,) = account.call("DescribeCustomModelSets")["customModelSetList"]
    assert item == {name: value for name, value in detail.items() if name != "source"}


def test_an_imported_version_is_described(account: Account) -> None:
    set_id, model_id = account.make_world()
    detail = account.call("DescribeModel", {"modelId": model_id})
    assert set(detail) == {"modelSetId", "modelId", "modelName", "status", "sourceInfo", "createTime", "modifyTime"} | {
        *("modelApplicationType", "modelFormat", "model", "sizeBytes", "isSupportModelComp")
    }
    assert (detail["modelSetId"], detail["modelId"], detail["modelName"]) == (set_id, model_id, "set-V1")
    assert (detail["status"], detail["model"], detail["modelApplicationType"]) == ("Ready", "LlamaForCausalLM", "chat")
    assert detail["sourceInfo"] == {"sourceType": "Import", "bucket": "local", "objectPath": "tiny"}
    assert detail["isSupportModelComp"] is True
    files = account.local / "tiny"
    assert detail["sizeBytes"] == sum(file.stat().st_size for file in files.iterdir())
    assert is_a_time(detail["createTime"], account)


def test_a_compressed_version_is_described_and_not_compressed_again(account: Account) -> None:
    set_id, source_id = account.make_world()
    task_id = account.make_task(set_id, source_id)
    account.server.finish(task_id)
    model_id = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["modelId"]
    detail = account.call("DescribeModel", {"modelId": model_id})
    assert detail["sourceInfo"]["sourceType"] == "Acceleration"
    assert detail["sourceInfo"]["accelerationTaskId"] == task_id
    assert detail["isSupportModelComp"] is False
    message = account.refused("CreateModelCompTask", task_body(set_id, model_id), code="ModelNotSupported")
    assert detail["unsupportedReason"] in message


def test_format_and_source_type_are_taken_in_any_letter_case(account: Account) -> None:
    set_id = account.make_set()
    body = import_body(set_id) | {"sourceType": "IMPORT", "description": "mine"}
    body["importMeta"] |= {"modelFormat": "huggingface.transformers", "modelApplicationType": "COMPLETION"}
    detail = account.call("DescribeModel", {"modelId": account.call("CreateCustomModel", body)["modelId"]})
    assert (detail["modelFormat"], detail["description"]) == ("HuggingFace.Transformers", "mine")
    assert (detail["modelApplicationType"], detail["sourceInfo"]["sourceType"]) == ("completion", "Import")


def test_an_architecture_that_is_no_name_is_left_out(account: Account) -> None:
    set_id = account.make_set()
    for number, odd in enumerate(("\ud800", "nul\0", "x" * 300, 5, {})):
        write_tiny(account.local / f"{account.name}-{number}", architectures=[odd])
        model_id = account.import_model(set_id, f"{account.name}-{number}")
        assert account.call("DescribeModel", {"modelId": model_id})["model"] == ""


# The old API's route.


def test_the_old_route_tells_what_the_python_sdk_reads(account: Account) -> None:
    set_id, model_id = account.make_world()
    reply = account.send(V1, f'{{"modelVersionId": "{model_id}"}}'.encode())
    result = reply.success()["result"]
    assert set(result) == OLD_VERSION
    assert (result["modelIdStr"], result["modelVersionIdStr"]) == (set_id, model_id)
    assert (result["modelName"], result["version"], result["description"]) == ("set", "set-V1", "")
    assert (result["sourceType"], result["state"], result["supportOptions"]) == ("Import", "Ready", ["Acceleration"])
    assert (result["modelNet"], result["ioMode"], result["deployResource"]) == ("LlamaForCausalLM", "chat", [])
    lies = {"bucket": "local", "object": "tiny"}
    assert result["sourceExtra"] == {"sourceType": "Import", "importModelVersionSourceExtra": lies}


def test_the_old_routes_answers_carry_a_log_id_and_no_other_does(account: Account) -> None:
    _, model_id = account.make_world()
    body = account.send(V1, f'{{"modelVersionId": "{model_id}"}}'.encode()).success()
    assert body["log_id"] == str(int(body["requestId"][:8], 16))
    assert "log_id" not in account.post("DescribeModel", {"modelId": model_id}).success()


def test_the_old_route_of_a_set_tells_its_versions_as_their_own_route_does(account: Account) -> None:
    set_id, source_id = account.make_world()
    task_id = account.make_task(set_id, source_id)
    account.server.finish(task_id)
    reply = account.send(V1_SET, f'{{"modelId": "{set_id}"}}'.encode())
    result = reply.success()["result"]
    assert set(result) == {"modelIdStr", "modelName", "source", "description", "createTime", "modifyTime"} | {
        "modelVersionList"
    }
    assert (result["modelIdStr"], result["modelName"], result["source"]) == (set_id, "set", "UserCreate")
    source, made = result["modelVersionList"]
    for item in (source, made):
        body = f'{{"modelVersionId": "{item["modelVersionIdStr"]}"}}'.encode()
        assert item == account.send(V1, body).success()["result"]
    assert source["modelVersionIdStr"] == source_id
    task = {"taskIdStr": task_id}
    assert made["sourceExtra"] == {"sourceType": "Acceleration", "accelerationSourceExtra": task}
    assert made["supportOptions"] == []


def test_nothing_trained_is_published_since_nothing_is_trained_here(account: Account) -> None:
    body = b'{"isNewModel": true, "versionMeta": {"taskId": 1, "iterationId": 2}, "modelName": "m"}'
    message = account.send("/wenxinworkshop/modelrepo/publishTrainModel", body).refusal("InappropriateJSON")
    assert "param[versionMeta] invalid" in message
    assert "no training" in message


def test_the_old_route_refuses_in_the_same_form(account: Account) -> None:
    assert "param[modelVersionId]" in account.send(V1, b"{}").refusal("InappropriateJSON")
    account.send(V1, b'{"modelVersionId": "amv-x"}').refusal("NoSuchModel")
    account.send(V1, b"[").refusal("MalformedJSON")
    account.but(secret_key="wrong").send(V1, b"{}").refusal("SignatureDoesNotMatch")


def test_tasks_that_wait_in_all_accounts_are_one_queue(own_server: RunningServer) -> None:
    ours, theirs = own_server.account(), own_server.account()
    world = ours.make_world()
    first, theirs_task, third = ours.make_task(*world), theirs.make_task(*theirs.make_world()), ours.make_task(*world)
    places = {t["id"]: t["queuePosition"] for t in ours.call("DescribeModelCompTasks")["modelCompTaskList"]}
    assert places == {first: 1, third: 3}
    assert theirs.call("DescribeModelCompTask", {"modelCompTaskId": theirs_task})["queuePosition"] == 2


def test_tags_are_told_and_found(account: Account) -> None:
    tags = [{"tagKey": "团队", "tagValue": "搜索"}, {"tagKey": "env", "tagValue": ""}]
    world = account.make_world()
    tagged, bare = account.make_task(*world, tags=tags), account.make_task(*world)
    item, detail = both_views(account, tagged)
    assert item["tags"] == detail["tags"] == tags[::-1]  # in the order of their keys
    assert "tags" not in both_views(account, bare)[0]
    for wanted in ([tags[0]], [{"tagKey": "env"}], tags):
        page = account.call("DescribeModelCompTasks", {"tags": wanted})
        assert [task["id"] for task in page["modelCompTaskList"]] == [tagged]


def test_a_list_takes_a_status_or_several_and_any_name_of_a_scheme(account: Account) -> None:
    world = account.make_world()
    stopped, waiting = account.make_task(*world), account.make_task(*world)
    account.done("CancelModelCompTask", {"modelCompTaskId": stopped})

    def shown(**wanted: Any) -> set[str]:
        page = account.call("DescribeModelCompTasks", wanted)
        return {str(task["id"]) for task in page["modelCompTaskList"]}

    assert shown(status="Stopped") == {stopped}
    assert shown(status=["creating", "stopped", ""]) == shown(status="") == {stopped, waiting}
    assert shown(weight="WINT8") == shown(weight="w8a16") == {stopped, waiting}
    assert shown(weight="INT8-PTQ") == shown(strategy="sparsity") == set()
    created = account.call("DescribeModelCompTask", {"modelCompTaskId": waiting})["createTime"]
    assert shown(createTimeStart=created, createTimeEnd=created) >= {waiting}
    assert shown(createTimeEnd="2000-01-01T00:00:00Z") == set()
