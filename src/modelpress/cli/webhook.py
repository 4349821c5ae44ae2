"""``modelpress webhook``: where an account's status changes are told, straight in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelpress.cli import option
from modelpress.cli.output import print_facts, print_json, print_table, say, time_text
from modelpress.domain.webhook import Delivery, DeliveryState, secret_fault, url_fault
from modelpress.settings import load_settings

if TYPE_CHECKING:
    from modelpress.service.webhooks import WebhookService

app = typer.Typer(help="Webhooks on status changes (opens the database directly).", no_args_is_help=True)


def _url(text: str) -> str:
    if fault := url_fault(text):
        raise typer.BadParameter(fault)
    return text


def _secret(text: str | None) -> str | None:
    if text and (fault := secret_fault(text)):
        raise typer.BadParameter(fault)
    return text or None


Account = Annotated[str, typer.Option("--account", help="Name of the account.")]


@contextmanager
def _webhooks(data: Path | None, database: str | None, config: Path | None) -> Iterator[WebhookService]:
    from modelpress.service.services import open_services

    with open_services(load_settings(flags={"data": data, "database": database}, config=config)) as services:
        yield services.webhooks


@app.command("set")
def set_webhook(
    url: Annotated[str, typer.Argument(help="Where to POST to: http:// or https://.", callback=_url)],
    account: Account = "default",
    secret: Annotated[
        str | None,
        typer.Option(
            "--secret",
            envvar="MODELPRESS_NEW_WEBHOOK_SECRET",
            callback=_secret,
            help="Take over a signing secret, whsec_…; the variable keeps it off the screen.",
            show_default="new",
        ),
    ] = None,
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Tell an account's status changes to a URL, in place of any before; the signing secret is shown only now."""
    with _webhooks(data, database, config) as webhooks:
        chosen = webhooks.set(account=account, url=url, secret=secret)
    shown = {} if secret else {"secret": chosen}
    if as_json:
        print_json({"account": account, "url": url, **shown})
        return
    if shown:
        typer.echo(chosen)
    say(f"{account} is told to {url}; try it with `modelpress webhook test`")


@app.command()
def show(
    account: Account = "default",
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Show an account's webhook; its secret is never shown again."""
    with _webhooks(data, database, config) as webhooks:
        found = webhooks.get(account)
    facts = {"account": account, "url": found.url, "createTime": _time(found.created_at)}
    if as_json:
        print_json(facts)
        return
    print_facts({"account": account, "url": found.url, "set": time_text(facts["createTime"])})


@app.command()
def remove(
    account: Account = "default",
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Remove an account's webhook; what waits to be sent is given up."""
    with _webhooks(data, database, config) as webhooks:
        webhooks.remove(account)
    if as_json:
        print_json({"account": account, "state": "removed"})
        return
    say(f"{account} has no webhook any more")


@app.command("test")
def queue_ping(
    account: Account = "default",
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Queue a ping; a running worker sends it within seconds."""
    with _webhooks(data, database, config) as webhooks:
        queued = webhooks.ping(account)
    _print_queued(queued, as_json=as_json)


@app.command()
def redeliver(
    delivery: Annotated[str, typer.Argument(help="The delivery (whd-…).")],
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Send a delivery again, to the webhook that its account has now."""
    with _webhooks(data, database, config) as webhooks:
        queued = webhooks.redeliver(delivery)
    _print_queued(queued, as_json=as_json)


def _print_queued(delivery: Delivery, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(delivery))
        return
    typer.echo(delivery.id)
    say("a running worker sends it; see what came of it with `modelpress webhook deliveries`")


@app.command()
def deliveries(
    account: Account = "default",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Show at most this many.")] = 20,
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """List an account's deliveries, newest first; finished ones are kept for a week."""
    with _webhooks(data, database, config) as webhooks:
        found = [_as_json(delivery) for delivery in webhooks.deliveries(account, limit=limit)]
    if as_json:
        print_json(found)
        return
    print_table(
        ["DELIVERY", "TIME", "TASK", "STATUS", "STATE", "TRIES", "LAST ANSWER", "NEXT TRY"],
        [
            [
                str(row["id"]),
                time_text(str(row["createTime"])),
                str(row.get("taskId", "")),
                str(row.get("status", row["type"])),
                str(row["state"]),
                str(row["tries"]),
                str(row.get("lastStatus", "")) or str(row.get("lastError", "")),
                time_text(str(row.get("nextTryTime", ""))),
            ]
            for row in found
        ],
        whole=("DELIVERY", "TASK"),
    )


def _as_json(delivery: Delivery) -> dict[str, str | int]:
    """What is not there is absent."""
    waiting = delivery.state is DeliveryState.WAITING
    all_there_may_be = {
        "id": delivery.id,
        "type": delivery.type,
        "createTime": _time(delivery.created_at),
        "taskId": delivery.task_id,
        "status": delivery.task_status or None,
        "state": delivery.state.value,
        "tries": delivery.tries,
        "lastStatus": delivery.last_status,
        "lastError": delivery.last_error,
        "nextTryTime": _time(delivery.next_at) if waiting else None,
        "deliverTime": None if delivery.delivered_at is None else _time(delivery.delivered_at),
    }
    return {name: value for name, value in all_there_may_be.items() if value is not None}


def _time(moment: datetime) -> str:
    return moment.astimezone().isoformat(timespec="seconds")
