"""A real ``modelpress serve`` or ``worker`` as a process: started, watched, killed, and looked for afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

from modelpress.client.client import Client

T = TypeVar("T")

FINAL = ("succeeded", "failed", "stopped")
#: Generous: the machine may be doing something else.
PATIENCE_SECONDS = 90.0
#: Four times the default, so that what takes less did surely not wait for it, also on a machine that is busy.
LEASE_SECONDS = 120.0


def await_outside(look: Callable[[], T], *, what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """The first true answer of ``look``, which asks for the state of another process: there is no event to wait for."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.01)
    return answer


class Processes:
    """The processes of one test, known by a directory that all of them, attempts too, have as TMPDIR."""

    def __init__(self, mark: Path) -> None:
        mark.mkdir(parents=True, exist_ok=True)
        self._mark = mark
        self._needle = f"TMPDIR={mark}".encode()

    def full_environment(self, added: Mapping[str, str]) -> dict[str, str]:
        """This process's environment without settings of its own, ``added``, and the mark."""
        own = ("MODELPRESS", "QIANFAN")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return {**inherited, **added, "TMPDIR": str(self._mark)}

    def alive(self) -> dict[int, list[str]]:
        """Arguments of those that live, by number."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (arguments := self._arguments(entry)):
                found[int(entry.name)] = arguments
        return found

    def _arguments(self, entry: Path) -> list[str]:
        try:
            if self._needle not in (entry / "environ").read_bytes().split(b"\0"):
                return []
            return (entry / "cmdline").read_text().rstrip("\0").split("\0")
        except OSError:  # it ended while it was looked at, or is another user's
            return []

    def with_argument(self, word: str, *, parent: int | None = None) -> list[int]:
        """Numbers of those whose arguments hold ``word``, of one parent alone if it is named."""
        return [
            number
            for number, arguments in self.alive().items()
            if word in arguments and (parent is None or _parent(number) == parent)
        ]

    def await_gone(self, number: int) -> None:
        """Wait until process ``number`` has ended."""
        await_outside(lambda: number not in self.alive(), what=f"process {number} has ended")

    def kill_all(self) -> list[str]:
        """End what is left; what that was."""
        left = self.alive()
        for number in left:
            _signal(number, signal.SIGKILL)
        return [" ".join(arguments) for arguments in left.values()]


class Server:
    """One data directory and the server on it, which may be killed and started again."""

    def __init__(
        self,
        data: Path,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        python: Path = Path(sys.executable),
    ) -> None:
        self.data = data
        self.processes = Processes(data.with_name(data.name + "-tmp"))
        self._arguments = arguments
        self._environment = {"MODELPRESS_LEASE_SECONDS": f"{LEASE_SECONDS:.0f}", **(environment or {})}
        self._wrapper = wrapper
        self._python = python
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self.lines: list[str] = []
        self.url = ""

    def start(self) -> None:
        """Start it; it answers when this returns."""
        self.url = ""
        self._process = self.spawn("serve", "--port", "0", *self._arguments, stderr=subprocess.PIPE)
        answers = threading.Event()
        reader = threading.Thread(target=self._read, args=(self._process.stderr, answers), daemon=True)
        reader.start()
        self._readers.append(reader)
        assert answers.wait(PATIENCE_SECONDS), self.said()
        assert self.url, f"the server ended:\n{self.said()}"

    def spawn(self, command: str, *arguments: str, stderr: int | TextIO) -> subprocess.Popen[str]:
        """A ``modelpress`` process on the same data, of the same mark."""
        program = [*self._wrapper, str(self._python), "-m", "modelpress.cli.main"]
        return subprocess.Popen(
            [*program, command, "--data", str(self.data), *arguments],
            env=self.processes.full_environment(self._environment),
            stderr=stderr,
            text=True,
        )

    @contextmanager
    def extra_worker(self) -> Iterator[subprocess.Popen[str]]:
        """A ``modelpress worker`` of its own on the same data, stopped in order at the end."""
        with self.data.with_name("extra-worker.log").open("w") as log:
            process = self.spawn("worker", stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0

    def _read(self, stream: TextIO, answers: threading.Event) -> None:
        with stream:
            for line in stream:
                self.lines.append(line)
                if line.startswith("modelpress is ready at "):
                    self.url = line.split()[-1]
                    answers.set()
        answers.set()

    def said(self) -> str:
        """All it has written so far."""
        return "".join(self.lines)

    @property
    def pid(self) -> int:
        """The server's own process."""
        assert self._process is not None
        return self._process.pid

    def worker_pid(self) -> int:
        """The supervisor that the server keeps; waits until there is one."""
        return await_outside(
            lambda: next(iter(self.processes.with_argument("worker", parent=self.pid)), 0), what="a supervisor"
        )

    def attempt_pid(self) -> int:
        """The process of the attempt that runs; waits until there is one."""
        return await_outside(
            lambda: next(iter(self.processes.with_argument("modelpress.worker.attempt")), 0), what="an attempt"
        )

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Stop it in order; its exit status."""
        assert self._process is not None
        self._process.send_signal(by)
        return self.await_end()

    def kill(self) -> None:
        """End it with SIGKILL; what it started may live on for a moment."""
        assert self._process is not None
        self._process.kill()
        self.await_end()

    def await_end(self) -> int:
        """Wait until it has ended; its exit status."""
        assert self._process is not None
        status = self._process.wait(PATIENCE_SECONDS)
        self._process = None
        return status

    def leftovers(self) -> list[str]:
        """Stop it, if it runs; what is left then, given a moment to follow a killed server, and is ended now."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        with suppress(AssertionError):  # the caller tells which
            await_outside(lambda: not self.processes.alive(), what="all have ended", seconds=5)
        left = self.processes.kill_all()
        for reader in self._readers:
            reader.join(5)
        if self._process is not None:
            self._process.wait()
        return left

    @property
    def running(self) -> bool:
        """Whether it was started and neither stopped nor killed."""
        return self._process is not None

    @property
    def keys(self) -> dict[str, str]:
        """Its first access key, as it lies in the data directory."""
        pair: dict[str, str] = json.loads((self.data / "credentials.json").read_text())
        return pair

    def call(self, action: str, body: Mapping[str, object] | None = None) -> Any:
        """The ``result`` of an action."""
        pair = self.keys
        with Client(self.url, access_key=pair["accessKey"], secret_key=pair["secretKey"]) as client:
            return client.call(action, body).get("result")

    def take_over_example_keys(self) -> dict[str, str]:
        """Put the pair in force that the documents' examples have in their text."""
        pair = {"accessKey": "your_iam_ak", "secretKey": "your_iam_sk"}
        command = [sys.executable, "-m", "modelpress.cli.main", "key", "create", "--data", str(self.data)]
        command += ["--access-key", pair["accessKey"], "--secret-key", pair["secretKey"]]
        subprocess.run(command, check=True, capture_output=True)
        return pair

    def place(self, model: Path, *, name: str) -> Path:
        """Bring a checkpoint into bucket ``local`` by hard links."""
        directory = self.data / "local" / name
        shutil.copytree(model, directory, copy_function=os.link)
        return directory

    def register(self, model: Path, *, name: str) -> Model:
        """Bring a checkpoint into bucket ``local``, and register it in a new set."""
        directory = self.place(model, name=name)
        set_id = self.call("CreateCustomModelSet", {"modelSetName": name, "modelType": "Text2Text"})
        meta = {"bucket": "local", "objectPath": name}
        made = self.call("CreateCustomModel", {"modelSetId": set_id, "sourceType": "Import", "importMeta": meta})
        return Model(set_id=set_id, id=made["modelId"], directory=directory)

    def share(self, model: Model) -> None:
        """The model's set is shared with all accounts, as the operator does it."""
        command = [sys.executable, "-m", "modelpress.cli.main", "model", "share", model.set_id]
        subprocess.run([*command, "--data", str(self.data)], check=True, capture_output=True)

    def create_task(self, model: Model, *, weight: str = "W4A16C16") -> str:
        """The id of a new task on ``model``."""
        config = {"strategy": "Quantization", "weight": weight}
        body = {"name": "test", "sourceModelId": model.id, "modelSetId": model.set_id, "config": config}
        return str(self.call("CreateModelCompTask", body))

    def task(self, task_id: str) -> dict[str, Any]:
        """The task's detail."""
        detail: dict[str, Any] = self.call("DescribeModelCompTask", {"modelCompTaskId": task_id})
        return detail

    def await_status(self, task_id: str, *statuses: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The task's detail once its status is one of these."""

        def look() -> dict[str, Any]:
            detail = self.task(task_id)
            return detail if detail["status"] in statuses else {}

        return await_outside(look, what=f"{task_id} is {' or '.join(statuses)}", seconds=seconds)

    def staging(self, task_id: str) -> Path:
        """The task's staging folder."""
        return self.data / "outputs" / ".staging" / task_id

    def await_no_staging(self, task_id: str) -> None:
        """Wait until the staging folder is gone: a task's status is told first, then its files are removed."""
        await_outside(lambda: not self.staging(task_id).exists(), what="staging was removed", seconds=5)

    def await_staged_bytes(self, task_id: str, wanted_bytes: int) -> None:
        """Wait until the attempt has written that much, whole shards of earlier attempts counted."""
        await_outside(
            lambda: staged_bytes(self.staging(task_id)) >= wanted_bytes, what=f"{wanted_bytes} bytes in staging"
        )

    def output(self, detail: Mapping[str, Any]) -> Path:
        """The directory of what a succeeded task made."""
        place: dict[str, str] = detail["statistics"]
        return self.data / place["bucket"] / place["objectPath"]

    def produced(self) -> list[Path]:
        """All directories in bucket ``outputs``, of any account."""
        return sorted((self.data / "outputs").glob("[!.]*/*"))


class Model:
    """A registered model version."""

    def __init__(self, *, set_id: str, id: str, directory: Path) -> None:
        self.set_id = set_id
        self.id = id
        self.directory = directory


def staged_bytes(directory: Path) -> int:
    """Bytes on the disk of all files in ``directory``; 0 if it is not there."""
    total = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                total += entry.stat().st_blocks * 512
    except FileNotFoundError:  # the directory is not there yet, or a file got its final name meanwhile
        return total
    return total


def end_process(number: int) -> None:
    """SIGKILL to one process."""
    _signal(number, signal.SIGKILL)


def _signal(number: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(number, what)


def _parent(number: int) -> int:
    try:
        status = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return 0
    return int(status.rpartition(")")[2].split()[1])
