"""The ``quantization_config`` of the output's config.json, by which loaders know what was done.

Source: QuantizationConfig of compressed-tensors 0.17 to 0.19, whose models refuse unknown keys; what may be left to
their defaults is left out, so that older readers meet nothing they do not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelpress.domain.scheme import Scheme


def config_entry(scheme: Scheme, *, format_name: str, group_size: int | None, ignore: Sequence[str]) -> dict[str, Any]:
    """The entry; ``ignore`` names the modules that a loader would otherwise look for in quantized form."""
    activations = None
    if scheme.activation_bits < 16:
        activations = _numbers(scheme.activation_bits, strategy="token", group_size=None, dynamic=True)
    return {
        "quant_method": "compressed-tensors",
        "format": format_name,
        "quantization_status": "compressed",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": _numbers(
                    scheme.weight_bits,
                    strategy="channel" if group_size is None else "group",
                    group_size=group_size,
                    dynamic=False,
                ),
                "input_activations": activations,
                "output_activations": None,
            }
        },
        "ignore": list(ignore),
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def _numbers(bits: int, *, strategy: str, group_size: int | None, dynamic: bool) -> dict[str, Any]:
    return {
        "num_bits": bits,
        "type": "int",
        "symmetric": True,
        "strategy": strategy,
        "group_size": group_size,
        "dynamic": dynamic,
        "actorder": None,
        "block_structure": None,
    }
