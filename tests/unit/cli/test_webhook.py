"""``modelpress webhook`` as operators use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from modelpress.domain.webhook import new_secret, secret_fault
from modelpress.service.services import Services, open_services
from modelpress.settings import load_settings
from tests.unit.cli.conftest import Cli

URL = "http://10.0.0.8:9000/hook?for=us"


@pytest.fixture(autouse=True)
def _account(cli: Cli) -> None:
    """The default account, made as operators make it."""
    assert cli("key", "create").code == 0


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """The services that a worker on the same data has."""
    with open_services(load_settings(flags={"data": tmp_path / "data"}, environ={})) as opened:
        yield opened


def _queued(cli: Cli) -> str:
    outcome = cli("webhook", "test")
    assert outcome.code == 0
    assert "modelpress webhook deliveries" in outcome.err
    return outcome.out.strip()


def test_setting_a_webhook_prints_a_secret_that_is_never_shown_again(cli: Cli) -> None:
    made = cli("webhook", "set", URL)
    secret = made.out.strip()
    assert (made.code, secret_fault(secret)) == (0, "")
    assert made.err == f"default is told to {URL}; try it with `modelpress webhook test`\n"
    for shown in (cli("webhook", "show"), cli("webhook", "show", "--json"), cli("webhook", "deliveries")):
        assert shown.code == 0
        assert secret not in shown.out + shown.err
    again = cli("webhook", "set", URL, "--json")
    told = json.loads(again.out)
    assert told.keys() == {"account", "url", "secret"}
    assert told["secret"] != secret


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_secret_that_is_taken_over_is_not_printed(
    cli: Cli, services: Services, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    secret = new_secret()
    if by_variable:
        monkeypatch.setenv("MODELPRESS_NEW_WEBHOOK_SECRET", secret)
    given = [] if by_variable else ["--secret", secret]
    for as_json in ([], ["--json"]):
        made = cli("webhook", "set", URL, *given, *as_json)
        assert made.code == 0
        assert secret not in made.out + made.err
    _queued(cli)
    parcel = services.webhooks.claim()
    assert parcel is not None
    Webhook(secret).verify(parcel.body, dict(parcel.headers))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ftp://example.com"], "begins with http:// or https://"),
        (["http://user:word@example.com"], "user or password"),
        ([URL, "--secret", "hunter2"], "begins with whsec_"),
    ],
)
def test_what_cannot_be_a_webhook_is_wrong_usage(cli: Cli, arguments: list[str], complaint: str) -> None:
    outcome = cli("webhook", "set", *arguments)
    assert outcome.code == 2
    assert complaint in " ".join(outcome.err.replace("│", " ").split())
    assert cli("webhook", "show").code == 1


def test_show_tells_where_and_since_when(cli: Cli) -> None:
    cli("webhook", "set", URL)
    assert cli("webhook", "show").plain == (
        "account  default\n"  #
        f"url      {URL}\n"
        "set      YYYY-MM-DD hh:mm\n"
    )
    assert json.loads(cli("webhook", "show", "--json").out).keys() == {"account", "url", "createTime"}


@pytest.mark.parametrize("command", ["show", "remove", "test"])
def test_without_a_webhook_the_error_says_what_to_do(cli: Cli, command: str) -> None:
    outcome = cli("webhook", command)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: account 'default' has no webhook\nhint: modelpress webhook set URL\n"


def test_an_account_that_was_mistyped_gets_no_webhook(cli: Cli) -> None:
    outcome = cli("webhook", "set", URL, "--account", "defualt")
    assert outcome.code == 1
    assert "no account 'defualt'" in outcome.err


def test_accounts_have_webhooks_of_their_own(cli: Cli) -> None:
    cli("key", "create", "--account", "team")
    cli("webhook", "set", URL, "--account", "team")
    assert cli("webhook", "show").code == 1
    assert URL in cli("webhook", "show", "--account", "team").out


def test_a_removed_webhook_is_gone(cli: Cli) -> None:
    cli("webhook", "set", URL)
    removed = cli("webhook", "remove", "--json")
    assert json.loads(removed.out) == {"account": "default", "state": "removed"}
    cli("webhook", "set", URL)
    assert cli("webhook", "remove").err == "default has no webhook any more\n"
    assert cli("webhook", "show").code == 1


def test_deliveries_tell_what_came_of_each_newest_first(cli: Cli, services: Services) -> None:
    cli("webhook", "set", URL)
    delivered, refused, unheard, waiting = (_queued(cli) for _ in range(4))
    for end in (
        lambda parcel: services.webhooks.answered(parcel, 204),
        lambda parcel: services.webhooks.answered(parcel, 503),
        lambda parcel: services.webhooks.failed(parcel, "no answer within 10 s"),
    ):
        parcel = services.webhooks.claim()
        assert parcel is not None
        end(parcel)
    listed = json.loads(cli("webhook", "deliveries", "--json").out)
    assert [row["id"] for row in listed] == [waiting, unheard, refused, delivered]
    assert [(row["state"], row["tries"]) for row in listed] == [
        ("waiting", 0),
        ("waiting", 1),
        ("waiting", 1),
        ("delivered", 1),
    ]
    assert [(row.get("lastStatus"), row.get("lastError")) for row in listed] == [
        (None, None),
        (None, "no answer within 10 s"),
        (503, None),
        (204, None),
    ]
    assert [("nextTryTime" in row, "deliverTime" in row) for row in listed] == [(True, False)] * 3 + [(False, True)]
    table = cli("webhook", "deliveries", "--limit", "3")
    lines = [" ".join(line.split()) for line in table.plain.splitlines()]
    assert lines == [
        "DELIVERY TIME TASK STATUS STATE TRIES LAST ANSWER NEXT TRY",
        "whd-xxxxxxxxxxxx YYYY-MM-DD hh:mm ping waiting 0 YYYY-MM-DD hh:mm",
        "whd-xxxxxxxxxxxx YYYY-MM-DD hh:mm ping waiting 1 no answer within 10 s YYYY-MM-DD hh:mm",
        "whd-xxxxxxxxxxxx YYYY-MM-DD hh:mm ping waiting 1 503 YYYY-MM-DD hh:mm",
    ]


def test_a_delivery_can_be_sent_again(cli: Cli, services: Services) -> None:
    cli("webhook", "set", URL)
    queued = _queued(cli)
    parcel = services.webhooks.claim()
    assert parcel is not None
    services.webhooks.answered(parcel, 200)
    assert cli("webhook", "redeliver", queued).out.strip() == queued
    again = json.loads(cli("webhook", "redeliver", queued, "--json").out)
    assert (again["id"], again["state"], again["tries"]) == (queued, "waiting", 0)
    assert services.webhooks.claim() is not None


def test_a_delivery_that_is_not_there_cannot_be_sent_again(cli: Cli) -> None:
    outcome = cli("webhook", "redeliver", "whd-000000000000")
    assert outcome.code == 1
    assert outcome.err == "error: no delivery 'whd-000000000000'\nhint: modelpress webhook deliveries\n"
