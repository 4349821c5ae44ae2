"""What a request says in words, and the recipe it means: names in any letter case, defaults spelled out or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelpress.domain.calibration import Calibration, CalibrationWish, make_calibration
from modelpress.domain.method import Circumstances, Method, Strategy, choose_method, find_strategy
from modelpress.domain.pattern import MOST_PATTERNS, check_patterns
from modelpress.domain.recipe import GroupSize, Override, Recipe, ScaleSearch
from modelpress.domain.scheme import DENSE, IN_GGUF, SCHEMES, OutputFormat, Scheme, find_scheme
from modelpress.domain.sparsity import make_sparsity
from modelpress.domain.tuning import Tuning, make_tuning
from modelpress.errors import InvalidRequest

MOST_OVERRIDES = 64
#: No row of a weight has more columns; it also keeps a number that is written out short.
LARGEST_GROUP = 2**24
#: In the place of a scheme: what it is said of stays as it is.
KEPT = "none"
_OUTPUT_FORMATS: dict[str, OutputFormat] = {"safetensors": "compressed-tensors", "gguf": "gguf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideWish:
    """One of ``overrides`` as it was written; ``weight`` is a scheme's name, or "none" for what stays as it is."""

    targets: Sequence[str]
    weight: str | None = None
    group_size: GroupSize = None
    symmetric: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A request's ``config`` as it was written; ``weight`` or ``quant_conf`` names the scheme."""

    strategy: str
    weight: str | None = None
    quant_conf: str | None = None
    group_size: GroupSize = None
    symmetric: bool | None = None
    scale_search: str | None = None
    targets: Sequence[str] = ()
    ignore: Sequence[str] = ()
    overrides: Sequence[OverrideWish] = ()
    output_format: str | None = None
    method: str | None = None
    sparsity_ratio: float | None = None
    sparsity_pattern: str | None = None
    calibration: CalibrationWish | None = None
    tuning: Tuning | None = None


def make_recipe(wish: Wish, *, field: str = "config") -> Recipe:
    """The recipe a request means; equal wishes give equal recipes, however they are written.

    Raises: InvalidRequest naming the field below ``field``.
    """
    strategy = _strategy(wish, field)
    scheme = _scheme(wish, strategy, field)
    given = Circumstances(strategy=strategy, scheme=scheme, calibrated=wish.calibration is not None)
    method = choose_method(wish.method, given, field=f"{field}.method")
    recipe = Recipe(
        scheme=scheme,
        strategy=strategy,
        method=method,
        group_size=_group_size(wish.group_size, scheme, f"{field}.groupSize"),
        symmetric=_symmetric(wish.symmetric, scheme, strategy, f"{field}.symmetric"),
        scale_search=_scale_search(wish.scale_search, scheme, f"{field}.scaleSearch"),
        targets=check_patterns(wish.targets, field=f"{field}.targets"),
        ignore=check_patterns(wish.ignore, field=f"{field}.ignore"),
        calibration=_calibration(wish.calibration, method, scheme, f"{field}.calibration"),
        tuning=make_tuning(wish.tuning or Tuning(), method, field=f"{field}.tuning"),
    )
    recipe = replace(recipe, overrides=_overrides(wish.overrides, recipe, f"{field}.overrides"))
    count = len(recipe.targets) + len(recipe.ignore) + sum(len(override.targets) for override in recipe.overrides)
    if count > MOST_PATTERNS:
        raise InvalidRequest(f"{field}.targets", f"{count} patterns in all; at most {MOST_PATTERNS} are taken")
    return _sparse(wish, recipe, field)


def _strategy(wish: Wish, field: str) -> Strategy:
    known = find_strategy(wish.strategy)
    if known is None:
        raise InvalidRequest(f"{field}.strategy", f"{wish.strategy!r} is none of {', '.join(Strategy)}")
    return known


def _calibration(wish: CalibrationWish | None, method: Method, scheme: Scheme, field: str) -> Calibration | None:
    if method.calibrated:
        return make_calibration(wish or CalibrationWish(), field=field)
    if wish is not None:
        able = [other.value for other in Method if other.calibrated and other.strategy is method.strategy]
        fitting = [name for name in able if Method(name).fits(scheme)]
        raise InvalidRequest(
            field,
            f"{method.value} looks at no data" if fitting else f"{scheme.name} is made without data",
            hint=f"leave it out, or take {', '.join(fitting)}" if fitting else "leave it out",
        )
    return None


