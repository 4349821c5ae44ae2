"""``modelpress conformance``: does the server at a URL answer as Baidu's documents say?"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from modelpress.cli.connection import Flags, find_keys
from modelpress.cli.output import say
from modelpress.settings import load_settings

if TYPE_CHECKING:
    from modelpress.conformance.check import Check, Outcome

_PAUSE_SECONDS = 0.5


def conformance(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server: https://qianfan.baidubce.com, or another.")],
    access_key: Annotated[
        str | None,
        typer.Option("--ak", "--access-key", help="Access key.", show_default="the environment's"),
    ] = None,
    secret_key: Annotated[
        str | None,
        typer.Option("--sk", "--secret-key", help="Its secret key; the environment keeps it off the screen."),
    ] = None,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="Also run what makes, changes and deletes; its own models and tasks are removed again, files that it "
            "exported or uploaded stay.",
        ),
    ] = False,
    bucket: Annotated[str, typer.Option("--bucket", help="With --write: bucket of a model to import.")] = "",
    path: Annotated[str, typer.Option("--path", help="With --write: its directory there.")] = "",
    model: Annotated[
        str,
        typer.Option("--model", metavar="ID", help="A model version (amv-…) that is there, to look at or compress."),
    ] = "",
    only: Annotated[str, typer.Option("--only", metavar="ACTION", help="Checks of this action alone.")] = "",
    ours: Annotated[
        bool | None,
        typer.Option(
            "--ours/--theirs",
            help="Look at what modelpress adds and decided, or do not.",
            show_default="as the server seems to be",
        ),
    ] = None,
) -> None:
    """Check a server against the documented API: one JSON line a check; fails if one fails. Reads only, unless told."""
    from modelpress.conformance.channel import HttpChannel
    from modelpress.conformance.run import is_ours, run_checks
    from modelpress.conformance.session import Options

    if bool(bucket) != bool(path):
        raise typer.BadParameter("give --bucket and --path together, or neither")
    flags = Flags(url=url, access_key=access_key, secret_key=secret_key)
    keys = find_keys(flags, environ=os.environ, settings=load_settings(flags={}, config=None))
    channel = HttpChannel(url, access_key=keys[0], secret_key=keys[1])
    with closing(channel):
        options = Options(
            write=write,
            bucket=bucket,
            path=path,
            model_id=model,
            ours=is_ours(channel) if ours is None else ours,
        )
        outcomes = run_checks(
            _chosen(only),
            channel,
            options,
            pause=lambda: time.sleep(_PAUSE_SECONDS),
            tell_left=lambda thing: say(f"could not be removed again: {thing}"),
        )
        _tell(outcomes, secret_key=keys[1])


def _tell(outcomes: Iterable[Outcome], *, secret_key: str) -> None:
    verdicts: Counter[str] = Counter()
    for outcome in outcomes:
        verdicts[outcome.verdict.value] += 1
        typer.echo(_line(outcome, secret_key=secret_key))
    say(f"{verdicts['PASS']} as documented, {verdicts['FAIL']} not, {verdicts['NA']} not looked at")
    if verdicts["FAIL"]:
        raise typer.Exit(1)


def _chosen(action: str) -> list[Check]:
    from modelpress.conformance.checks import CHECKS

    chosen = [check for check in CHECKS if action in ("", check.action)]
    if not chosen:
        known = ", ".join(dict.fromkeys(check.action for check in CHECKS))
        raise typer.BadParameter(f"{action!r} is none of {known}", param_hint="--only")
    return chosen


def _line(outcome: Outcome, *, secret_key: str) -> str:
    from modelpress.conformance.field import Mark
    from modelpress.conformance.tables import TABLES

    check = outcome.check
    line = {
        "action": check.action,
        "check": check.name,
        "sentence": check.sentence,
        "fields": sorted({*outcome.request, *outcome.answer}),
        "verdict": outcome.verdict.value,
        # A server's message may quote what it was sent.
        "detail": outcome.detail.replace(secret_key, "***"),
        "document": check.document.url,
        "documentDate": check.document.date,
        "ours": check.ours or TABLES[check.action].mark is Mark.OURS,
    }
    return json.dumps(line, ensure_ascii=False)
