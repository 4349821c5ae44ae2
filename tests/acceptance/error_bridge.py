"""A program with an SDK that makes the calls it is told of, a line of JSON each, and tells what the SDK raised.

Address and keys come with each call, so that one program meets every error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PYTHON = """
import contextlib, json, logging, os, sys
import qianfan
from qianfan import resources

logging.disable(logging.CRITICAL)
config = qianfan.get_config()
for line in sys.stdin:
    call = json.loads(line)
    config.CONSOLE_API_BASE_URL = call["url"]
    config.ACCESS_KEY, config.SECRET_KEY = call["access_key"], call["secret_key"]
    told = {"kind": "", "text": "", "status": None}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            resources.console.utils.call_action(call["route"], call["action"], call["body"])
    except Exception as error:
        told = {"kind": type(error).__name__, "text": str(error), "status": getattr(error, "status_code", None)}
    print(json.dumps(told), flush=True)
"""

NODE = """
import {createInterface} from "node:readline";
import {consoleAction, setEnvVariable} from "@baiducloud/qianfan";

console.error = () => {};
for await (const line of createInterface({input: process.stdin})) {
  const {url, access_key, secret_key, route, action, body} = JSON.parse(line);
  setEnvVariable("QIANFAN_CONSOLE_API_BASE_URL", url);
  setEnvVariable("QIANFAN_ACCESS_KEY", access_key);
  setEnvVariable("QIANFAN_SECRET_KEY", secret_key);
  let told = {kind: "", text: "", status: null};
  try {
    await consoleAction({base_api_route: route, action, data: body});
  } catch (error) {
    told = {kind: error.constructor.name, text: error.message, status: null};
  }
  process.stdout.write(JSON.stringify(told) + "\\n");
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of ``call_action`` or ``consoleAction``."""

    url: str
    access_key: str
    secret_key: str
    action: str
    body: dict[str, Any]
    route: str = "/v2/model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """What the caller of the SDK gets: the error's class (none for a success), its text, its status if it has one."""

    kind: str
    text: str
    status: int | None


class Bridge:
    """The running program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to, self._from = process.stdin, process.stdout

    def make(self, call: Call) -> Raised:
        """Make this call."""
        self._to.write(json.dumps(asdict(call)) + "\n")
        self._to.flush()
        line = self._from.readline()
        assert line, "the program ended"
        return Raised(**json.loads(line))


@contextmanager
def _bridge(command: Sequence[str | Path], folder: Path) -> Iterator[Bridge]:
    path = os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent)))
    environment = {"PATH": path, "HOME": str(folder), "NO_PROXY": "127.0.0.1", "PYTHONIOENCODING": "utf-8"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
    with process:
        yield Bridge(process)


@contextmanager
def python_bridge(python: Path, folder: Path) -> Iterator[Bridge]:
    """A program with the Python SDK."""
    with _bridge([python, "-c", PYTHON], folder) as bridge:
        yield bridge


@contextmanager
def node_bridge(sdk: Path, folder: Path) -> Iterator[Bridge]:
    """A program with the Node SDK."""
    (folder / "node_modules").symlink_to(sdk / "node_modules")
    (folder / "bridge.mjs").write_text(NODE, encoding="utf-8")
    with _bridge(["node", folder / "bridge.mjs"], folder) as bridge:
        yield bridge
