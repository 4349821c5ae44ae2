"""The real server in a thread of the test, and the accounts that call it."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn

from modelpress.api.server import make_config
from modelpress.domain.policy import Policy
from modelpress.errors import TaskError
from modelpress.service.access import KeyPair
from modelpress.service.services import Services, open_services
from modelpress.service.work import Assignment
from modelpress.settings import Settings
from modelpress.signature import SignedRequest, format_timestamp, sign
from modelpress.tensors.folder import LocalFolder
from modelpress.worker.press import press
from tests.api.exchange import Address, Reply, send_request
from tests.conformance.clock import SettableClock

_numbers = itertools.count(1)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that answers at ``address``."""

    address: Address
    services: Services
    settings: Settings
    clock: SettableClock

    def account(self, *policies: Policy, name: str | None = None, pair: KeyPair | None = None) -> Account:
        """A caller with a key of its own, of a new account unless one is named; full control unless told otherwise."""
        name = name or f"account-{next(_numbers)}"
        granted = frozenset(policies or (Policy.FULL_CONTROL,))
        user = " ".join(sorted(policy.name for policy in granted))  # one for each set of policies
        made = self.services.access.create_key(account=name, user=user, policies=granted, pair=pair)
        return Account(server=self, name=name, access_key=made.access_key, secret_key=made.secret_key)

    def claim(self, task_id: str) -> Assignment:
        """The attempt at this task, as a worker has it; what else waits is claimed on the way and left."""
        while assignment := self.services.work.claim("worker-of-the-test"):
            if assignment.task.id == task_id:
                return assignment
        raise AssertionError(f"{task_id} cannot be claimed")

    def finish(self, task_id: str) -> None:
        """Do a task's work, all of it, as a worker does."""
        assignment = self.claim(task_id)
        folder = LocalFolder(assignment.source.path, within=assignment.source.root)
        recipe, staging = assignment.task.recipe, assignment.staging
        try:
            _, statistics = press(folder, recipe, staging, report=lambda progress: None, threads=1)
        except TaskError as exc:
            self.services.work.fail(assignment.task, exc.failed_reason())
        else:
            assert self.services.work.publish(assignment, statistics)


@contextmanager
def running_server(settings: Settings, clock: SettableClock) -> Iterator[RunningServer]:
    """A server over these settings; stopped in order at the end."""
    with open_services(settings, clock=clock) as services, socket.create_server((settings.host, 0)) as listening:
        server = _Server(make_config(services, settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server-of-the-test")
        thread.start()
        try:
            assert server.ready.wait(20)
            yield RunningServer(address=listening.getsockname(), services=services, settings=settings, clock=clock)
        finally:
            server.should_exit = True
            thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A caller: signs what it sends and returns what comes back."""

    server: RunningServer
    name: str
    access_key: str
    secret_key: str = field(repr=False)
    #: How far the caller's clock is ahead of the server's.
    ahead: timedelta = timedelta()
    expiration_seconds: int = 1800

    def but(self, **changes: Any) -> Account:
        """The same caller with something changed."""
        return replace(self, **changes)

    def headers(
        self, target: str, *, method: str = "POST", signed: Sequence[str] = ("host", "x-bce-date")
    ) -> list[tuple[str, str]]:
        """Host, date and a signature over both and the target."""
        now = self.server.clock() + self.ahead
        host = "{}:{}".format(*self.server.address)
        path, _, query = target.partition("?")
        headers = {"host": host, "x-bce-date": format_timestamp(now)}
        authorization = sign(
            SignedRequest(method=method, path=path, query=query, headers=headers),
            access_key=self.access_key,
            secret_key=self.secret_key,
            now=now,
            expiration_seconds=self.expiration_seconds,
            signed_headers=signed,
        )
        return [*headers.items(), ("authorization", authorization)]

    def send(self, target: str, content: bytes, *, more_headers: Sequence[tuple[str, str]] = ()) -> Reply:
        """The reply to these bytes at this target."""
        length = ("content-length", str(len(content)))
        headers = [*self.headers(target), ("content-type", "application/json"), length, *more_headers]
        return send_request(self.server.address, target, headers=headers, content=content)

    def post(self, action: str, body: Any = None) -> Reply:
        """The reply to an action."""
        return self.send(f"/v2/model?Action={action}", json.dumps({} if body is None else body).encode())

    def call(self, action: str, body: Any = None) -> Any:
        """The result of an action that succeeds."""
        return self.post(action, body).success()["result"]

    def done(self, action: str, body: Any = None) -> None:
        """Nothing: the action succeeds and has no result."""
        assert set(self.post(action, body).success()) == {"requestId"}

    def refused(self, action: str, body: Any = None, *, code: str) -> str:
        """The message of an action that is refused with this code."""
        return self.post(action, body).refusal(code)

    # What tests begin with.

    @property
    def local(self) -> Path:
        """The directory of the bucket ``local``."""
        return self.server.settings.data / "local"

    def make_set(self, name: str = "set") -> str:
        """A new model set's id."""
        return str(self.call("CreateCustomModelSet", {"modelSetName": name, "modelType": "Text2Text"}))

    def import_model(self, set_id: str, path: str = "tiny") -> str:
        """A new model version's id."""
        return str(self.call("CreateCustomModel", import_body(set_id, path))["modelId"])

    def make_task(self, set_id: str, model_id: str, **changes: Any) -> str:
        """A new task's id."""
        return str(self.call("CreateModelCompTask", task_body(set_id, model_id) | changes))

    def make_world(self) -> tuple[str, str]:
        """A set and a version in it."""
        set_id = self.make_set()
        return set_id, self.import_model(set_id)


def import_body(set_id: str, path: str = "tiny") -> dict[str, Any]:
    """The body of CreateCustomModel."""
    meta = {"bucket": "local", "objectPath": path, "modelFormat": "HuggingFace.Transformers"}
    return {"modelSetId": set_id, "sourceType": "Import", "importMeta": meta}


def task_body(set_id: str, model_id: str) -> dict[str, Any]:
    """The body of CreateModelCompTask."""
    config = {"strategy": "Quantization", "weight": "W8A16C16"}
    return {"name": "task", "sourceModelId": model_id, "modelSetId": set_id, "config": config}
