"""A recipe: strategy + scheme + method + options, normalised, so that equal wishes are equal values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelpress.domain.calibration import Calibration, calibration_from_json
from modelpress.domain.method import Method, Strategy
from modelpress.domain.pattern import matcher
from modelpress.domain.scheme import DENSE, Scheme, known_scheme
from modelpress.domain.sparsity import Sparsity, sparsity_from_json
from modelpress.domain.tuning import Tuning, tuning_from_json

#: A number of input columns that share a scale, "channel" for one scale an output row, None for the scheme's own rule.
GroupSize = int | Literal["channel"] | None

#: How a scale is chosen: from the largest weight, or the one among several that gives the least squared error.
ScaleSearch = Literal["max", "mse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What holds instead for the modules that ``targets`` mean; patterns of domain/pattern.py, sorted."""

    targets: tuple[str, ...]
    #: The modules stay as they are, and the rest of this says nothing.
    keep: bool = False
    #: None for the recipe's own, whose group size and symmetry then hold too where they are not said here.
    scheme: Scheme | None = None
    group_size: GroupSize = None
    symmetric: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """A plain object that :func:`override_from_json` turns back into an equal value."""
        said = {
            "keep": self.keep or None,
            "scheme": None if self.scheme is None else self.scheme.name,
            "group_size": self.group_size,
            "symmetric": self.symmetric,
        }
        return {"targets": list(self.targets), **_said(said)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a recipe says of one module: the number format that its weight gets."""

    scheme: Scheme
    group_size: GroupSize
    symmetric: bool
    scale_search: ScaleSearch


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is to be done to a model."""

    #: DENSE where weights are pruned and not quantized.
    scheme: Scheme
    strategy: Strategy = Strategy.QUANTIZATION
    method: Method = Method.RTN
    group_size: GroupSize = None
    #: Whether zero lies in the middle of the numbers; None for the scheme's own way.
    symmetric: bool | None = None
    scale_search: ScaleSearch = "max"
    #: Patterns: only linear layers that they mean are compressed; all where there are none.
    targets: tuple[str, ...] = ()
    #: Patterns: what they mean stays as it is, whatever else is said of it.
    ignore: tuple[str, ...] = ()
    #: The first whose targets mean a module holds for it.
    overrides: tuple[Override, ...] = ()
    #: None unless the strategy is Sparsity.
    sparsity: Sparsity | None = None
    #: None unless the method is calibrated.
    calibration: Calibration | None = None
    #: None where everything is a method's usual way.
    tuning: Tuning | None = None

    @property
    def quantizes(self) -> bool:
        """Whether numbers become those of a scheme; otherwise weights are pruned and nothing else."""
        return self.scheme is not DENSE

    @property
    def title(self) -> str:
        """What it makes, for people: ``W4A16C16``, ``W4A16C16 (gptq)`` or ``50 % sparse in 2:4 (wanda), W4A16C16``."""
        if self.sparsity is None:
            return self.scheme.name + (f" ({self.method.value})" if self.method is not Method.RTN else "")
        pruned = f"{self.sparsity.title} ({self.method.value})"
        return f"{pruned}, {self.scheme.name}" if self.quantizes else pruned

    def choose(self, module: str) -> Choice | None:
        """What becomes of a linear layer of this name; None if it stays as it is."""
        if matcher(self.ignore)(module) or (self.targets and not matcher(self.targets)(module)):
            return None
        for override in self.overrides:
            if matcher(override.targets)(module):
                return None if override.keep else self._overridden(override)
        return self.own_choice

    @property
    def own_choice(self) -> Choice:
        """What becomes of a linear layer that no override means."""
        return self._choice(self.scheme, self.group_size, self.symmetric)

    def _overridden(self, override: Override) -> Choice:
        scheme = override.scheme or self.scheme
        own = scheme is self.scheme
        return self._choice(
            scheme,
            self.group_size if own and override.group_size is None else override.group_size,
            self.symmetric if own and override.symmetric is None else override.symmetric,
        )

    def _choice(self, scheme: Scheme, group_size: GroupSize, symmetric: bool | None) -> Choice:
        return Choice(
            scheme=scheme,
            group_size=group_size,
            symmetric=scheme.symmetric if symmetric is None else symmetric,
            scale_search=self.scale_search if scheme.search_chosen else "max",
        )

    def as_json(self) -> dict[str, Any]:
        """A plain object that :func:`recipe_from_json` turns back into an equal recipe.

        What an older version could not say is there only where it is said, so that equal recipes of two versions
        are equal objects: requests are told apart by them (``clientToken``).
        """
        said = {
            "symmetric": self.symmetric,
            "scale_search": None if self.scale_search == "max" else self.scale_search,
            "targets": list(self.targets) or None,
            "ignore": list(self.ignore) or None,
            "overrides": [override.as_json() for override in self.overrides] or None,
            "sparsity": self.sparsity and self.sparsity.as_json(),
            "calibration": self.calibration and self.calibration.as_json(),
            "tuning": self.tuning and self.tuning.as_json(),
        }
        return {
            "strategy": self.strategy.value,
            "scheme": self.scheme.name,
            "method": self.method.value,
            "group_size": self.group_size,
            **_said(said),
        }


def _said(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def recipe_from_json(data: Mapping[str, Any]) -> Recipe:
    """The recipe that ``as_json`` described, in this version or an older one."""
    return Recipe(
        scheme=known_scheme(data["scheme"]),
        strategy=Strategy(data["strategy"]),
        method=Method(data["method"]),
        group_size=data.get("group_size"),
        symmetric=data.get("symmetric"),
        scale_search=data.get("scale_search", "max"),
        targets=tuple(data.get("targets", ())),
        ignore=tuple(data.get("ignore", ())),
        overrides=tuple(map(override_from_json, data.get("overrides", ()))),
        sparsity=sparsity_from_json(data["sparsity"]) if "sparsity" in data else None,
        calibration=calibration_from_json(data["calibration"]) if "calibration" in data else None,
        tuning=tuning_from_json(data["tuning"]) if "tuning" in data else None,
    )


def override_from_json(data: Mapping[str, Any]) -> Override:
    """The override that ``as_json`` described."""
    return Override(
        targets=tuple(data["targets"]),
        keep=data.get("keep", False),
        scheme=known_scheme(data["scheme"]) if "scheme" in data else None,
        group_size=data.get("group_size"),
        symmetric=data.get("symmetric"),
    )
