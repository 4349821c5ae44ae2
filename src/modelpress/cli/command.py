"""The commands, imported one by one: a command pays for its own imports, not for those of all the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperGroup

#: Name -> module of this package and what it has there: a function, or an ``app`` of several commands.
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "compress": ("compress", "compress"),
        "serve": ("server", "serve"),
        "worker": ("server", "worker"),
        "demo": ("demo", "demo"),
        "schemes": ("scheme", "schemes"),
        "methods": ("method", "methods"),
        "conformance": ("conformance", "conformance"),
        "model": ("model", "app"),
        "task": ("task", "app"),
        "account": ("account", "app"),
        "user": ("user", "app"),
        "key": ("key", "app"),
        "webhook": ("webhook", "app"),
    }
)


class _Imported(Mapping[str, Any]):
    """The commands by name, each imported when it is looked up for the first time."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _make(name: str) -> Any:
    module, attribute = COMMANDS[name]
    found = getattr(import_module(f"modelpress.cli.{module}"), attribute)
    parent = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=False)
    parent.callback()(lambda: None)  # with a callback it is a group, however few its commands
    if isinstance(found, typer.Typer):
        parent.add_typer(found, name=name)
    else:
        parent.command(name)(found)
    group: Any = typer.main.get_command(parent)
    return group.commands[name]


class Commands(TyperGroup):
    """The root of the command line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Typed as a dictionary, and only read.
        self.commands: Any = _Imported()

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, for which nothing is imported."""
        return list(COMMANDS)
