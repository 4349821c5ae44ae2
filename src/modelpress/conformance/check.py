"""What a check is, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelpress.conformance.document import Document
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Session
from modelpress.conformance.tables import TABLES
from modelpress.conformance.verdict import Verdict

Run = Callable[[Session, Scene], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a check; ``fields`` are those that it really met, in requests and in answers."""

    check: Check
    verdict: Verdict
    detail: str
    request: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that is looked at.

    ``run`` returns a detail, or raises Mismatch or NotApplicable. ``request`` and ``answer`` are the fields it proves.
    """

    action: str
    name: str
    sentence: str
    run: Run
    document: Document
    request: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    #: It makes or changes something.
    writes: bool = False
    #: It holds an addition or a decision of modelpress, which other servers need not share.
    ours: bool = False
    #: It needs plain HTTP: headers, keys that are wrong, bodies that are no JSON.
    http_only: bool = False
    #: It looks at the kinds of fields alone, not at what they do.
    kinds_only: bool = False


def check(
    action: str,
    *,
    request: tuple[str, ...] = (),
    answer: tuple[str, ...] = (),
    document: Document | None = None,
    writes: bool = False,
    ours: bool = False,
    http_only: bool = False,
) -> Callable[[Run], Check]:
    """Make a check of a function: its name is the check's, its docstring the sentence."""

    def make(run: Run) -> Check:
        return Check(
            action=action,
            name=run.__name__.strip("_").replace("_", "-"),
            sentence=" ".join((run.__doc__ or "").split()),
            run=run,
            document=document or TABLES[action].document,
            request=request,
            answer=answer,
            writes=writes,
            ours=ours,
            http_only=http_only,
        )

    return make
