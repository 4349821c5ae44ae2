"""Baidu's own SDKs as channels: a process each, which is told a line of JSON a call and answers with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelpress.conformance.channel import Reply
from tests.acceptance.server import Server

#: The error's text has the reply as Python writes a text, with a hint behind it on some.
PYTHON = """
import ast, contextlib, json, logging, re, sys
from qianfan import resources
from qianfan.errors import RequestError

logging.disable(logging.CRITICAL)
for line in sys.stdin:
    wanted = json.loads(line)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            reply = resources.console.utils.call_action(wanted["route"], wanted["action"], wanted["body"])
        told = {"status": reply.code, "body": reply.body}
    except RequestError as error:
        text = re.search(r"^response body: (.*)$", str(error), re.MULTILINE).group(1)
        told = {"status": error.status_code, "body": json.loads(ast.literal_eval(text))}
    print(json.dumps(told), flush=True)
"""

#: A success is what the SDK returns, but for the headers that it adds; an error's text has the reply's last.
NODE = """
import {createInterface} from "node:readline";
import {consoleAction} from "@baiducloud/qianfan";

console.error = () => {};
for await (const line of createInterface({input: process.stdin})) {
  const {route, action, body} = JSON.parse(line);
  let told;
  try {
    const {headers, ...reply} = await consoleAction({base_api_route: route, action: action ?? undefined, data: body});
    told = {status: 200, body: reply};
  } catch (error) {
    const status = Number(/HTTP error, status = (\\d+)/.exec(error.message)[1]);
    told = {status, body: JSON.parse(/Response Body (.*)$/s.exec(error.message)[1])};
  }
  process.stdout.write(JSON.stringify(told) + "\\n");
}
"""


class SdkChannel:
    """Calls by an SDK in a process of its own, which ends with the ``with`` block."""

    def __init__(self, command: Sequence[str | Path], *, server: Server, folder: Path) -> None:
        keys = server.keys
        environment = {
            "PATH": os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent))),
            "HOME": str(folder),
            "NO_PROXY": "127.0.0.1",
            "PYTHONIOENCODING": "utf-8",
            "QIANFAN_CONSOLE_API_BASE_URL": server.url,
            "QIANFAN_ACCESS_KEY": keys["accessKey"],
            "QIANFAN_SECRET_KEY": keys["secretKey"],
        }
        self._errors = (folder / "sdk.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()
        self._errors.close()

    def send(self, target: str, body: Mapping[str, Any]) -> Reply:
        """The reply that the SDK returned, or that its error tells of."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        route, _, action = target.partition("?Action=")
        self._process.stdin.write(json.dumps({"route": route, "action": action or None, "body": body}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(f"the SDK ended at {target}: {self._errors.read()}")
        told = json.loads(line)
        return Reply(status=told["status"], body=told["body"])


def python_channel(python: Path, *, server: Server, folder: Path) -> SdkChannel:
    """The Python SDK's call_action."""
    return SdkChannel([python, "-c", PYTHON], server=server, folder=folder)


def node_channel(sdk: Path, *, server: Server, folder: Path) -> SdkChannel:
    """The Node SDK's consoleAction."""
    (folder / "node_modules").symlink_to(sdk / "node_modules")
    script = folder / "bridge.mjs"
    script.write_text(NODE, encoding="utf-8")
    return SdkChannel(["node", script], server=server, folder=folder)
