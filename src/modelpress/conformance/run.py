"""Running checks over a channel, one outcome after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from modelpress.client.client import ServerUnreachable
from modelpress.conformance.channel import Channel
from modelpress.conformance.check import Check, Outcome
from modelpress.conformance.field import Mark
from modelpress.conformance.scene import Scene
from modelpress.conformance.session import Options, Session
from modelpress.conformance.tables import TABLES
from modelpress.conformance.verdict import Mismatch, NotApplicable, Verdict


def run_checks(
    checks: Iterable[Check],
    channel: Channel,
    options: Options,
    *,
    pause: Callable[[], None],
    tell_left: Callable[[str], None] = lambda thing: None,
) -> Iterator[Outcome]:
    """The outcome of each check; what they made is removed at the end.

    ``pause`` is called between two looks at a task that is waited for, ``tell_left`` with the id of what could not be
    removed.
    """
    session = Session(channel, options, pause=pause)
    scene = Scene(session)
    checks = tuple(checks)
    try:
        for check in checks:
            yield _outcome(check, session, scene)
    finally:
        for thing in scene.clean_up():
            tell_left(thing)


def is_ours(channel: Channel) -> bool:
    """Whether the server is modelpress: only that answers an action which no document has."""
    return channel.send("/v2/model?Action=DescribeModelCompSchemes", {}).status == 200


def _outcome(check: Check, session: Session, scene: Scene) -> Outcome:
    session.forget()
    if why := _not_now(check, session.options):
        return Outcome(check=check, verdict=Verdict.NA, detail=why)
    try:
        if check.http_only:
            session.http  # noqa: B018  # NA over an SDK
        detail = check.run(session, scene)
    except NotApplicable as exc:
        return Outcome(check=check, verdict=Verdict.NA, detail=str(exc))
    except Mismatch as exc:
        return Outcome(check=check, verdict=Verdict.FAIL, detail=str(exc))
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as exc:  # an answer lacks what every answer of its kind has
        return Outcome(check=check, verdict=Verdict.FAIL, detail=f"the answer has not what it needs: {exc!r}")
    except ServerUnreachable as exc:
        return Outcome(check=check, verdict=Verdict.FAIL, detail=str(exc))
    return Outcome(
        check=check,
        verdict=Verdict.PASS,
        detail=detail,
        request=tuple(place for place in check.request if place in session.sent[check.action]),
        answer=tuple(place for place in check.answer if place in session.met[check.action]),
    )


def _not_now(check: Check, options: Options) -> str:
    if check.writes and not options.write:
        return "it would make or change something, and --write was not given"
    if (check.ours or TABLES[check.action].mark is Mark.OURS) and not options.ours:
        return "it holds an addition or a decision of modelpress, and the server is another"
    return "" if TABLES[check.action].offered else TABLES[check.action].note
