"""The settings: one frozen class, filled from flags, then the environment, then a TOML file, then defaults.

``docs/settings.md`` is generated from this class.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelpress.errors import SettingsError

PREFIX = "MODELPRESS_"

#: Where msgspec's message says which setting it means.
_NAMED = re.compile(r"(`\$\.|unknown field `)(?P<name>\w+)")


def default_data_directory(environ: Mapping[str, str]) -> Path:
    """``$XDG_DATA_HOME/modelpress``, else ``~/.local/share/modelpress`` (XDG base directory specification)."""
    base = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "~"), ".local", "share")
    return Path(base).expanduser() / "modelpress"


class BucketSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named storage root: ``[buckets.NAME]``."""

    url: Annotated[str, Meta(description="where it lies: file:///absolute/path")]
    accounts: Annotated[tuple[str, ...], Meta(description="account ids that may use it; none named means all")] = ()
    writable: Annotated[
        bool, Meta(description="whether models may be exported into it; `exports` always is, `outputs` never")
    ] = False


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    data: Annotated[
        Path,
        Meta(description="directory of the database, the buckets `local`, `outputs` and `exports`, logs, keys (0700)"),
    ]
    host: Annotated[str, Meta(description="address the server listens on")] = "127.0.0.1"
    port: Annotated[int, Meta(description="port the server listens on; 0 takes a free one", ge=0, le=65535)] = 8080
    database: Annotated[
        str,
        Meta(description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; empty: modelpress.db in `data`"),
    ] = ""
    key_file: Annotated[
        str, Meta(description="file with the key that encrypts secrets in the database; empty: master.key in `data`")
    ] = ""
    public_hosts: Annotated[
        tuple[str, ...],
        Meta(description="names clients sign instead of the Host header received (a reverse proxy rewrote it)"),
    ] = ()
    signature_seconds: Annotated[
        int, Meta(description="longest life of a request's signature, whatever it claims", ge=1)
    ] = 1800
    body_bytes: Annotated[int, Meta(description="largest request body", ge=1024)] = 1_048_576
    requests_per_second: Annotated[
        float,
        Meta(description="requests an access key may send a second, to each server process; 0: any number", ge=0),
    ] = 0
    slots: Annotated[int, Meta(description="tasks one worker runs at the same time", ge=1)] = 1
    threads: Annotated[int, Meta(description="threads of one task; 0: one for each core", ge=0)] = 0
    lease_seconds: Annotated[
        float,
        Meta(
            description="how long a silent worker keeps its task; renewed every second while it lives", gt=0, le=86_400
        ),
    ] = 30.0
    stop_grace_seconds: Annotated[
        float,
        Meta(description="after this a task's process that ignores the request to stop is killed", ge=0, le=86_400),
    ] = 2.0
    retention_hours: Annotated[
        float,
        Meta(
            description="how long are kept: files of deleted, produced model versions; logs of deleted tasks; finished "
            "shards of failed and stopped tasks, for a retry",
            ge=0,
            le=876_000,
        ),
    ] = 24.0
    export_bucket: Annotated[
        str, Meta(description="bucket that models are exported into where the request names none", min_length=1)
    ] = "exports"
    log_level: Annotated[
        str, Meta(description="debug, info, warning or error", pattern="^(debug|info|warning|error)$")
    ] = "info"
    buckets: Annotated[
        dict[str, BucketSettings], Meta(description="named storage roots, in the file only: `[buckets.NAME]`")
    ] = {}

    @property
    def database_url(self) -> str:
        """The database to open."""
        return self.database or f"sqlite:///{self.data / 'modelpress.db'}"

    @property
    def master_key_path(self) -> Path:
        """The file of the key that encrypts secrets."""
        return Path(self.key_file) if self.key_file else self.data / "master.key"

    @property
    def credentials_path(self) -> Path:
        """The first access key, made at first start (0600); local commands sign with it."""
        return self.data / "credentials.json"

    @property
    def address_path(self) -> Path:
        """Where a running server tells its address to local commands."""
        return self.data / "server.json"


def load_settings(
    *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, config: Path | None = None
) -> Settings:
    """Settings from flags, ``MODELPRESS_…`` variables, the TOML file and defaults, the first that has a value winning.

    Raises: SettingsError naming the setting and where it came from.
    """
    environ = os.environ if environ is None else environ
    config = config or (Path(environ[PREFIX + "CONFIG"]) if environ.get(PREFIX + "CONFIG") else None)
    values: dict[str, Any] = {"data": str(default_data_directory(environ))}
    origins: dict[str, str] = {}
    for found, origin in (
        (_from_file(config) if config else {}, f"in {config}"),
        (_from_environment(environ), "in the environment"),
        ({name: value for name, value in (flags or {}).items() if value is not None}, "given as a flag"),
    ):
        values |= found
        origins |= dict.fromkeys(found, origin)
    try:
        return msgspec.convert(values, Settings, strict=False, dec_hook=_to_path)
    except msgspec.ValidationError as exc:
        raise _wrong(str(exc), origins) from exc


def _to_path(kind: type, value: Any) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"Expected a path, got {value!r}")
    return Path(value).expanduser().absolute()


def _wrong(message: str, origins: Mapping[str, str]) -> SettingsError:
    named = _NAMED.search(message)
    name = named["name"] if named else ""
    return SettingsError(
        f"setting {name} ({origins.get(name, 'by default')}): {message}", hint="docs/settings.md lists every setting"
    )


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SettingsError(f"settings file {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"settings file {path}: {exc}") from exc


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Settings from variables; an empty variable counts as unset, lists are separated by commas."""
    found: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        text = environ.get(PREFIX + name.upper(), "")
        if text and name != "buckets":
            found[name] = [part.strip() for part in text.split(",")] if name == "public_hosts" else text
    return found
