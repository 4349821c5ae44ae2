"""The ``quantization_config`` of the output's config.json, by which loaders know what was done.

Source: QuantizationConfig of compressed-tensors 0.17 to 0.19, whose models refuse unknown keys; what may be left to
their defaults is left out, so that older readers meet nothing they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelpress.domain.scheme import Scheme
from modelpress.tensors.formats import format_of, mxfp4, nvfp4
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
    scheme, size = treatment.scheme, treatment.group_size
    weights = _numbers(scheme.weight_bits, scheme, size=size, symmetric=treatment.symmetric)
    if scheme.grouping == "block":
        weights |= {"strategy": "block", "group_size": None, "block_structure": [size, size]}
    elif scheme.weight_type == "float" and scheme.weight_bits == 4:
        weights |= _FLOAT4[format_of(scheme).NAME]
    activations = None
    if scheme.activation_bits < 16:
        # A group of a token's numbers for a block of weights, else all of them.
        activations = _numbers(scheme.activation_bits, scheme, size=size if scheme.grouping == "block" else None)
        activations |= {"dynamic": True} | ({"strategy": "token"} if scheme.grouping != "block" else {})
    return {"targets": targets, "weights": weights, "input_activations": activations, "output_activations": None}


#: By their scales' dtypes loaders tell the two formats' arithmetic apart.
_FLOAT4: dict[str, dict[str, Any]] = {
    nvfp4.NAME: {"strategy": "tensor_group", "scale_dtype": "torch.float8_e4m3fn"},
    mxfp4.NAME: {"scale_dtype": "torch.uint8"},
}


def _numbers(bits: int, scheme: Scheme, *, size: int | None, symmetric: bool = True) -> dict[str, Any]:
    return {
        "num_bits": bits,
        "type": scheme.weight_type,
        "symmetric": symmetric,
        "strategy": "channel" if size is None else "group",
        "group_size": size,
        "dynamic": False,
        "actorder": None,
        "block_structure": None,
    }
