"""What an action is, and what several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelpress.api import wire
from modelpress.api.result import Result
from modelpress.domain.page import PageRequest, make_page_request
from modelpress.domain.policy import Caller
from modelpress.service.services import Services

Outcome = Result | str | dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action: its request's form, what it does, whether it writes, and whether it is a mere indexed read."""

    name: str
    request: type[wire.Request]
    run: Callable[[Services, Caller, Any], Outcome]
    writes: bool
    #: Needs a full-control policy, as is documented, although it only reads.
    guarded: bool = False
    quick: bool = False
    #: Of a quick action, the requests that are not.
    slow_when: Callable[[Any], bool] | None = None
    #: Whether every signed key may call it: the documents ask for no policy.
    open_to_all: bool = False
    #: Whether it is a route of the old API, whose answers carry ``log_id``.
    old: bool = False
    #: Whether its body is multipart/form-data instead of JSON.
    multipart: bool = False
    #: What a result that is a string holds.
    tells: str = "the new id, a string"


def page_request(request: wire.PageForm) -> PageRequest:
    """The page that a list's request means.

    Raises: InvalidRequest for maxKeys.
    """
    max_keys = None if request.max_keys is None else int(request.max_keys)
    return make_page_request(marker=request.marker, max_keys=max_keys, reverse=request.page_reverse)
