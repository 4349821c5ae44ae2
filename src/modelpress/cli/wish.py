"""Options that say what becomes of a model, as a wish: for our own engine, or as a request for a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from shlex import quote
from typing import Any

import typer

from modelpress.cli.words import Words
from modelpress.domain.calibration import CalibrationSource, CalibrationWish
from modelpress.domain.method import Method, Strategy
from modelpress.domain.recipe import GroupSize, Recipe
from modelpress.domain.tuning import WIRE_NAMES, Tuning
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
    "config.method": "--method",
    "config.sparsityRatio": "--sparsity",
    "config.sparsityPattern": "--sparsity-pattern",
    "config.calibration": "--calibration",
    "config.calibration.source": "--calibration",
    "config.calibration.numSamples": "--samples",
    "config.calibration.maxLength": "--length",
    "config.calibration.textField": "--text-field",
    "config.tuning.actOrder": "--act-order",
    "config.tuning.dampening": "--dampening",
    "config.tuning.smoothingStrength": "--smoothing",
    "config.tuning.iterations": "--iterations",
}
_OVERRIDE = "--override"
#: The words of --calibration that name no file.
BUILT_IN = tuple(source.value for source in CalibrationSource if source is not CalibrationSource.OBJECT)


def read_wish(words: Words, place: Callable[[str], CalibrationWish]) -> Wish:
    """The wish that options state; ``place`` says where a file of calibration text is that was named.

    Raises: typer.BadParameter for what cannot be read; what cannot be wished is told by ``wished_recipe``.
    """
    strategy = _strategy(words)
    if strategy is Strategy.QUANTIZATION and not words.weight:
        raise typer.BadParameter("required, unless weights are pruned (--sparsity)", param_hint="'--weight'")
    return Wish(
        strategy=strategy.value,
        weight=words.weight,
        output_format=words.output_format,
        group_size=None if words.group_size is None else _group_size(words.group_size, "--group-size"),
        symmetric=False if words.asymmetric else None,
        scale_search=words.scale_search,
        targets=words.targets or (),
        ignore=words.ignore or (),
        overrides=list(map(_override, words.overrides or ())),
        method=words.method,
        sparsity_ratio=words.sparsity,
        sparsity_pattern=words.sparsity_pattern,
        calibration=_calibration(words, place),
        tuning=Tuning(
            act_order=words.act_order,
            dampening=words.dampening,
            smoothing_strength=words.smoothing,
            iterations=words.iterations,
        ),
    )


def _strategy(words: Words) -> Strategy:
    """What is wished for in all: it is never said, since a ratio, a pattern or a method says so."""
    methods = [method.value for method in Method if method.strategy is Strategy.SPARSITY]
    sparse = words.sparsity is not None or words.sparsity_pattern or (words.method or "").strip().lower() in methods
    return Strategy.SPARSITY if sparse else Strategy.QUANTIZATION


def _calibration(words: Words, place: Callable[[str], CalibrationWish]) -> CalibrationWish | None:
    if words.calibration is None:
        wish = CalibrationWish()
    elif words.calibration in BUILT_IN:
        wish = CalibrationWish(source=words.calibration)
    else:
        wish = place(words.calibration)
    wish = replace(wish, num_samples=words.samples, max_length=words.length, text_field=words.text_field)
    return None if wish == CalibrationWish() else wish


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
        "method": wish.method,
        "sparsityRatio": wish.sparsity_ratio,
        "sparsityPattern": wish.sparsity_pattern,
        "calibration": None if wish.calibration is None else _calibration_form(wish.calibration),
        "tuning": tuning_form(wish.tuning) or None,
    }
    return {"strategy": wish.strategy, **{field: value for field, value in said.items() if value is not None}}


def _calibration_form(wish: CalibrationWish) -> dict[str, Any]:
    said = {
        "source": wish.source,
        "bucket": wish.bucket,
        "objectPath": wish.object_path,
        "numSamples": wish.num_samples,
        "maxLength": wish.max_length,
        "textField": wish.text_field,
    }
    return {field: value for field, value in said.items() if value is not None}


def tuning_form(tuning: Tuning | None) -> dict[str, Any]:
    """What is said of it, by the wire's names."""
    return {WIRE_NAMES[name]: value for name, value in (tuning or Tuning()).as_json().items()}


def config_text(config: Mapping[str, Any]) -> str:
    """The options of a ``config`` that a server told, as they are written on a command line."""
    words = [f"--format {config['outputFormat']}"] if "outputFormat" in config else []
    words += [f"--group-size {config['groupSize']}"] if "groupSize" in config else []
    words += ["--asymmetric"] if config.get("symmetric") is False else []
    words += [f"--scale-search {config['scaleSearch']}"] if "scaleSearch" in config else []
    words += [f"--target {quote(pattern)}" for pattern in config.get("targets", ())]
    words += [f"--ignore {quote(pattern)}" for pattern in config.get("ignore", ())]
    words += [f"--override {quote(_override_text(override))}" for override in config.get("overrides", ())]
    return " ".join([*words, *_method_words(config)])


def _method_words(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("method", Method.RTN) != Method.RTN:
        yield f"--method {config['method']}"
    if "sparsityRatio" in config:
        yield f"--sparsity {config['sparsityRatio']:g}"
    if "sparsityPattern" in config:
        yield f"--sparsity-pattern {config['sparsityPattern']}"
    if "calibration" in config:
        yield from _calibration_words(config["calibration"])
    tuning = config.get("tuning", {})
    if "actOrder" in tuning:
        yield "--act-order" if tuning["actOrder"] else "--no-act-order"
    for field in ("dampening", "smoothingStrength", "iterations"):
        if field in tuning:
            yield f"{_OPTIONS[f'config.tuning.{field}']} {tuning[field]:g}"


def _calibration_words(calibration: Mapping[str, Any]) -> Iterator[str]:
    place = f"{calibration['bucket']}/{calibration['objectPath']}" if "bucket" in calibration else calibration["source"]
    yield f"--calibration {quote(place)} --samples {calibration['numSamples']} --length {calibration['maxLength']}"
    if "textField" in calibration:
        yield f"--text-field {quote(calibration['textField'])}"


def made_text(config: Mapping[str, Any]) -> str:
    """What a ``config`` that a server told makes: ``W4A16C16``, or ``50 % sparse, W4A16C16``."""
    sparse = [f"{100 * config['sparsityRatio']:g} % sparse"] if "sparsityRatio" in config else []
    return ", ".join([*sparse, *filter(None, [config.get("weight")])])


def _override_text(override: Mapping[str, Any]) -> str:
    words = [override["weight"], *([str(override["groupSize"])] if "groupSize" in override else [])]
    if "symmetric" in override:
        words.append("symmetric" if override["symmetric"] else "asymmetric")
    return f"{','.join(override['targets'])}={','.join(words)}"


def _override_form(override: OverrideWish) -> dict[str, Any]:
    said = {"weight": override.weight, "groupSize": override.group_size, "symmetric": override.symmetric}
    return {"targets": list(override.targets), **{field: value for field, value in said.items() if value is not None}}
