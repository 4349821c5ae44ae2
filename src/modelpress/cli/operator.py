"""What the commands on accounts, users and keys share: they open the database directly, beside a running server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelpress.domain.policy import SHORT_NAMES, Policy, find_policy
from modelpress.settings import load_settings

if TYPE_CHECKING:
    from modelpress.service.access import AccessService

Account = Annotated[str, typer.Option("--account", help="Name of the account; made if it is new.")]
OfAccount = Annotated[str, typer.Option("--account", help="Name of the user's account.")]

POLICY_HELP = (
    "; may be repeated. One of "
    + ", ".join(f"{short} ({policy.value})" for short, policy in SHORT_NAMES.items())
    + ", by either name."
)


@contextmanager
def open_access(data: Path | None, database: str | None, config: Path | None) -> Iterator[AccessService]:
    """The service of accounts, users and keys over the database of these settings."""
    from modelpress.service.services import open_services

    with open_services(load_settings(flags={"data": data, "database": database}, config=config)) as services:
        yield services.access


def read_policy(name: str) -> Policy:
    """The parser of ``--policy``: a name that is none is wrong usage."""
    policy = find_policy(name)
    if policy is None:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(SHORT_NAMES)}, nor one's documented name")
    return policy


def sorted_names(policies: Iterable[Policy]) -> list[str]:
    """Documented names, in an order that does not change."""
    return sorted(policy.value for policy in policies)
