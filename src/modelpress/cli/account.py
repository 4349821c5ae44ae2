"""``modelpress account``: accounts, straight in the database."""

from __future__ import annotations

from typing import Annotated

import typer

from modelpress.cli import option
from modelpress.cli.operator import open_access
from modelpress.cli.output import print_json, print_table, time_text

app = typer.Typer(help="Accounts, which own models and tasks (opens the database directly).", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="The new account's name.")],
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Make an account. (`user create` and `key create` make theirs by themselves.)"""
    with open_access(data, database, config) as access:
        account_id = access.create_account(name)
    if as_json:
        print_json({"account": name, "accountId": account_id})
        return
    typer.echo(account_id)


@app.command("list")
def list_accounts(
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """List accounts, oldest first."""
    with open_access(data, database, config) as access:
        accounts = access.accounts()
    if as_json:
        print_json(
            [
                {
                    "account": account.name,
                    "accountId": account.id,
                    "users": account.users,
                    "createTime": account.created_at.astimezone().isoformat(timespec="seconds"),
                }
                for account in accounts
            ]
        )
        return
    print_table(
        ["ACCOUNT", "ID", "USERS", "CREATED"],
        [[a.name, a.id, str(a.users), time_text(a.created_at.isoformat())] for a in accounts],
        whole={"ID"},
    )
