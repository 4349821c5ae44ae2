"""Options that say what becomes of a model, as a wish: for our own engine, or as a request for a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

import typer

from modelpress.domain.recipe import GroupSize, Recipe
from modelpress.domain.wish import OverrideWish, Wish, make_recipe
from modelpress.errors import InvalidRequest

#: Fields of a request and the options that fill them.
_OPTIONS = {
    "config.weight": "--weight",
    "config.outputFormat": "--format",
    "config.groupSize": "--group-size",
    "config.symmetric": "--asymmetric",
    "config.scaleSearch": "--scale-search",
    "config.targets": "--target",
    "config.ignore": "--ignore",
}
_OVERRIDE = "--override"


def read_wish(
    *,
    weight: str,
    output_format: str | None,
    group_size: str | None,
    asymmetric: bool,
    scale_search: str | None,
    targets: Sequence[str] | None,
    ignore: Sequence[str] | None,
    overrides: Sequence[str] | None,
) -> Wish:
    """The wish that options state.

    Raises: typer.BadParameter for what cannot be read; what cannot be wished is told by ``wished_recipe``.
    """
    return Wish(
        strategy="Quantization",
        weight=weight,
        output_format=output_format,
        group_size=None if group_size is None else _group_size(group_size, "--group-size"),
        symmetric=False if asymmetric else None,
        scale_search=scale_search,
        targets=targets or (),
        ignore=ignore or (),
        overrides=list(map(_override, overrides or ())),
    )


def _group_size(text: str, option: str) -> GroupSize:
    if text == "channel":
        return "channel"
    if not (text.isdecimal() and text.isascii() and int(text) > 0):
        raise typer.BadParameter(f"{text!r} is neither a number of columns nor 'channel'", param_hint=f"'{option}'")
    return int(text)


def _override(text: str) -> OverrideWish:
    """``down_proj=W8A16C16``, or with more: ``down_proj=W4A16C16,32,asymmetric``."""
    targets, _, rest = text.partition("=")
    weight, group_size, symmetric = None, None, None
    for word in rest.split(","):
        if word in ("symmetric", "asymmetric"):
            symmetric = word == "symmetric"
        elif word == "channel" or word.isdecimal():
            group_size = _group_size(word, _OVERRIDE)
        elif weight is None and word:
            weight = word
        else:
            raise typer.BadParameter(
                f"{text!r} is not PATTERN=SCHEME, like 'down_proj=W8A16C16', 'down_proj=W4A16C16,32', 'o_proj=none'",
                param_hint=f"'{_OVERRIDE}'",
            )
    return OverrideWish(targets=targets.split(","), weight=weight, group_size=group_size, symmetric=symmetric)


def wished_recipe(wish: Wish) -> Recipe:
    """The recipe of a wish that was read from options.

    Raises: typer.BadParameter naming the option.
    """
    try:
        return make_recipe(wish)
    except InvalidRequest as exc:
        option = _OPTIONS.get(exc.field, _OVERRIDE)
        raise typer.BadParameter(exc.why + (f" ({exc.hint})" if exc.hint else ""), param_hint=f"'{option}'") from exc


def config_of(wish: Wish) -> dict[str, Any]:
    """The ``config`` of a request that says the same; what was not said is not there."""
    said = {
        "weight": wish.weight,
        "outputFormat": wish.output_format,
        "groupSize": wish.group_size,
        "symmetric": wish.symmetric,
        "scaleSearch": wish.scale_search,
        "targets": list(wish.targets) or None,
        "ignore": list(wish.ignore) or None,
        "overrides": list(map(_override_form, wish.overrides)) or None,
    }
    return {"strategy": wish.strategy, **{field: value for field, value in said.items() if value is not None}}


def config_text(config: Mapping[str, Any]) -> str:
    """The options of a ``config`` that a server told, as they are written on a command line."""
    words = [f"--format {config['outputFormat']}"] if "outputFormat" in config else []
    words += [f"--group-size {config['groupSize']}"] if "groupSize" in config else []
    words += ["--asymmetric"] if config.get("symmetric") is False else []
    words += [f"--scale-search {config['scaleSearch']}"] if "scaleSearch" in config else []
    words += [f"--target {quote(pattern)}" for pattern in config.get("targets", ())]
    words += [f"--ignore {quote(pattern)}" for pattern in config.get("ignore", ())]
    words += [f"--override {quote(_override_text(override))}" for override in config.get("overrides", ())]
    return " ".join(words)


def _override_text(override: Mapping[str, Any]) -> str:
    words = [override["weight"], *([str(override["groupSize"])] if "groupSize" in override else [])]
    if "symmetric" in override:
        words.append("symmetric" if override["symmetric"] else "asymmetric")
    return f"{','.join(override['targets'])}={','.join(words)}"


def _override_form(override: OverrideWish) -> dict[str, Any]:
    said = {"weight": override.weight, "groupSize": override.group_size, "symmetric": override.symmetric}
    return {"targets": list(override.targets), **{field: value for field, value in said.items() if value is not None}}
