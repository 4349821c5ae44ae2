"""Tells a checkpoint that some quantizer has been at before: rounding rounded weights again would ruin them quietly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelpress.tensors.float8_source import float8_block
from modelpress.tensors.grid import DTYPE_BITS
from modelpress.tensors.spec import TensorSpec

#: Where a config tells of quantization: transformers' key, and the one compressed-tensors used before.
_CONFIG_KEYS = ("quantization_config", "compression_config")

#: What a tensor's name ends in, and who writes such names.
_NAME_ENDINGS = (
    (".weight_packed", "compressed-tensors"),
    (".weight_scale", "compressed-tensors, modelopt or FBGEMM"),
    (".weight_shape", "compressed-tensors"),
    (".weight_zero_point", "compressed-tensors"),
    (".weight_scale_inv", "block-wise FP8"),
    (".qweight", "GPTQ or AWQ"),
    (".qzeros", "GPTQ or AWQ"),
    (".g_idx", "GPTQ"),
    (".SCB", "bitsandbytes"),
    (".weight.absmax", "bitsandbytes"),
    (".weight.quant_map", "bitsandbytes"),
    ("_blocks", "MXFP4"),
)

_PLAIN_WEIGHT_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})


def why_compressed(config: Mapping[str, Any], tensors: Iterable[TensorSpec]) -> str | None:
    """What tells that the weights were quantized before, and by which method; None for weights as they were trained."""
    for where, method in _stated(config):
        return f"the model is already quantized: config.json says so in {where} (method {method!r})"
    for spec in tensors:
        why = _betrayed(spec)
        if why is not None:
            return f"the model is already quantized: {why}"
    return None


def _stated(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parts = [("", config)]
    parts += [
        (f"{key}.", value) for key, value in config.items() if key.endswith("_config") and isinstance(value, dict)
    ]
    for prefix, part in parts:
        for key in _CONFIG_KEYS:
            stated = part.get(key)
            if isinstance(stated, dict) and stated and float8_block(part) is None:
                yield prefix + key, str(stated.get("quant_method") or stated.get("format") or "unnamed")[:40]


def _betrayed(spec: TensorSpec) -> str | None:
    for ending, method in _NAME_ENDINGS:
        if spec.name.endswith(ending):
            return f"it has a tensor {spec.name!r}, as {method} writes it"
    if spec.name.endswith(".weight") and spec.dtype not in _PLAIN_WEIGHT_DTYPES and len(spec.shape) >= 2:
        return f"weight {spec.name!r} is of dtype {spec.dtype} ({DTYPE_BITS[spec.dtype]} bits)"
    return None