def _sparse(wish: Wish, recipe: Recipe, field: str) -> Recipe:
    """The recipe with its sparsity, if that is the strategy."""
    if recipe.strategy is not Strategy.SPARSITY:
        for name, value in (("sparsityRatio", wish.sparsity_ratio), ("sparsityPattern", wish.sparsity_pattern)):
            if value is not None:
                raise InvalidRequest(f"{field}.{name}", "it is for strategy Sparsity alone")
        return recipe
    sparsity = make_sparsity(wish.sparsity_ratio, wish.sparsity_pattern, method=recipe.method, field=field)
    return replace(recipe, sparsity=sparsity)


def _scheme(wish: Wish, strategy: Strategy, field: str) -> Scheme:
    named = wish.weight or wish.quant_conf
    if not named:
        if strategy is Strategy.QUANTIZATION:
            raise InvalidRequest(f"{field}.weight", "required when the strategy is Quantization")
        return _dense(wish, field)
    scheme = _named(named, f"{field}.weight")
    if wish.weight and wish.quant_conf and find_scheme(wish.quant_conf) is not scheme:
        raise InvalidRequest(f"{field}.quantConf", f"{wish.quant_conf!r} contradicts weight {wish.weight!r}")
    scheme = _in_format(scheme, wish.output_format, f"{field}.outputFormat")
    if strategy is Strategy.SPARSITY:
        _refuse_sparse_gguf(scheme, f"{field}.weight")
    return scheme


def _refuse_sparse_gguf(scheme: Scheme, field: str) -> None:
    if scheme.output_format == "gguf":
        raise InvalidRequest(
            field,
            f"{scheme.name} is written as GGUF, where this version does not prune",
            hint="prune without weight, then compress the result to GGUF in a second task",
        )


def _dense(wish: Wish, field: str) -> Scheme:
    """The scheme of what is pruned alone, of which nothing about numbers can be said."""
    said = {"groupSize": wish.group_size, "symmetric": wish.symmetric, "scaleSearch": wish.scale_search}
    for name, value in said.items():
        if value is not None:
            raise InvalidRequest(f"{field}.{name}", "nothing is quantized", hint="name a weight to quantize too")
    _refuse_other_files(wish.output_format, f"{field}.outputFormat")
    return DENSE


def _refuse_other_files(name: str | None, field: str) -> None:
    if name and name.strip().lower() != "safetensors":
        known = name.strip().lower() in _OUTPUT_FORMATS
        why = f"what is pruned alone is not written as {name.strip().lower()}" if known else f"{name!r} is unknown"
        raise InvalidRequest(field, why, hint="leave it out; safetensors files are written")


def _named(name: str, field: str) -> Scheme:
    scheme = find_scheme(name)
    if scheme is None:
        raise InvalidRequest(field, f"{name!r} is none of {', '.join(s.name for s in SCHEMES)}")
    return scheme


def _in_format(scheme: Scheme, name: str | None, field: str) -> Scheme:
    """The scheme that a name means in the asked for format."""
    if not name:
        return scheme
    wanted = _OUTPUT_FORMATS.get(name.strip().lower())
    if wanted is None or wanted not in {known.output_format for known in SCHEMES}:
        offered = ", ".join(n for n, f in _OUTPUT_FORMATS.items() if f in {s.output_format for s in SCHEMES})
        raise InvalidRequest(field, f"{name!r} is none of {offered}")
    if wanted == scheme.output_format:
        return scheme
    if wanted == "gguf" and scheme.name in IN_GGUF:
        return IN_GGUF[scheme.name]
    fitting = ", ".join(
        known.name for known in SCHEMES if known.output_format == wanted or (wanted == "gguf" and known.name in IN_GGUF)
    )
    raise InvalidRequest(field, f"{scheme.name} is not written as {name.strip().lower()}", hint=f"there, {fitting} are")


