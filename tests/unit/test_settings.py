"""Settings: where a value comes from, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelpress.errors import SettingsError
from modelpress.settings import BucketSettings, Settings, load_settings

HOME = {"HOME": "/home/ann"}


def _file(directory: Path, content: str) -> Path:
    path = directory / "modelpress.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_defaults(tmp_path: Path) -> None:
    config = _file(tmp_path, "port = 1\nslots = 1\nthreads = 1\n")
    environ = {**HOME, "MODELPRESS_PORT": "2", "MODELPRESS_SLOTS": "2"}
    settings = load_settings(flags={"port": 3}, environ=environ, config=config)
    assert (settings.port, settings.slots, settings.threads, settings.host) == (3, 2, 1, "127.0.0.1")


def test_a_flag_that_was_not_given_and_a_variable_that_is_empty_decide_nothing() -> None:
    settings = load_settings(flags={"port": None}, environ={**HOME, "MODELPRESS_PORT": ""})
    assert settings.port == 8080


def test_the_file_may_be_named_by_the_environment_and_a_flag_names_another(tmp_path: Path) -> None:
    config = _file(tmp_path, "port = 1")
    other = tmp_path / "other.toml"
    other.write_text("port = 2")
    environ = {**HOME, "MODELPRESS_CONFIG": str(config)}
    assert load_settings(environ=environ).port == 1
    assert load_settings(environ=environ, config=other).port == 2


@pytest.mark.parametrize(
    ("environ", "data"),
    [
        (HOME, "/home/ann/.local/share/modelpress"),
        ({**HOME, "XDG_DATA_HOME": "/data"}, "/data/modelpress"),
        ({**HOME, "XDG_DATA_HOME": "/data", "MODELPRESS_DATA": "/srv"}, "/srv"),
    ],
)
def test_the_data_directory_follows_the_desktops_convention_unless_it_is_set(
    environ: dict[str, str], data: str
) -> None:
    assert load_settings(environ=environ).data == Path(data)


@pytest.mark.parametrize("given", ["here", Path("here"), "./here"])
def test_the_data_directory_is_absolute_however_it_was_given(
    given: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(flags={"data": given}, environ=HOME).data == tmp_path / "here"


def test_a_tilde_in_the_data_directory_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert load_settings(flags={"data": "~/models"}, environ=HOME).data == Path("/home/ann/models")


def test_places_follow_the_data_directory_unless_they_are_set() -> None:
    settings = Settings(data=Path("/srv"))
    assert (settings.database_url, settings.master_key_path) == (
        "sqlite:////srv/modelpress.db",
        Path("/srv/master.key"),
    )
    settings = Settings(data=Path("/srv"), database="postgresql://host/name", key_file="/etc/key")
    assert (settings.database_url, settings.master_key_path) == ("postgresql://host/name", Path("/etc/key"))


def test_texts_of_the_environment_become_what_the_setting_is() -> None:
    environ = {
        **HOME,
        "MODELPRESS_LEASE_SECONDS": "1.5",
        "MODELPRESS_PUBLIC_HOSTS": "a.example, b.example:8443",
        "MODELPRESS_BUCKETS": "only the file may name buckets",
    }
    settings = load_settings(environ=environ)
    assert settings.lease_seconds == 1.5
    assert settings.public_hosts == ("a.example", "b.example:8443")
    assert settings.buckets == {}


def test_buckets_are_named_in_the_file(tmp_path: Path) -> None:
    config = _file(tmp_path, '[buckets.models]\nurl = "file:///srv/models"\naccounts = ["acc-1"]\n')
    settings = load_settings(environ=HOME, config=config)
    assert settings.buckets == {"models": BucketSettings(url="file:///srv/models", accounts=("acc-1",))}


WRONG: dict[str, list[Any]] = {
    "port": [-1, 65536, "http"],
    "signature_seconds": [0],
    "body_bytes": [10],
    "slots": [0, "many"],
    "threads": [-1],
    "lease_seconds": [0, "inf", "nan"],
    "stop_grace_seconds": [-0.1, "inf"],
    "retention_hours": [-1, "inf", 1e300],
    "log_level": ["loud", "INFO"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_with_where_it_came_from(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=rf"^setting {name} \(in the environment\): ") as caught:
        load_settings(environ={**HOME, f"MODELPRESS_{name.upper()}": str(value)})
    assert caught.value.hint is not None
    with pytest.raises(SettingsError, match=rf"^setting {name} \(given as a flag\): "):
        load_settings(flags={name: value}, environ=HOME)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("colour = 'red'", "setting colour"),
        ("data = 5", "setting data"),
        ("data = ''", "setting data"),
        ("port = 'x'", "setting port"),
        ("[buckets.models]\nurl = 5", "setting buckets"),
        ("[buckets.models]", "setting buckets"),
        ("port = ", "modelpress.toml"),
        ("\udcff", "modelpress.toml"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "modelpress.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError, match=complaint) as caught:
        load_settings(environ=HOME, config=path)
    assert "modelpress.toml" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        load_settings(environ=HOME, config=tmp_path / "absent.toml")


def test_every_setting_is_described() -> None:
    schema = msgspec.json.schema(Settings, schema_hook=lambda _: {"type": "string"})
    for name, kind in schema["$defs"].items():
        for setting, described in kind["properties"].items():
            assert described.get("description"), f"{name}.{setting}"
    assert set(schema["$defs"]) == {"Settings", "BucketSettings"}
