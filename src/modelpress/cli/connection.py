"""Which server, and as whom: flags, then MODELPRESS_… variables, then QIANFAN_… ones, then the local data directory.

An access key and a secret key always come from one source: a pair put together from two is never a pair.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from modelpress.cli import option
from modelpress.domain.page import LARGEST_PAGE
from modelpress.errors import SettingsError
from modelpress.settings import Settings, load_settings

if TYPE_CHECKING:
    from modelpress.client.client import Client

P = ParamSpec("P")

_URL_VARIABLES = ("MODELPRESS_URL", "QIANFAN_CONSOLE_API_BASE_URL", "QIANFAN_CONSOLE_BASE_URL")
_KEY_PREFIXES = ("MODELPRESS_", "QIANFAN_")
_DEFAULT_URL = "http://127.0.0.1:8080"

_OPTIONS = {
    "url": option.Url,
    "access_key": option.AccessKey,
    "secret_key": option.SecretKey,
    "data": option.Data,
    "config": option.Config,
}
_BY_NAME = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line says about the connection."""

    url: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a command that speaks to a server works with."""

    client: Client
    settings: Settings

    def call(self, action: str, body: Mapping[str, object]) -> Any:
        """The action's result, None where it has none.

        Raises: RequestFailed, ServerUnreachable.
        """
        return self.client.call(action, body).get("result")

    def collect(
        self, action: str, body: Mapping[str, object], *, items: str, limit: int | None, marker: str = ""
    ) -> tuple[list[Any], str | None]:
        """The ``items`` of all pages from ``marker`` on, at most ``limit``; and where more begin, if there are more."""
        found: list[Any] = []
        while True:
            wanted = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - len(found))
            page = self.call(action, {**body, "marker": marker, "maxKeys": wanted})
            found += page[items]
            following: str | None = page["pageInfo"].get("nextMarker")
            if following is None or len(found) == limit:
                return found, following
            marker = following

    def place(self, *, bucket: str, object_path: str) -> str:
        """Where something lies: as a path if it is in this machine's data directory, else within its bucket."""
        here = self.settings.data / bucket / object_path.strip("/")
        return str(here) if here.is_dir() else f"{bucket}:{object_path}"


def connected(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """``command`` as typer is to see it: the options of a connection in the place of its session."""
    hints = typing.get_type_hints(command, include_extras=True)
    _, *own = inspect.signature(command).parameters.values()
    parameters = [parameter.replace(kind=_BY_NAME, annotation=hints[parameter.name]) for parameter in own]
    parameters += [inspect.Parameter(name, _BY_NAME, default=None, annotation=kind) for name, kind in _OPTIONS.items()]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        said = {name: given.pop(name) for name in _OPTIONS}
        settings = load_settings(flags={"data": said.pop("data")}, config=said.pop("config"))
        with open_session(Flags(**said), settings=settings) as session:
            command(session, **given)  # type: ignore[call-arg]  # typer has checked them by the signature below

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@contextmanager
def open_session(flags: Flags, *, settings: Settings, environ: Mapping[str, str] | None = None) -> Iterator[Session]:
    """A session with the server that flags, environment or the data directory of ``settings`` name.

    Raises: SettingsError if no keys are found, or half a pair.
    """
    from modelpress.client.client import Client

    environ = os.environ if environ is None else environ
    access_key, secret_key = find_keys(flags, environ=environ, settings=settings)
    url = find_url(flags, environ=environ, settings=settings)
    with Client(url, access_key=access_key, secret_key=secret_key) as client:
        yield Session(client=client, settings=settings)


def find_url(flags: Flags, *, environ: Mapping[str, str], settings: Settings) -> str:
    """The server's URL; that of the server which runs on the data directory if none is named.

    Raises: SettingsError if that server's file cannot be read.
    """
    named = (flags.url, *(environ.get(name) for name in _URL_VARIABLES))
    return next(filter(None, named), None) or _read_local(settings.address_path).get("url") or _DEFAULT_URL


def find_keys(flags: Flags, *, environ: Mapping[str, str], settings: Settings) -> tuple[str, str]:
    """Access key and secret key, both from the first source that has one of them.

    Raises: SettingsError for half a pair, or if no source has any.
    """
    sources = [("the command line", flags.access_key, flags.secret_key)]
    for prefix in _KEY_PREFIXES:
        pair = (environ.get(f"{prefix}ACCESS_KEY"), environ.get(f"{prefix}SECRET_KEY"))
        sources.append((f"the environment ({prefix}…)", *pair))
    for source, access_key, secret_key in sources:
        if access_key and secret_key:
            return access_key, secret_key
        if access_key or secret_key:
            here, missing = ("an access key", "secret key") if access_key else ("a secret key", "access key")
            raise SettingsError(
                f"{source} has {here} and no {missing}",
                hint="give both in the same place: a pair is never put together",
            )
    return _local_keys(settings)


def _local_keys(settings: Settings) -> tuple[str, str]:
    path = settings.credentials_path
    pair = _read_local(path)
    if not pair:
        raise SettingsError(
            f"no access key: none was given, and there is no {path}",
            hint="start a server here with `modelpress serve`, or give --url, --access-key and --secret-key "
            "(MODELPRESS_URL, MODELPRESS_ACCESS_KEY, MODELPRESS_SECRET_KEY)",
        )
    access_key, secret_key = pair.get("accessKey"), pair.get("secretKey")
    if not access_key or not secret_key:
        raise SettingsError(
            f"{path} has not both accessKey and secretKey", hint="make a new key: modelpress key create"
        )
    return access_key, secret_key


def _read_local(path: Path) -> dict[str, str]:
    """The object in one of the data directory's files; empty if there is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise SettingsError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise SettingsError(f"{path} is not JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise SettingsError(f"{path} is not a JSON object")
    return content
