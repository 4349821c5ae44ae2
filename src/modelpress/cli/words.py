"""The options that say what becomes of a model, declared once for all commands that take them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from modelpress.cli import option

_BY_NAME = inspect.Parameter.KEYWORD_ONLY
_PLACE = "words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The options as they were typed; their order is that of the help."""

    weight: option.Weight = None
    output_format: option.Format = None
    group_size: option.GroupSize = None
    asymmetric: option.Asymmetric = False
    scale_search: option.ScaleSearch = None
    targets: option.Targets = None
    ignore: option.Ignore = None
    overrides: option.Overrides = None
    method: option.Method = None
    calibration: option.CalibrationText = None
    samples: option.Samples = None
    length: option.Length = None
    text_field: option.TextField = None
    sparsity: option.Sparsity = None
    sparsity_pattern: option.SparsityPattern = None
    act_order: option.ActOrder = None
    dampening: option.Dampening = None
    smoothing: option.Smoothing = None
    iterations: option.Iterations = None


def worded(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as typer is to see it: the options of :class:`Words` in the place of its parameter ``words``."""
    hints = typing.get_type_hints(command, include_extras=True)
    parameters = list(_parameters(inspect.signature(command), hints))

    @functools.wraps(command)
    def run(*positional: Any, **given: Any) -> None:
        said = {field.name: given.pop(field.name) for field in fields(Words)}
        command(*positional, words=Words(**said), **given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters(signature: inspect.Signature, hints: dict[str, Any]) -> Iterator[inspect.Parameter]:
    kinds = typing.get_type_hints(Words, include_extras=True)
    for parameter in signature.parameters.values():
        if parameter.name == _PLACE:
            for field in fields(Words):
                yield inspect.Parameter(field.name, _BY_NAME, default=field.default, annotation=kinds[field.name])
        else:
            yield parameter.replace(annotation=hints[parameter.name])
