"""What is known of each scheme: how small it makes a model, what loads it, whether calibration helps.

Every fact says where it is from. The README's table, the answer of DescribeModelCompSchemes and ``modelpress schemes``
are made of these values, so that nothing is said twice in different words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelpress.domain.scheme import GROUP_SIZES, INT8_PTQ, W4A16C16, W8A16C16, Scheme

#: Bits of a weight, and of a scale, before compression.
_BF16_BITS = 16
#: The model that ratios and perplexities were measured on; the latter on the help texts that come with Python.
MEASURED_ON = "SmolLM2-135M-Instruct, of whose 271 MB 57 MB are an embedding that stays in bf16"
_PERPLEXITY = "perplexity of SmolLM2-135M-Instruct, 14.85 in bf16"


class Loading(StrEnum):
    """Whether a runtime loads a scheme's outputs."""

    SEEN = "seen"  #: it was seen to load and generate
    NOT_SEEN = "not seen"  #: it was not tried
    NO_KERNEL = "has no kernel"  #: it was tried, and refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A program that serves models, and what it makes of a scheme's outputs."""

    name: str
    #: The one that was tried; empty where none was.
    version: str
    loading: Loading
    #: The least that it needs, where that is known.
    hardware: str

    @property
    def title(self) -> str:
        """Name and version; a backend stands behind the version, in brackets."""
        name, bracket, backend = self.name.partition(" (")
        return f"{name} {self.version}".rstrip() + bracket + backend


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeFact:
    """The facts about one scheme."""

    scheme: Scheme
    summary: str
    #: Of a whole output to its bf16 source, both measured on MEASURED_ON.
    measured_ratio: float
    calibration_helps: bool
    calibration: str
    runtimes: tuple[Runtime, ...]

    @property
    def ratio(self) -> float:
        """Of a compressed weight with its scales to bf16, computed; large models come near it as a whole."""
        scale_bits = _BF16_BITS / GROUP_SIZES[0] if self.scheme.grouping == "group" else 0.0
        return round((self.scheme.weight_bits + scale_bits) / _BF16_BITS, 4)

    @property
    def ratio_basis(self) -> str:
        """How ``ratio`` was computed."""
        scales = (
            f"a 16-bit scale for {GROUP_SIZES[0]} of them" if self.scheme.grouping == "group" else "scales left out"
        )
        return f"computed: {self.scheme.weight_bits} bits a weight, {scales}, against 16; embeddings and norms stay"


_TRANSFORMERS = Runtime(
    name="transformers", version="5.17", loading=Loading.SEEN, hardware="any: weights are unpacked or emulated"
)
_VLLM_CPU = Runtime(name="vLLM (CPU)", version="0.32", loading=Loading.SEEN, hardware="x86-64")
# The least capability is what vLLM's source asks for, classes CompressedTensorsWNA16 and CompressedTensorsW8A8Int8.
_VLLM_GPU = Runtime(
    name="vLLM (GPU)",
    version="",
    loading=Loading.NOT_SEEN,
    hardware="NVIDIA of compute capability 7.5 (Turing) or higher, by vLLM's source",
)

FACTS = (
    SchemeFact(
        scheme=W4A16C16,
        summary="4-bit weights in groups of 128 columns (64, 32 or whole rows where 128 does not divide)",
        measured_ratio=0.425,
        calibration_helps=True,
        calibration=f"GPTQ about halves what is lost: {_PERPLEXITY}, is 21.72 without data and 17.6 with GPTQ "
        "(groups of 64)",
        runtimes=(_TRANSFORMERS, _VLLM_CPU, _VLLM_GPU),
    ),
    SchemeFact(
        scheme=W8A16C16,
        summary="8-bit weights, one scale an output row",
        measured_ratio=0.61,
        calibration_helps=False,
        calibration=f"next to nothing is lost without data: {_PERPLEXITY}, is 14.90",
        runtimes=(
            _TRANSFORMERS,
            Runtime(name="vLLM (CPU)", version="0.32", loading=Loading.NO_KERNEL, hardware=""),
            _VLLM_GPU,
        ),
    ),
    SchemeFact(
        scheme=INT8_PTQ,
        summary="8-bit weights, activations rounded to 8 bits while running (W8A8)",
        measured_ratio=0.61,
        calibration_helps=False,
        calibration=f"little is gained: {_PERPLEXITY}, is 15.26 without data and 15.12 with SmoothQuant and GPTQ",
        runtimes=(_TRANSFORMERS, _VLLM_CPU, _VLLM_GPU),
    ),
)
