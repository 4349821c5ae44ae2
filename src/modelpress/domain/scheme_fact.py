"""What is known of each scheme: how small it makes a model, what loads it, whether calibration helps.

Every fact says where it is from. The README's table, the answer of DescribeModelCompSchemes and ``modelpress schemes``
are made of these values, so that nothing is said twice in different words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelpress.domain.scheme import (
    FP8,
    FP8_BLOCK,
    INT8_PTQ,
    MXFP4,
    NVFP4,
    Q4_0,
    Q4_K_M,
    Q6_K,
    Q8_0,
    SCHEMES,
    W2A16C16,
    W3A16C16,
    W4A16C16,
    W5A16C16,
    W6A16C16,
    W7A16C16,
    W8A16C16,
    Scheme,
)

#: Bits of a weight before compression.
_BF16_BITS = 16
#: The model that ratios and perplexities were measured on; the latter on the help texts that come with Python.
MEASURED_ON = "SmolLM2-135M-Instruct, of whose 271 MB 57 MB are an embedding that stays in bf16"
_PERPLEXITY = "perplexity of SmolLM2-135M-Instruct, 14.85 in bf16"
#: On the last 6,144 tokens of them, as docs/options.md has it.
_PERPLEXITY_2 = "perplexity of SmolLM2-135M-Instruct on another text, 9.74 in bf16 and 13.69 as W4A16C16"


class Loading(StrEnum):
    """Whether a runtime loads a scheme's outputs."""

    SEEN = "seen"  #: it was seen to load and generate
    NOT_SEEN = "not seen"  #: it was not tried
    NO_KERNEL = "has no kernel"  #: it was tried, and refused; or by its source it would be


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
    #: Bits of a scale; of those that are one for a whole row or weight nothing is counted.
    scale_bits: int = 16
    #: Of a whole output to its bf16 source, both measured on MEASURED_ON; None for schemes that do not fit that model.
    measured_ratio: float | None
    calibration_helps: bool
    calibration: str
    runtimes: tuple[Runtime, ...]

    @property
    def stored_bits(self) -> float:
        """Bits of a compressed weight with its share of the scales."""
        return self.scheme.weight_bits + (self.scale_bits / self._weights_of_a_scale if self.scheme.group_sizes else 0)

    @property
    def _weights_of_a_scale(self) -> int:
        size = self.scheme.group_sizes[0]
        return size * size if self.scheme.grouping == "block" else size

    @property
    def ratio(self) -> float:
        """Of a compressed weight with its scales to bf16, computed; large models come near it as a whole."""
        return round(self.stored_bits / _BF16_BITS, 4)

    @property
    def ratio_basis(self) -> str:
        """How ``ratio`` was computed."""
        if self.scheme.output_format == "gguf":
            return f"computed: {self.stored_bits:g} bits for most weights, scales included, against 16; norms are F32"
        scales = "scales left out"
        if self.scheme.grouping == "group":
            article = "an" if self.scale_bits == 8 else "a"
            scales = f"{article} {self.scale_bits}-bit scale for {self._weights_of_a_scale} of them"
        elif self.scheme.grouping == "block":
            size = self.scheme.group_sizes[0]
            scales = f"a {self.scale_bits}-bit scale for a block of {size} by {size} of them"
        return f"computed: {self.scheme.weight_bits} bits a weight, {scales}, against 16; embeddings and norms stay"


_TRANSFORMERS = Runtime(
    name="transformers", version="5.17", loading=Loading.SEEN, hardware="any: weights are unpacked or emulated"
)
_VLLM_CPU = Runtime(name="vLLM (CPU)", version="0.32", loading=Loading.SEEN, hardware="x86-64")
_VLLM_CPU_UNTRIED = Runtime(name="vLLM (CPU)", version="", loading=Loading.NOT_SEEN, hardware="")
_VLLM_CPU_REFUSES = Runtime(name="vLLM (CPU)", version="0.32", loading=Loading.NO_KERNEL, hardware="")
_LLAMA_CPP = Runtime(
    name="llama.cpp (xllamacpp)", version="2026.10", loading=Loading.SEEN, hardware="any that llama.cpp runs on"
)


def _vllm_gpu(hardware: str) -> Runtime:
    """What vLLM 0.32's source asks for: ``get_min_capability`` of its classes CompressedTensors…, and their kernels."""
    return Runtime(
        name="vLLM (GPU)",
        version="",
        loading=Loading.NOT_SEEN,
        hardware=f"NVIDIA of compute capability {hardware}, by vLLM's source",
    )


_TURING = _vllm_gpu("7.5 (Turing) or higher")
#: The only one of its kernels for these widths is that of a package that it does not need otherwise.
_HUMMING = _vllm_gpu("7.5 (Turing) or higher with the package humming")
_FP8_GPU = _vllm_gpu("8.9 (Ada) or higher; from 7.5 on activations stay as they are")
_NVFP4_GPU = _vllm_gpu("7.5 (Turing) or higher")
_MXFP4_GPU = _vllm_gpu("8.0 (Ampere) or higher; from 10.0 (Blackwell) on activations may be rounded too")


def _without_data(perplexity: str) -> str:
    return f"not measured with data; without, {_PERPLEXITY_2}, is {perplexity}"


