"""The ``quantization_config`` of the output's config.json, by which loaders know what was done.

Source: QuantizationConfig of compressed-tensors 0.17 to 0.19, whose models refuse unknown keys; what may be left to
their defaults is left out, so that older readers meet nothing they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelpress.tensors.formats import format_of
from modelpress.tensors.formats.target_pattern import target_patterns
from modelpress.tensors.treatment import Treatment

_MIXED = "mixed-precision"


def config_entry(modules: Mapping[Treatment, Sequence[str]], *, ignore: Sequence[str]) -> dict[str, Any]:
    """The entry; ``ignore`` names the modules that a loader would otherwise look for in quantized form.

    The first treatment holds for every linear layer that is not named; the others for their modules.
    """
    formats = dict.fromkeys(format_of(treatment.scheme).NAME for treatment in modules)
    groups = {}
    for number, (treatment, names) in enumerate(modules.items()):
        others = {name for other, theirs in modules.items() if other != treatment for name in theirs} | set(ignore)
        group = _group(treatment, targets=["Linear"] if number == 0 else target_patterns(names, others=others))
        if len(formats) > 1:
            group["format"] = format_of(treatment.scheme).NAME
        groups[f"group_{number}"] = group
    return {
        "quant_method": "compressed-tensors",
        "format": _MIXED if len(formats) > 1 else next(iter(formats)),
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": list(ignore),
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def _group(treatment: Treatment, *, targets: list[str]) -> dict[str, Any]:
    scheme = treatment.scheme
    activations = None
    if scheme.activation_bits < 16:
        activations = _numbers(scheme.activation_bits, strategy="token", group_size=None, dynamic=True)
    return {
        "targets": targets,
        "weights": _numbers(
            scheme.weight_bits,
            strategy="channel" if treatment.group_size is None else "group",
            group_size=treatment.group_size,
            dynamic=False,
            symmetric=treatment.symmetric,
        ),
        "input_activations": activations,
        "output_activations": None,
    }


def _numbers(
    bits: int, *, strategy: str, group_size: int | None, dynamic: bool, symmetric: bool = True
) -> dict[str, Any]:
    return {
        "num_bits": bits,
        "type": "int",
        "symmetric": symmetric,
        "strategy": strategy,
        "group_size": group_size,
        "dynamic": dynamic,
        "actorder": None,
        "block_structure": None,
    }
