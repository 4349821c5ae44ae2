"""The process under load: the product's own server, with one action more, and with a clock around it if asked.

    python -m benchmarks.api.serving --data DIRECTORY [--timed]

The database's URL comes by the environment, as for the product. The action answers an empty object: what is left of its
cost is HTTP, the signature and the form of an answer. The clock keeps, of every request, the time from its arrival
at the application until its answer was handed over; ``GET /timings`` gives them out and begins anew.
"""

from __future__ import annotations

import argparse
import json
import time
from array import array
from collections import defaultdict

import uvicorn
from starlette.types import Message, Receive, Scope, Send

from modelpress.api import server, wire
from modelpress.api.action import Action
from modelpress.api.actions import ACTIONS
from modelpress.api.answer import Answer
from modelpress.api.endpoint import Prepared, RawRequest
from modelpress.api.http import Application
from modelpress.service.services import Services, open_services
from modelpress.settings import Settings, load_settings

NOTHING = "BenchmarkNothing"
TIMINGS = "/timings"


class Clock(Application):
    """The application, keeping how long each request took in it, by query."""

    def __init__(self, services: Services, settings: Settings) -> None:
        super().__init__(services, settings)
        self._taken: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))

    def answer(self, raw: RawRequest, *, request_id: str, prepared: Prepared) -> Answer:
        """Time a request that is answered without a task."""
        began = time.perf_counter()
        answer = super().answer(raw, request_id=request_id, prepared=prepared)
        self._keep(raw.query, began)
        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time any other request, or tell the times."""
        if scope["type"] == "http" and scope["path"] == TIMINGS:
            await self._tell(send)
            return
        began = time.perf_counter()
        await super().__call__(scope, receive, send)
        if scope["type"] == "http":
            self._keep(scope["query_string"], began)

    def _keep(self, query: bytes, began: float) -> None:
        self._taken[query.decode("latin-1")].append((time.perf_counter() - began) * 1e6)

    async def _tell(self, send: Send) -> None:
        content = json.dumps({query: taken.tolist() for query, taken in self._taken.items()}).encode()
        self._taken.clear()
        length = (b"content-length", str(len(content)).encode())
        started: Message = {"type": "http.response.start", "status": 200, "headers": [length]}
        await send(started)
        await send({"type": "http.response.body", "body": content})


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--timed", action="store_true")
    asked = parser.parse_args()
    settings = load_settings(flags={"data": asked.data, "port": 0})
    ACTIONS[NOTHING] = Action(
        name=NOTHING, request=wire.Request, run=lambda _services, _caller, _request: {}, writes=False, quick=True
    )
    if asked.timed:
        make_config = server.make_config

        def timed(services: Services, settings: Settings) -> uvicorn.Config:
            config = make_config(services, settings)
            config.app = Clock(services, settings)
            return config

        server.make_config = timed
    with open_services(settings) as services:
        server.serve(services, settings)


if __name__ == "__main__":
    main()