def _few_bits(scheme: Scheme, *, measured_ratio: float, perplexity: str) -> SchemeFact:
    """Of the widths that no server has kernels of its own for."""
    return SchemeFact(
        scheme=scheme,
        summary=f"{scheme.weight_bits}-bit weights in groups like those of W4A16C16",
        measured_ratio=measured_ratio,
        calibration_helps=scheme.weight_bits < 5,
        calibration=_without_data(perplexity),
        runtimes=(_TRANSFORMERS, _VLLM_CPU_REFUSES, _HUMMING),
    )


def _blocks(scheme: Scheme, *, summary: str, scale_bits: int, measured_ratio: float) -> SchemeFact:
    """Of llama.cpp's file types; ``scale_bits`` are all that a block has besides its weights."""
    few = scheme.weight_bits < 5
    weighing = "llama.cpp's own tool can weigh errors by what a text shows to matter, this version cannot"
    return SchemeFact(
        scheme=scheme,
        summary=f"GGUF for llama.cpp: {summary}; embedding and output layer too",
        scale_bits=scale_bits,
        measured_ratio=measured_ratio,
        calibration_helps=few,
        calibration=f"not measured: {weighing if few else 'little is lost without data'}",
        runtimes=(_LLAMA_CPP,),
    )


_ALL = (
    SchemeFact(
        scheme=W4A16C16,
        summary="4-bit weights in groups of 128 columns (64, 32 or whole rows where 128 does not divide)",
        measured_ratio=0.425,
        calibration_helps=True,
        calibration="GPTQ takes back most of what is lost: the perplexity of SmolLM2-135M-Instruct on documentation, "
        "11.0 in bf16, is 15.9 without data and 11.9 with GPTQ calibrated on such text (groups of 64)",
        runtimes=(_TRANSFORMERS, _VLLM_CPU, _TURING),
    ),
    SchemeFact(
        scheme=W8A16C16,
        summary="8-bit weights, one scale an output row",
        measured_ratio=0.61,
        calibration_helps=False,
        calibration=f"next to nothing is lost without data: {_PERPLEXITY}, is 14.90",
        runtimes=(_TRANSFORMERS, _VLLM_CPU_REFUSES, _TURING),
    ),
    SchemeFact(
        scheme=INT8_PTQ,
        summary="8-bit weights, activations rounded to 8 bits while running (W8A8)",
        measured_ratio=0.61,
        calibration_helps=True,
        calibration="SmolLM2-135M-Instruct diverges from itself in bf16 by 0.030 nats a token without data, and by "
        "0.008 with method smoothquant",
        runtimes=(_TRANSFORMERS, _VLLM_CPU, _TURING),
    ),
    _few_bits(W7A16C16, measured_ratio=0.5724, perplexity="9.81"),
    _few_bits(W6A16C16, measured_ratio=0.5235, perplexity="9.90"),
    _few_bits(W5A16C16, measured_ratio=0.4746, perplexity="10.92"),
    _few_bits(W3A16C16, measured_ratio=0.3769, perplexity="69.7"),
    _few_bits(W2A16C16, measured_ratio=0.328, perplexity="millions"),
    SchemeFact(
        scheme=FP8,
        summary="8-bit floats (e4m3), one scale an output row, activations rounded to them while running",
        measured_ratio=0.6101,
        calibration_helps=False,
        calibration=_without_data("9.94"),
        runtimes=(_TRANSFORMERS, _VLLM_CPU_UNTRIED, _FP8_GPU),
    ),
    SchemeFact(
        scheme=FP8_BLOCK,
        summary="8-bit floats (e4m3), one scale a block of 128 by 128, activations rounded to them while running",
        measured_ratio=None,
        calibration_helps=False,
        calibration="not measured",
        runtimes=(_TRANSFORMERS, _VLLM_CPU_UNTRIED, _FP8_GPU),
    ),
    SchemeFact(
        scheme=NVFP4,
        summary="4-bit floats in groups of 16, whose scales are 8-bit floats themselves",
        scale_bits=8,
        measured_ratio=0.438,
        calibration_helps=True,
        calibration=_without_data("12.07"),
        runtimes=(_TRANSFORMERS, _VLLM_CPU_REFUSES, _NVFP4_GPU),
    ),
    SchemeFact(
        scheme=MXFP4,
        summary="4-bit floats in groups of 32, whose scales are powers of two",
        scale_bits=8,
        measured_ratio=0.4257,
        calibration_helps=True,
        calibration=_without_data("14.22"),
        runtimes=(_TRANSFORMERS, _VLLM_CPU_REFUSES, _MXFP4_GPU),
    ),
    _blocks(Q8_0, summary="8 bits, a scale for 32 weights", scale_bits=16, measured_ratio=0.534),
    _blocks(Q6_K, summary="6 bits, searched scales of 16 under one of 256", scale_bits=144, measured_ratio=0.51),
    _blocks(
        Q4_K_M,
        summary="4 bits, searched scales and minimums of 32 under those of 256; 6 bits where most would be lost",
        scale_bits=128,
        measured_ratio=0.389,
    ),
    _blocks(Q4_0, summary="4 bits, a scale for 32 weights", scale_bits=16, measured_ratio=0.339),
)

#: Of the schemes that are offered.
FACTS = tuple(fact for fact in _ALL if fact.scheme in SCHEMES)
