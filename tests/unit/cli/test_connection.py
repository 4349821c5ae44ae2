"""Which server and which keys: the order of sources, and pairs that are never put together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelpress.cli.connection import Flags, find_keys, find_url
from modelpress.errors import SettingsError
from modelpress.settings import Settings, load_settings
from tests.unit.cli.conftest import Cli, RunningServer

ALL_SOURCES = {
    "MODELPRESS_URL": "http://ours",
    "MODELPRESS_ACCESS_KEY": "our-access",
    "MODELPRESS_SECRET_KEY": "our-secret",
    "QIANFAN_CONSOLE_API_BASE_URL": "http://sdk-api",
    "QIANFAN_CONSOLE_BASE_URL": "http://sdk",
    "QIANFAN_ACCESS_KEY": "sdk-access",
    "QIANFAN_SECRET_KEY": "sdk-secret",
}
FLAGS = Flags(url="http://flag", access_key="flag-access", secret_key="flag-secret")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data directory that a server was started on."""
    made = load_settings(flags={"data": tmp_path / "data"}, environ={})
    made.data.mkdir()
    made.credentials_path.write_text(json.dumps({"accessKey": "local-access", "secretKey": "local-secret"}))
    made.address_path.write_text(json.dumps({"url": "http://local", "pid": 1}))
    return made


@pytest.mark.parametrize(
    ("flags", "unset", "url", "access_key"),
    [
        (FLAGS, "", "http://flag", "flag-access"),
        (Flags(), "", "http://ours", "our-access"),
        (Flags(), "MODELPRESS_", "http://sdk-api", "sdk-access"),
        (Flags(), ("MODELPRESS_", "QIANFAN_CONSOLE_API_"), "http://sdk", "sdk-access"),
        (Flags(), ("MODELPRESS_", "QIANFAN_"), "http://local", "local-access"),
    ],
)
def test_flags_come_before_our_variables_before_the_sdks_before_the_data_directory(
    settings: Settings, flags: Flags, unset: str | tuple[str, ...], url: str, access_key: str
) -> None:
    environ = {name: "" if unset and name.startswith(unset) else value for name, value in ALL_SOURCES.items()}
    assert find_url(flags, environ=environ, settings=settings) == url
    found = find_keys(flags, environ=environ, settings=settings)
    assert found == (access_key, access_key.replace("access", "secret"))


def test_a_server_that_told_no_address_is_looked_for_at_the_default_port(settings: Settings) -> None:
    settings.address_path.unlink()
    assert find_url(Flags(), environ={}, settings=settings) == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("flags", "environ", "complaint"),
    [
        (Flags(access_key="a"), ALL_SOURCES, "the command line has an access key and no secret key"),
        (Flags(secret_key="s"), {}, "the command line has a secret key and no access key"),
        (
            Flags(),
            {**ALL_SOURCES, "MODELPRESS_SECRET_KEY": ""},
            "the environment (MODELPRESS_…) has an access key and no secret key",
        ),
        (
            Flags(),
            {"QIANFAN_SECRET_KEY": "s"},
            "the environment (QIANFAN_…) has a secret key and no access key",
        ),
    ],
)
def test_half_a_pair_is_refused_whatever_other_sources_have(
    settings: Settings, flags: Flags, environ: dict[str, str], complaint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        find_keys(flags, environ=environ, settings=settings)
    assert refused.value.message == complaint


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"accessKey": "a"}', "has not both accessKey and secretKey"),
    ],
)
def test_a_broken_file_of_keys_is_named(settings: Settings, content: str, complaint: str) -> None:
    settings.credentials_path.write_text(content)
    with pytest.raises(SettingsError, match=complaint) as refused:
        find_keys(Flags(), environ={}, settings=settings)
    assert str(settings.credentials_path) in refused.value.message


def test_the_secret_key_is_not_in_a_repr() -> None:
    assert "flag-secret" not in repr(FLAGS)


def test_without_any_keys_the_hint_says_how_to_get_some(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("task", "list")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        f"error: no access key: none was given, and there is no {tmp_path}/data/credentials.json\n"
        "hint: start a server here with `modelpress serve`, or give --url, --access-key and --secret-key "
        "(MODELPRESS_URL, MODELPRESS_ACCESS_KEY, MODELPRESS_SECRET_KEY)\n"
    )


def test_a_command_finds_the_local_server_by_its_data_directory_alone(
    cli: Cli, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELPRESS_DATA")
    outcome = cli("task", "list", "--json", "--data", server.settings.data)
    assert (outcome.code, outcome.out, outcome.err) == (0, "[]\n", "")


def test_a_command_reaches_a_server_by_url_and_keys_alone(
    cli: Cli, server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPRESS_DATA", str(tmp_path / "elsewhere"))
    keys = ("--access-key", server.access_key, "--secret-key", server.secret_key)
    assert cli("model", "list", "--json", "--url", server.url, *keys).out == "[]\n"
    assert not (tmp_path / "elsewhere").exists()
