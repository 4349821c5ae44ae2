"""What a check works with: calls, what was met in them, and the account's own things."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelpress.conformance.channel import Channel, HttpChannel, Reply
from modelpress.conformance.field import Mark, faults, places
from modelpress.conformance.tables import TABLES
from modelpress.conformance.verdict import Mismatch, NotApplicable

#: How often a call is made again that came too soon after others.
_REPEATS_WHEN_BUSY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be done, and with what: a directory to import, or a model version that is there."""

    write: bool = False
    bucket: str = ""
    path: str = ""
    model_id: str = ""
    #: Whether the server is modelpress, so that its additions and decisions are looked at too.
    ours: bool = False


class Session:
    """Calls to one server by one channel; keeps which fields it met, and which answers were not as written."""

    def __init__(self, channel: Channel, options: Options, *, pause: Callable[[], None]) -> None:
        self.options = options
        self.pause = pause
        #: Places in answers that were as written, and what was not, by action.
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.faults: dict[str, list[str]] = defaultdict(list)
        #: Places in requests since the last ``forget``, by action; likewise in answers.
        self.sent: dict[str, set[str]] = defaultdict(set)
        self.met: dict[str, set[str]] = defaultdict(set)
        self._channel = channel

    @property
    def http(self) -> HttpChannel:
        """The channel, if it is plain HTTP.

        Raises: NotApplicable.
        """
        if not isinstance(self._channel, HttpChannel):
            raise NotApplicable("an SDK neither shows nor lets one choose this")
        return self._channel

    def forget(self) -> None:
        """Begin to collect anew what is sent and met."""
        self.sent.clear()
        self.met.clear()

    def call(self, action: str, body: Mapping[str, Any] | None = None) -> Reply:
        """The reply to an action, success or not."""
        table = TABLES[action]
        body = dict(body or {})
        reply = self._channel.send(table.target, body)
        for _ in range(_REPEATS_WHEN_BUSY):
            if reply.status != 429:
                break
            self.pause()
            reply = self._channel.send(table.target, body)
        self.sent[action].update(places(body))
        self._look_at(action, reply)
        return reply

    def upload(self, action: str, field: str, *, name: str, content: bytes) -> Reply:
        """The reply to an action whose request is a form with a file.

        Raises: NotApplicable over an SDK.
        """
        reply = self.http.send_file(TABLES[action].target, field=field, name=name, content=content)
        self.sent[action].add(field)
        self._look_at(action, reply)
        return reply

    def _look_at(self, action: str, reply: Reply) -> None:
        tables = [TABLES["every action"]] + ([TABLES[action]] if reply.status == 200 else [])
        found = set(places(reply.body))
        for table in tables:
            for field in table.answer:
                if field.mark is Mark.OURS and not self.options.ours:
                    continue
                wrong = list(faults(reply.body, field))
                self.faults[table.name] += wrong
                if not wrong and field.place in found:
                    self.seen[table.name].add(field.place)
                    self.met[table.name].add(field.place)

    def success(self, action: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The body of a success.

        Raises: Mismatch if it was none.
        """
        reply = self.call(action, body)
        if reply.status != 200:
            raise Mismatch(f"{action} answered {_told(reply)}")
        return reply.body

    def result(self, action: str, body: Mapping[str, Any] | None = None) -> Any:
        """The ``result`` of a success.

        Raises: Mismatch.
        """
        answer = self.success(action, body)
        if "result" not in answer:
            raise Mismatch(f"{action} answered 200 without result")
        return answer["result"]

    def refused(
        self, action: str, body: Mapping[str, Any] | None = None, *, code: str = "", status: int = 0, about: str = ""
    ) -> str:
        """What a refusal says; with this code and status, and naming ``about`` where the server is modelpress.

        Raises: Mismatch if it was none, or another.
        """
        return refusal(self.call(action, body), code=code, status=status, about=about if self.options.ours else "")

    def end(self, task_id: str, statuses: Iterable[str]) -> dict[str, Any]:
        """The task's detail once its status is one of these.

        Raises: Mismatch if it ends otherwise, or does not end.
        """
        wanted = tuple(statuses)
        for _ in range(LONGEST_WAIT):
            detail: dict[str, Any] = self.result("DescribeModelCompTask", {"modelCompTaskId": task_id})
            if detail["status"] in wanted:
                return detail
            if detail["status"] in ("succeeded", "failed", "stopped"):
                break
            self.pause()
        raise Mismatch(f"the task is {detail['status']}, not {' or '.join(wanted)}")


#: How many times something is looked at before it counts as stuck: two hours, at two looks a second.
LONGEST_WAIT = 14_400


def refusal(reply: Reply, *, code: str = "", status: int = 0, about: str = "") -> str:
    """What a refusal says.

    Raises: Mismatch if the reply is none, or has another code or status, or does not name ``about``.
    """
    told = _told(reply)
    if reply.status < 400:
        raise Mismatch(f"answered {told}, not a refusal")
    if (code and reply.body.get("code") != code) or (status and reply.status != status):
        raise Mismatch(f"answered {told}, not {status} {code}")
    if about and about not in str(reply.body.get("message")):
        raise Mismatch(f"answered {told}, which does not name {about}")
    return told


def _told(reply: Reply) -> str:
    code = str(reply.body.get("code", "no code"))[:80]
    return str(reply.status) if reply.status == 200 else f"{reply.status} {code}"
