"""The schemes: what the numbers of a model become. The wire calls the field ``weight``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grouping = Literal["channel", "group"]

#: Group widths, tried in this order where a scheme is grouped and the user named none: those servers have kernels for.
GROUP_SIZES = (128, 64, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One WxAxCx scheme: bits of weight, activation and key-value cache, and how weights share a scale."""

    name: str
    #: The older name of the same thing; answers carry it as ``quantConf``.
    quant_conf: str
    aliases: tuple[str, ...]
    weight_bits: int
    activation_bits: int
    cache_bits: int
    #: ``channel``: one scale an output row; ``group``: one a run of input columns, see GROUP_SIZES.
    grouping: Grouping


W8A16C16 = Scheme(
    name="W8A16C16",
    quant_conf="wint8",
    aliases=("W8A16",),
    weight_bits=8,
    activation_bits=16,
    cache_bits=16,
    grouping="channel",
)
W4A16C16 = Scheme(
    name="W4A16C16",
    quant_conf="wint4",
    aliases=("W4A16",),
    weight_bits=4,
    activation_bits=16,
    cache_bits=16,
    grouping="group",
)
INT8_PTQ = Scheme(
    name="INT8-PTQ",
    quant_conf="int8-ptq",
    aliases=("W8A8", "W8A8C16"),
    weight_bits=8,
    activation_bits=8,
    cache_bits=16,
    grouping="channel",
)

SCHEMES = (INT8_PTQ, W8A16C16, W4A16C16)

_BY_NAME = {name.lower(): scheme for scheme in SCHEMES for name in (scheme.name, scheme.quant_conf, *scheme.aliases)}


def find_scheme(name: str) -> Scheme | None:
    """The scheme of this name, older name or alias, in any letter case; None if there is none."""
    return _BY_NAME.get(name.strip().lower())
