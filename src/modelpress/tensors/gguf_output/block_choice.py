"""Which block type each tensor gets: what a scheme gives to most, and what it gives to those that matter more.

The table is llama.cpp's, so that a file is what its name leads people to expect: ``attn_v`` and ``ffn_down`` lose most
by rounding, and lose it in the first and the last layers; the output layer is one matrix that everything goes through.
Source: llama.cpp, llama-quant.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from modelpress.domain.scheme import Q4_0, Q4_K_M, Q6_K, Q8_0, Scheme
from modelpress.tensors.gguf.blocks import BLOCK_TYPES, BlockType

_BY_NAME = {block_type.name: block_type for block_type in BLOCK_TYPES.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The block types of a scheme, and the number that llama.cpp knows the mixture by (llama.h, enum llama_ftype)."""

    number: int
    most: str
    #: The output layer, or the embedding where it serves as that too.
    output: str
    #: ``attn_v`` and ``ffn_down`` in some of the layers.
    precious: str


_MIXTURES: Mapping[str, Mixture] = MappingProxyType(
    {
        Q8_0.name: Mixture(number=7, most="Q8_0", output="Q8_0", precious="Q8_0"),
        Q6_K.name: Mixture(number=18, most="Q6_K", output="Q6_K", precious="Q6_K"),
        Q4_K_M.name: Mixture(number=15, most="Q4_K", output="Q6_K", precious="Q6_K"),
        Q4_0.name: Mixture(number=2, most="Q4_0", output="Q6_K", precious="Q4_0"),
    }
)

#: What is taken where a row is not a whole number of blocks: the next best whose blocks are of 32.
#: Weights that share a scale.
GROUPS: Mapping[str, int] = MappingProxyType({Q8_0.name: 32, Q6_K.name: 16, Q4_K_M.name: 32, Q4_0.name: 32})

_NARROWER = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}


def file_type(scheme: Scheme) -> int:
    """The number of the mixture, for the header."""
    return _MIXTURES[scheme.name].number


def block_type_named(name: str) -> BlockType:
    """The block type of this name."""
    return _BY_NAME[name]


def choose_block_type(scheme: Scheme, *, name: str, columns: int, layers: int, tied: bool) -> BlockType:
    """The block type of the matrix ``name``, by GGUF's names, whose rows have ``columns`` weights."""
    mixture = _MIXTURES[scheme.name]
    chosen = mixture.most
    if name == ("token_embd.weight" if tied else "output.weight"):
        chosen = mixture.output
    elif name.endswith((".attn_v.weight", ".attn_qkv.weight", ".ffn_down.weight", ".ffn_down_exps.weight")):
        chosen = mixture.precious if _matters_more(int(name.split(".")[1]), layers) else mixture.most
    if columns % _BY_NAME[chosen].length:
        chosen = _NARROWER.get(chosen, chosen)
    if columns % _BY_NAME[chosen].length:
        chosen = "F16"
    return _BY_NAME[chosen]


def _matters_more(layer: int, layers: int) -> bool:
    """The first and the last eighth, and every third between."""
    first = layers // 8
    return layer < first or layer >= 7 * layers // 8 or (layer - first) % 3 == 2
