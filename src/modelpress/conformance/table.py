"""What an action's tables are: its document, its fields, and whether modelpress has it."""

from __future__ import annotations

from dataclasses import dataclass

from modelpress.conformance.document import ERRORS, Document
from modelpress.conformance.field import Field, Mark, always, ours, sometimes, within

#: The name under which what holds for every action is told.
EVERY_ACTION = "every action"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTable:
    """One action, or one route of the old API, as it is written down."""

    name: str
    document: Document
    request: tuple[Field, ...] = ()
    #: Fields of a success, from the body's root on.
    answer: tuple[Field, ...] = ()
    writes: bool = False
    #: The document prints its fields as optional, though without them it means nothing.
    prints_optional: bool = False
    #: Its request is a form with a file, which only plain HTTP can be made to send.
    multipart: bool = False
    mark: Mark = Mark.DOCUMENTED
    #: Why modelpress does not have it.
    note: str = ""
    #: The path of a route of the old API, which has no Action in its query.
    path: str = ""

    @property
    def target(self) -> str:
        """Path and query of its requests."""
        return self.path or f"/v2/model?Action={self.name}"

    @property
    def offered(self) -> bool:
        """Whether modelpress has it."""
        return self.mark is not Mark.NOT_OFFERED


#: Fields of every answer; the last two are there because the Go SDK takes an error without them for a success.
EVERY = ActionTable(
    name=EVERY_ACTION,
    document=ERRORS,
    answer=(
        always("requestId"),
        sometimes("code"),
        sometimes("message"),
        ours("error_code", "integer"),
        ours("error_msg"),
    ),
)

PAGE_REQUEST = (sometimes("marker"), sometimes("maxKeys", "integer"), sometimes("pageReverse", "boolean"))

PAGE_INFO = (
    always("result.pageInfo", "object"),
    *within(
        "result.pageInfo",
        (
            always("marker"),
            always("maxKeys", "integer"),
            always("isTruncated", "boolean"),
            sometimes("nextMarker"),
        ),
    ),
)

ID_RESULT = (always("result"),)
EMPTY_RESULT = (always("result", "object"),)