def _group_size(wanted: GroupSize, scheme: Scheme, field: str) -> GroupSize:
    if wanted is None:
        return None
    if isinstance(wanted, int) and wanted < 1:
        raise InvalidRequest(field, f"{wanted} is not a positive number of columns")
    if isinstance(wanted, int) and wanted > LARGEST_GROUP:
        raise InvalidRequest(field, f"{wanted} is more columns than any weight has")
    if scheme.group_size_chosen:
        # One scale an output row is these schemes' own way: saying so asks for nothing else.
        return None if wanted == scheme.grouping else wanted
    own = scheme.grouping if scheme.grouping != "group" else scheme.group_sizes[0]
    if wanted != own and (wanted,) != scheme.group_sizes:
        sizes = {"channel": "one scale an output row", "block": "blocks of 128 by 128"}
        fixed = sizes.get(scheme.grouping, f"groups of {own}")
        raise InvalidRequest(field, f"{scheme.name} has {fixed}, and no others", hint="leave the group size out")
    return None


def _symmetric(wanted: bool | None, scheme: Scheme, strategy: Strategy, field: str) -> bool | None:
    if wanted is False and strategy is Strategy.SPARSITY:
        why = "what is pruned is rounded symmetrically in this version"
        raise InvalidRequest(field, why, hint="leave it out")
    if wanted is None or wanted is scheme.symmetric:
        return None
    if not scheme.symmetric_chosen:
        fixed = "symmetric" if scheme.symmetric else "not symmetric"
        raise InvalidRequest(field, f"{scheme.name} is always {fixed}", hint="leave it out")
    return wanted


def _scale_search(wanted: str | None, scheme: Scheme, field: str) -> ScaleSearch:
    name = (wanted or "max").strip().lower()
    if name == "max":
        return "max"
    if name != "mse":
        raise InvalidRequest(field, f"{wanted!r} is none of max, mse")
    if not scheme.search_chosen:
        able = ", ".join(known.name for known in SCHEMES if known.search_chosen)
        raise InvalidRequest(field, f"the scales of {scheme.name} are not searched", hint=f"those of {able} can be")
    return "mse"


def _overrides(wishes: Sequence[OverrideWish], recipe: Recipe, field: str) -> tuple[Override, ...]:
    if len(wishes) > MOST_OVERRIDES:
        raise InvalidRequest(field, f"{len(wishes)} overrides; at most {MOST_OVERRIDES} are taken")
    made = [_override(wish, recipe, f"{field}[{index}]") for index, wish in enumerate(wishes)]
    # The first that fits holds, so that a second of the same says nothing.
    return tuple(dict.fromkeys(made))


def _override(wish: OverrideWish, recipe: Recipe, field: str) -> Override:
    targets = check_patterns(wish.targets, field=f"{field}.targets")
    if not targets:
        raise InvalidRequest(f"{field}.targets", "required: which modules it is for")
    if wish.weight and wish.weight.strip().lower() == KEPT:
        if wish.group_size is not None or wish.symmetric is not None:
            raise InvalidRequest(f"{field}.weight", "'none' keeps the modules as they are, so nothing else can be said")
        return Override(targets=targets, keep=True)
    if not recipe.quantizes:
        raise InvalidRequest(f"{field}.weight", "nothing is quantized, so only 'none' can be said of modules")
    if not (wish.weight or wish.group_size is not None or wish.symmetric is not None):
        raise InvalidRequest(f"{field}.weight", "required unless groupSize or symmetric is given")
    scheme = _overriding(wish.weight, recipe, f"{field}.weight") if wish.weight else recipe.scheme
    group_size = _group_size(wish.group_size, scheme, f"{field}.groupSize")
    symmetric = _symmetric(wish.symmetric, scheme, recipe.strategy, f"{field}.symmetric")
    if scheme is not recipe.scheme:
        return Override(targets=targets, scheme=scheme, group_size=group_size, symmetric=symmetric)
    # What is left out is the recipe's own here, so that the scheme's own way has to be spelled out where it differs.
    return Override(
        targets=targets,
        group_size=None if group_size == recipe.group_size else group_size or wish.group_size,
        symmetric=None if symmetric == recipe.symmetric else wish.symmetric,
    )


def _overriding(name: str, recipe: Recipe, field: str) -> Scheme:
    """The scheme that a name means beside a recipe's own."""
    scheme = _named(name, field)
    if recipe.scheme.output_format == "gguf":
        scheme = IN_GGUF.get(scheme.name, scheme)
    if scheme.output_format != recipe.scheme.output_format:
        raise InvalidRequest(field, f"{scheme.name} does not go into the same files as {recipe.scheme.name}")
    if not recipe.method.fits_beside(scheme):
        raise InvalidRequest(field, f"{recipe.method.value} does not make {scheme.name}", hint="take method rtn")
    return scheme
