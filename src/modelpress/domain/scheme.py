"""The schemes: what the numbers of a model become. The wire calls the field ``weight``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WeightType = Literal["int", "float"]
Grouping = Literal["channel", "group", "block"]
OutputFormat = Literal["compressed-tensors", "gguf"]

#: Group widths, tried in this order where a scheme is grouped and the user named none: those servers have kernels for.
GROUP_SIZES = (128, 64, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One WxAxCx scheme: bits of weight, activation and key-value cache, and how weights share a scale."""

    name: str
    #: The older name of the same thing; answers carry it as ``quantConf``.
    quant_conf: str
    aliases: tuple[str, ...]
    weight_type: WeightType = "int"
    weight_bits: int
    activation_bits: int
    cache_bits: int
    #: ``channel``: one scale an output row; ``group``: one a run of input columns; ``block``: one a square of both.
    grouping: Grouping
    #: Input columns that share a scale: the first that divides is taken. Empty for ``channel``; a block's side is here.
    group_sizes: tuple[int, ...] = ()
    output_format: OutputFormat = "compressed-tensors"
    #: Whether zero lies in the middle of the numbers, unless the user says otherwise where he may.
    symmetric: bool = True
    group_size_chosen: bool = False  #: whether the user may name a group size, or "channel"
    symmetric_chosen: bool = False  #: whether the user may say that it is not symmetric
    search_chosen: bool = False  #: whether the user may ask for a search of the scale

    @property
    def whole_numbers(self) -> bool:
        """Whether weights become integers in safetensors files: what calibrated methods round to."""
        return self.weight_type == "int" and self.output_format == "compressed-tensors"


def _integers(bits: int) -> Scheme:
    """Weights alone, of 2 to 7 bits, in groups."""
    return Scheme(
        name=f"W{bits}A16C16",
        quant_conf=f"wint{bits}",
        aliases=(f"W{bits}A16",),
        weight_bits=bits,
        activation_bits=16,
        cache_bits=16,
        grouping="group",
        group_sizes=GROUP_SIZES,
        group_size_chosen=True,
        symmetric_chosen=True,
        search_chosen=True,
    )


def _gguf(name: str, *, bits: int, block: int, symmetric: bool = True) -> Scheme:
    """A file type of llama.cpp; weights are rounded in blocks whose layout is fixed."""
    return Scheme(
        name=name,
        quant_conf=name.lower(),
        aliases=(),
        weight_bits=bits,
        activation_bits=16,
        cache_bits=16,
        grouping="group",
        group_sizes=(block,),
        output_format="gguf",
        symmetric=symmetric,
    )


W8A16C16 = Scheme(
    name="W8A16C16",
    quant_conf="wint8",
    aliases=("W8A16",),
    weight_bits=8,
    activation_bits=16,
    cache_bits=16,
    grouping="channel",
    group_size_chosen=True,
    symmetric_chosen=True,
    search_chosen=True,
)
W2A16C16, W3A16C16, W4A16C16, W5A16C16, W6A16C16, W7A16C16 = map(_integers, range(2, 8))
INT8_PTQ = Scheme(
    name="INT8-PTQ",
    quant_conf="int8-ptq",
    aliases=("W8A8", "W8A8C16"),
    weight_bits=8,
    activation_bits=8,
    cache_bits=16,
    grouping="channel",
    group_size_chosen=True,
    search_chosen=True,
)
FP8 = Scheme(
    name="WFP8AFP8C16",
    quant_conf="wfp8",
    aliases=("FP8", "FP8-DYNAMIC", "W8A8FP8", "W8A8-FP8"),
    weight_type="float",
    weight_bits=8,
    activation_bits=8,
    cache_bits=16,
    grouping="channel",
)
FP8_BLOCK = Scheme(
    name="WFP8AFP8C16-BLOCK",
    quant_conf="wfp8-block",
    aliases=("FP8-BLOCK",),
    weight_type="float",
    weight_bits=8,
    activation_bits=8,
    cache_bits=16,
    grouping="block",
    group_sizes=(128,),
)
NVFP4 = Scheme(
    name="WNVFP4A16C16",
    quant_conf="wnvfp4",
    aliases=("NVFP4A16", "NVFP4"),
    weight_type="float",
    weight_bits=4,
    activation_bits=16,
    cache_bits=16,
    grouping="group",
    group_sizes=(16,),
)
MXFP4 = Scheme(
    name="WMXFP4A16C16",
    quant_conf="wmxfp4",
    aliases=("MXFP4A16", "MXFP4"),
    weight_type="float",
    weight_bits=4,
    activation_bits=16,
    cache_bits=16,
    grouping="group",
    group_sizes=(32,),
)
Q8_0 = _gguf("Q8_0", bits=8, block=32)
Q6_K = _gguf("Q6_K", bits=6, block=256)
Q4_0 = _gguf("Q4_0", bits=4, block=32)
Q4_K_M = _gguf("Q4_K_M", bits=4, block=256, symmetric=False)

#: The scheme of what is pruned and not quantized: numbers stay what they are. It has no name that could be asked for.
DENSE = Scheme(
    name="DENSE",
    quant_conf="dense",
    aliases=(),
    weight_type="float",
    weight_bits=16,
    activation_bits=16,
    cache_bits=16,
    grouping="channel",
)

#: All that the code knows, those among them that no engine makes yet.
KNOWN = (
    *(INT8_PTQ, W8A16C16, W4A16C16, FP8, FP8_BLOCK, NVFP4, MXFP4),
    *(W7A16C16, W6A16C16, W5A16C16, W3A16C16, W2A16C16),
    *(Q8_0, Q6_K, Q4_K_M, Q4_0),
)

#: Those that are made; only these may be asked for. The one place that says so.
SCHEMES = (
    *(INT8_PTQ, W8A16C16, W4A16C16, FP8, FP8_BLOCK, NVFP4, MXFP4),
    *(W7A16C16, W6A16C16, W5A16C16, W3A16C16, W2A16C16),
    *(Q8_0, Q6_K, Q4_K_M, Q4_0),
)

#: What a container's generic names mean in GGUF, where weights are rounded in llama.cpp's own blocks.
IN_GGUF = {W8A16C16.name: Q8_0, W4A16C16.name: Q4_K_M}


def _plain(name: str) -> str:
    """A name as names are compared: FP8_Dynamic is FP8-DYNAMIC."""
    return name.strip().lower().replace("_", "-")


_BY_NAME = {_plain(name): scheme for scheme in KNOWN for name in (scheme.name, scheme.quant_conf, *scheme.aliases)}


def find_scheme(name: str) -> Scheme | None:
    """The offered scheme of this name, older name or alias, in any letter case, ``_`` being ``-``; None if none."""
    scheme = _BY_NAME.get(_plain(name))
    return scheme if scheme in SCHEMES else None


def known_scheme(name: str) -> Scheme:
    """The scheme that a stored value names; it may be one that is no longer, or not yet, offered."""
    scheme = DENSE if name == DENSE.name else _BY_NAME.get(_plain(name))
    assert scheme is not None, f"a stored value names an unknown scheme: {name!r}"
    return scheme
