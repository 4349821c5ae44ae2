"""``modelpress key``: access keys, straight in the database; a running server sees a change at once."""

from __future__ import annotations

from typing import Annotated

import typer

from modelpress.cli import option
from modelpress.cli.operator import POLICY_HELP, Account, open_access, read_policy, sorted_names
from modelpress.cli.output import print_json, print_table, say, time_text
from modelpress.domain.policy import Policy

app = typer.Typer(help="Access keys (opens the database directly).", no_args_is_help=True)


@app.command()
def create(
    account: Account = "default",
    user: Annotated[str, typer.Option("--user", help="Name of its user; made if it is new.")] = "admin",
    policy: Annotated[
        list[Policy] | None,
        typer.Option(
            "--policy",
            parser=read_policy,
            metavar="POLICY",
            help="What a new user may do; needed but for admin" + POLICY_HELP,
            show_default="the user's; full for a new admin",
        ),
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
    with open_access(data, database, config) as access:
        made = access.create_key(account=account, user=user, policies=policy or None, pair=pair)
    if as_json:
        print_json({"accessKey": made.access_key, "secretKey": made.secret_key, "account": account, "user": user})
        return
    typer.echo(f"QIANFAN_ACCESS_KEY={made.access_key}")
    typer.echo(f"QIANFAN_SECRET_KEY={made.secret_key}")


@app.command("list")
def list_keys(
    account: Annotated[
        str | None, typer.Option("--account", help="Only keys of this account.", show_default="all")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="Only keys of users of this name.", show_default="all")
    ] = None,
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """List access keys; secrets are never shown again."""
    with open_access(data, database, config) as access:
        every = access.keys()
    keys = [key for key in every if account in (None, key.account_name) and user in (None, key.user_name)]
    rows = [
        {
            "accessKey": key.id,
            "account": key.account_name,
            "user": key.user_name,
            "policies": sorted_names(key.policies),
            "createTime": key.created_at.astimezone().isoformat(timespec="seconds"),
            "state": "revoked" if key.revoked_at else "in force",
        }
        for key in keys
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["ACCESS KEY", "ACCOUNT", "USER", "POLICIES", "CREATED", "STATE"],
        [
            [
                key.id,
                key.account_name,
                key.user_name,
                ", ".join(sorted_names(key.policies)),
                time_text(key.created_at.isoformat()),
                "revoked" if key.revoked_at else "in force",
            ]
            for key in keys
        ],
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
    with open_access(data, database, config) as access:
        access.revoke(access_key)
    if as_json:
        print_json({"accessKey": access_key, "state": "revoked"})
        return
    say(f"{access_key} is revoked")
