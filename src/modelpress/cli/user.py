"""``modelpress user``: users and what they may do, straight in the database; a running server sees a change at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelpress.cli import option
from modelpress.cli.operator import POLICY_HELP, Account, OfAccount, open_access, read_policy, sorted_names
from modelpress.cli.output import print_json, print_table, say, time_text
from modelpress.domain.policy import Policy

app = typer.Typer(help="Users of accounts, who carry policies (opens the database directly).", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The user's name.")]
Policies = Annotated[
    list[Policy],
    typer.Option("--policy", parser=read_policy, metavar="POLICY", help="What the user may do" + POLICY_HELP),
]


@app.command()
def create(
    name: Name,
    policy: Policies,
    account: Account = "default",
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Make a user; `modelpress key create --user` then makes its keys."""
    with open_access(data, database, config) as access:
        user = access.create_user(name, account=account, policies=policy)
    if as_json:
        print_json(_as_json(user))
        return
    typer.echo(user.id)


@app.command("list")
def list_users(
    account: Annotated[
        str | None, typer.Option("--account", help="Only users of this account.", show_default="all")
    ] = None,
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """List users, oldest first."""
    with open_access(data, database, config) as access:
        users = [user for user in access.users() if account in (None, user.account_name)]
    if as_json:
        print_json([_as_json(user) for user in users])
        return
    print_table(
        ["USER", "ACCOUNT", "POLICIES", "KEYS", "CREATED"],
        [
            [
                user.name,
                user.account_name,
                ", ".join(sorted_names(user.policies)),
                str(user.keys_in_force),
                time_text(user.created_at.isoformat()),
            ]
            for user in users
        ],
    )


@app.command()
def policy(
    name: Name,
    policy: Policies,
    account: OfAccount = "default",
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Replace what a user may do; it holds at once for all keys of the user."""
    with open_access(data, database, config) as access:
        access.set_policies(name, account=account, policies=policy)
        user = access.user(name, account=account)
    if as_json:
        print_json(_as_json(user))
        return
    say(f"{name} has {', '.join(sorted_names(user.policies))}")


@app.command()
def delete(
    name: Name,
    account: OfAccount = "default",
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    as_json: option.AsJson = False,
) -> None:
    """Delete a user and its revoked keys; refused while it has keys in force."""
    with open_access(data, database, config) as access:
        access.delete_user(name, account=account)
    if as_json:
        print_json({"user": name, "account": account, "state": "deleted"})
        return
    say(f"{name} is deleted")


def _as_json(user: Any) -> dict[str, Any]:
    return {
        "user": user.name,
        "userId": user.id,
        "account": user.account_name,
        "policies": sorted_names(user.policies),
        "keysInForce": user.keys_in_force,
        "createTime": user.created_at.astimezone().isoformat(timespec="seconds"),
    }
