"""How imported models are configured: uploaded templates, what an import says, and what is told of it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from modelpress.domain.policy import Policy
from tests.api.exchange import Reply, send_request
from tests.api.server import Account, RunningServer, import_body

UPLOAD = "/v2/model?Action=CreateModelCustomConf"
SOURCE = "raise SystemExit('this is never run')  # 模板\n".encode()
CHAT = {"historyQATemplate": "{history}", "latestQuestionTemplate": "{question}", "promptTemplate": "{prompt}"}


def post_file(account: Account, content: bytes = SOURCE, *, name: str = "template.py", field: str = "file") -> Reply:
    """The reply to an upload, written as another library writes it."""
    request = httpx.Request("POST", "http://h", files={field: (name, content)})
    body = request.read()
    headers = [*account.headers(UPLOAD), ("content-type", request.headers["content-type"])]
    headers.append(("content-length", str(len(body))))
    return send_request(account.server.address, UPLOAD, headers=headers, content=body)


def upload(account: Account, content: bytes = SOURCE) -> str:
    return str(post_file(account, content).success()["result"])


def import_with(account: Account, **meta: Any) -> Reply:
    body = import_body(account.make_set(f"set {account.name} {len(json.dumps(meta))}"))
    body["importMeta"] |= meta
    return account.post("CreateCustomModel", body)


def told(account: Account, model_id: str) -> Any:
    """What DescribeModelCustomAdvancedConf tells, which is JSON in a string."""
    text = account.call("DescribeModelCustomAdvancedConf", {"modelId": model_id})
    assert isinstance(text, str)
    return json.loads(text)


# Uploading.


@pytest.mark.parametrize("field", ["customSpecFile", "file"])
def test_a_file_is_taken_by_its_documented_name_and_by_that_of_the_samples(account: Account, field: str) -> None:
    made = post_file(account, field=field).success()["result"]
    assert made.endswith(".py")
    assert made != "template.py"


def test_a_file_of_just_the_documented_size_is_taken_and_a_larger_one_is_not(account: Account) -> None:
    post_file(account, b"#" * 1_000_000).success()
    assert "param[customSpecFile]" in post_file(account, b"#" * 1_000_001).refusal("InappropriateJSON")
    post_file(account, b"#" * 2_000_000).refusal("EntityTooLarge")


@pytest.mark.parametrize("name", ["template.txt", "py", "template.py.exe", "模板"])
def test_a_file_that_is_no_python_source_by_its_name_is_refused(account: Account, name: str) -> None:
    message = post_file(account, name=name).refusal("InappropriateJSON")
    assert "param[customSpecFile]" in message
    assert ".py" in message


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a\0b", b"PK\x03\x04\xff"])
def test_a_file_that_is_no_text_is_refused(account: Account, content: bytes) -> None:
    assert "param[customSpecFile]" in post_file(account, content).refusal("InappropriateJSON")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"customSpecFile": "text"}', b"--b\r\n"])
def test_a_body_that_is_no_form_is_refused(account: Account, body: bytes) -> None:
    message = account.send(UPLOAD, body).refusal("InappropriateJSON")
    assert "param[customSpecFile] invalid: required" in message


def test_a_file_in_another_field_is_not_looked_at(account: Account) -> None:
    assert "required" in post_file(account, field="another").refusal("InappropriateJSON")


@pytest.mark.parametrize("policy", [Policy.READ, Policy.TUNING_READ])
def test_who_only_reads_uploads_nothing(server: RunningServer, policy: Policy) -> None:
    post_file(server.account(policy)).refusal("AccessDenied")


# Importing.


def test_what_an_import_says_is_told_of_its_version(account: Account) -> None:
    meta = {"transformerVersion": "4.40.2", "basicModelName": "HuggingFace", "chatConf": CHAT}
    model_id = import_with(account, **meta).success()["result"]["modelId"]
    assert told(account, model_id) == meta
    plain = import_with(account).success()["result"]["modelId"]
    assert account.call("DescribeModelCustomAdvancedConf", {"modelId": plain}) == "{}"


def test_a_template_file_is_told_with_its_text(account: Account) -> None:
    spec = {"displayName": "mine", "file": upload(account)}
    model_id = import_with(account, customSpec=spec).success()["result"]["modelId"]
    assert told(account, model_id) == {"customSpec": {**spec, "content": SOURCE.decode()}}


def test_two_templates_at_once_are_refused(account: Account) -> None:
    spec = {"displayName": "mine", "file": upload(account)}
    message = import_with(account, customSpec=spec, chatConf=CHAT).refusal("InappropriateJSON")
    assert "param[importMeta.chatConf] invalid: give chatConf or customSpec, not both" in message


def test_another_accounts_template_is_refused_like_one_that_never_was(server: RunningServer, account: Account) -> None:
    stranger = server.account()
    theirs, never = upload(stranger), "amt-000000000000.py"
    for file in (theirs, never):
        message = import_with(account, customSpec={"displayName": "x", "file": file}).refusal("InappropriateJSON")
        account = account.server.account()
        assert "param[importMeta.customSpec.file]" in message
        assert message.endswith(f"no uploaded template file {file!r}")


@pytest.mark.parametrize(
    ("meta", "place"),
    [
        ({"transformerVersion": "4"}, "transformerVersion"),
        ({"transformerVersion": "4.40.2; rm"}, "transformerVersion"),
        ({"transformerVersion": ""}, "transformerVersion"),
        ({"chatConf": {**CHAT, "historyQATemplate": ""}}, "chatConf.historyQATemplate"),
        ({"chatConf": {**CHAT, "historyQATemplate": "x" * 201}}, "chatConf.historyQATemplate"),
        ({"chatConf": {**CHAT, "latestQuestionTemplate": "x" * 201}}, "chatConf.latestQuestionTemplate"),
        ({"chatConf": {**CHAT, "promptTemplate": "x" * 301}}, "chatConf.promptTemplate"),
        ({"chatConf": {}}, "chatConf.historyQATemplate"),
        ({"customSpec": {"displayName": "", "file": "x"}}, "customSpec.displayName"),
        ({"customSpec": {"displayName": "x" * 201, "file": "x"}}, "customSpec.displayName"),
        ({"customSpec": {"displayName": "x"}}, "customSpec.file"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(account: Account, meta: dict[str, Any], place: str) -> None:
    assert f"param[importMeta.{place}]" in import_with(account, **meta).refusal("InappropriateJSON")


@pytest.mark.parametrize("version", ["4.34.0", "4.36.2", "4.39.3", "4.40.2", "5.17.0"])
def test_the_documented_versions_of_transformers_and_newer_ones_are_taken(account: Account, version: str) -> None:
    import_with(account, transformerVersion=version).success()


def test_what_holds_for_the_source_holds_for_what_a_task_makes_of_it(account: Account) -> None:
    model_id = import_with(account, chatConf=CHAT).success()["result"]["modelId"]
    task_id = account.make_task(account.make_set(), model_id)
    account.server.finish(task_id)
    made = account.call("DescribeModelCompTask", {"modelCompTaskId": task_id})["modelId"]
    assert told(account, made) == {"chatConf": CHAT}


# Describing.


def test_another_account_reads_the_configuration_of_what_is_shared_alone(
    server: RunningServer, account: Account
) -> None:
    set_id = account.make_set(f"configured {account.name}")
    body = import_body(set_id)
    body["importMeta"]["customSpec"] = {"displayName": "mine", "file": upload(account)}
    model_id = account.call("CreateCustomModel", body)["modelId"]
    stranger = server.account()
    stranger.refused("DescribeModelCustomAdvancedConf", {"modelId": model_id}, code="NoSuchModel")
    server.services.models.share_set(set_id, description=None)
    assert told(stranger, model_id) == told(account, model_id)


@pytest.mark.parametrize("kind", ["chat", "completion", "CHAT"])
def test_the_presets_say_what_holds_for_an_import_that_says_nothing(account: Account, kind: str) -> None:
    body = {"basicModelName": "Huggingface", "modelFormat": "HuggingFace.Transformers", "modelApplicationType": kind}
    text = account.call("DescribeModelSystemAdvancedConf", body)
    wanted = {"modelFormat": "HuggingFace.Transformers", "modelApplicationType": kind.lower()}
    assert json.loads(text) == wanted
    del body["basicModelName"]  # the Python SDK does not send it
    assert account.call("DescribeModelSystemAdvancedConf", body) == text


@pytest.mark.parametrize(
    ("field", "value"), [("modelFormat", "Safetensors"), ("modelApplicationType", "embedding"), ("modelFormat", None)]
)
def test_there_are_presets_of_two_kinds_of_one_format(account: Account, field: str, value: str | None) -> None:
    body = {"modelFormat": "HuggingFace.Transformers", "modelApplicationType": "chat"} | {field: value}
    assert f"param[{field}]" in account.refused("DescribeModelSystemAdvancedConf", body, code="InappropriateJSON")
