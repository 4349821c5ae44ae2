"""Another server of the kind, for scale: moto's SageMaker, and of its lists the one closest to ours.

``ListCompilationJobs`` lists jobs that make a trained model smaller and faster for a device, in pages with a token.
moto keeps its jobs in a dict in memory, and checks no signature; it answers fewer fields of each job than we do.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.api import cache
from benchmarks.api.request import PAGE_ITEMS
from benchmarks.api.server import Running, process

VERSION = "5.2.5"
JOBS = 1_000
_PACKAGE = f"moto[server]=={VERSION}"
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/sagemaker/aws4_request, "
    "SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + "0" * 64
)


@contextmanager
def running_moto() -> Iterator[Running]:
    """moto's server with a thousand compilation jobs, made through its API."""
    program = cache.ROOT / "moto" / "bin" / "moto_server"
    if not program.exists():
        cache.tell(f"installing {_PACKAGE}")
        subprocess.run([sys.executable, "-m", "venv", str(cache.ROOT / "moto")], check=True)
        pip = [str(cache.ROOT / "moto" / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", _PACKAGE], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Its log is a line a request.
    with process([str(program), "--host", "127.0.0.1", "--port", str(port)], quiet=True) as child:
        server = Running(port=port, pid=child.pid)
        _wait_for(child, port)
        cache.tell(f"making {JOBS} compilation jobs in moto")
        for number in range(JOBS):
            _call(server, "CreateCompilationJob", _job(number))
        yield server


def requests(server: Running) -> list[bytes]:
    """A request for each page of the list."""
    found, token = [], None
    while True:
        body = {"MaxResults": PAGE_ITEMS} | ({"NextToken": token} if token else {})
        found.append(_raw(server, "ListCompilationJobs", body))
        answer = _call(server, "ListCompilationJobs", body)
        assert len(answer["CompilationJobSummaries"]) == PAGE_ITEMS
        token = answer.get("NextToken")
        if not token:
            assert len(found) * PAGE_ITEMS == JOBS
            return found


def _wait_for(child: subprocess.Popen[str], port: int) -> None:
    while child.poll() is None:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)  # another program's start: there is no event to wait for
    raise SystemExit("moto_server did not start")


def _job(number: int) -> dict[str, Any]:
    return {
        "CompilationJobName": f"job-{number:04}",
        "RoleArn": "arn:aws:iam::123456789012:role/bench",
        "InputConfig": {"S3Uri": "s3://models/in.tar.gz", "DataInputConfig": "{}", "Framework": "PYTORCH"},
        "OutputConfig": {"S3OutputLocation": "s3://models/out", "TargetDevice": "ml_c5"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 900},
    }


def _headers(server: Running, action: str) -> dict[str, str]:
    return {
        "Host": server.host,
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Date": "20260101T000000Z",
        "X-Amz-Target": f"SageMaker.{action}",
        "Authorization": _AUTHORIZATION,
    }


def _raw(server: Running, action: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    fields = {**_headers(server, action), "Content-Length": str(len(content))}
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def _call(server: Running, action: str, body: dict[str, Any]) -> Any:
    sent = urllib.request.Request(
        f"http://{server.host}/", data=json.dumps(body).encode(), headers=_headers(server, action), method="POST"
    )
    with urllib.request.urlopen(sent) as answer:
        return json.load(answer)
