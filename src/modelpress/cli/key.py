"""``modelpress key``: access keys, straight in the database; a running server sees a change at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from modelpress.cli import option
from modelpress.cli.output import print_json, print_table
from modelpress.domain.policy import Policy
from modelpress.settings import load_settings

app = typer.Typer(help="Access keys (opens the database directly).", no_args_is_help=True)

Account = Annotated[str, typer.Option("--account", help="Name of the account; made if it is new.")]


@contextmanager
def _access(data: Path | None, database: str | None, config: Path | None) -> Iterator[Any]:
    from modelpress.service.services import open_services

    with open_services(load_settings(flags={"data": data, "database": database}, config=config)) as services:
        yield services.access


@app.command()
def create(
    account: Account = "default",
    policy: Annotated[
        list[Policy] | None,
        typer.Option("--policy", help="What the key may do; may be repeated.", show_default=Policy.FULL_CONTROL.value),
    ] = None,
    access_key: Annotated[
        str | None, typer.Option("--access-key", help="Take over an existing pair: its access key.", show_default="new")
    ] = None,
    secret_key: Annotated[
        str | None,
        typer.Option(
            "--secret-key",
            envvar="MODELPRESS_NEW_SECRET_KEY",
            help="Its secret key; the variable keeps it off the screen.",
        ),
    ] = None,
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Make an access key, or take over an existing pair."""
    from modelpress.service.access import KeyPair

    if bool(access_key) != bool(secret_key):
        raise typer.BadParameter("give --access-key and --secret-key together, or neither")
    pair = KeyPair(access_key=access_key, secret_key=secret_key) if access_key and secret_key else None
    with _access(data, database, config) as access:
        made = access.create_key(account=account, policies=policy or [Policy.FULL_CONTROL], pair=pair)
    if as_json:
        print_json({"accessKey": made.access_key, "secretKey": made.secret_key, "account": account})
        return
    typer.echo(f"QIANFAN_ACCESS_KEY={made.access_key}")
    typer.echo(f"QIANFAN_SECRET_KEY={made.secret_key}")


@app.command("list")
def list_keys(
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """List access keys; secrets are never shown again."""
    with _access(data, database, config) as access:
        keys = access.keys()
    rows = [
        {
            "accessKey": key.id,
            "account": key.account_name,
            "policies": sorted(policy.value for policy in key.policies),
            "createTime": key.created_at.astimezone().isoformat(timespec="seconds"),
            "state": "revoked" if key.revoked_at else "in force",
        }
        for key in keys
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ACCESS KEY", "ACCOUNT", "POLICIES", "CREATED", "STATE"],
        [[r["accessKey"], r["account"], ", ".join(r["policies"]), r["createTime"], r["state"]] for r in rows],
    )


@app.command()
def revoke(
    access_key: Annotated[str, typer.Argument(help="The access key.")],
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Put an access key out of force, at once."""
    with _access(data, database, config) as access:
        access.revoke(access_key)
    if as_json:
        print_json({"accessKey": access_key, "state": "revoked"})
        return
    typer.echo(f"{access_key} is revoked", err=True)
