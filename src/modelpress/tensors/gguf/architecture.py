"""The architectures that are read from GGUF files: which tensors they have there, and what transformers calls them.

A shape is a word of one letter an extent (:class:`modelpress.tensors.gguf.sizes.Sizes`), the outermost first. Names and
orders are those of llama.cpp's gguf-py/gguf/tensor_mapping.py and convert_hf_to_gguf.py.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace

from modelpress.tensors.gguf.header import Gguf, GgufTensor
from modelpress.tensors.gguf.rows import GgufRows, rows_of
from modelpress.tensors.gguf.sizes import Sizes
from modelpress.tensors.spec import TensorSpec

#: The tensors that say how positions are turned; they become settings in config.json.
ROPE_FACTORS = "rope_freqs.weight"
ROPE_LONG, ROPE_SHORT = "rope_factors_long.weight", "rope_factors_short.weight"

#: Of a model: far above any real one (a hundred layers of 512 experts have 150 000).
_MOST_TENSORS = 500_000
#: Decoded bytes of one attention head's rows, which change their places among themselves and are held at once.
_LARGEST_HEAD_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One tensor of a layer or of the model: its name there, its name here, its shape.

    A shape that begins with E is a stack that becomes one tensor an expert; ``{}`` in the name is the expert's number.
    """

    theirs: str
    ours: str
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One kind of model. ``permuted``: rows of q and k are in llama.cpp's order; ``raised``: norms have one more."""

    model_type: str
    class_name: str
    layer: tuple[Part, ...]
    permuted: bool = False
    raised: bool = False
    #: Tensors that are read into config.json, if they are there.
    settings: frozenset[str] = field(default_factory=frozenset)


def _weight(theirs: str, ours: str, shape: str) -> Part:
    return Part(theirs=f"{theirs}.weight", ours=f"{ours}.weight", shape=shape)


def _bias(theirs: str, ours: str, shape: str) -> Part:
    return Part(theirs=f"{theirs}.bias", ours=f"{ours}.bias", shape=shape)


_ATTENTION = (
    _weight("attn_norm", "input_layernorm", "H"),
    _weight("attn_q", "self_attn.q_proj", "QH"),
    _weight("attn_k", "self_attn.k_proj", "KH"),
    _weight("attn_v", "self_attn.v_proj", "KH"),
    _weight("attn_output", "self_attn.o_proj", "HQ"),
)
_INPUT_BIASES = (
    _bias("attn_q", "self_attn.q_proj", "Q"),
    _bias("attn_k", "self_attn.k_proj", "K"),
    _bias("attn_v", "self_attn.v_proj", "K"),
)
_OUTPUT_BIAS = _bias("attn_output", "self_attn.o_proj", "H")
_HEAD_NORMS = (
    _weight("attn_q_norm", "self_attn.q_norm", "D"),
    _weight("attn_k_norm", "self_attn.k_norm", "D"),
)
_SECOND_NORM = _weight("ffn_norm", "post_attention_layernorm", "H")
_MLP = (
    _weight("ffn_gate", "mlp.gate_proj", "IH"),
    _weight("ffn_up", "mlp.up_proj", "IH"),
    _weight("ffn_down", "mlp.down_proj", "HI"),
)
_EXPERTS = (
    _weight("ffn_gate_inp", "mlp.gate", "EH"),
    _weight("ffn_gate_exps", "mlp.experts.{}.gate_proj", "EMH"),
    _weight("ffn_up_exps", "mlp.experts.{}.up_proj", "EMH"),
    _weight("ffn_down_exps", "mlp.experts.{}.down_proj", "EHM"),
)
_SHARED_EXPERT = (
    _weight("ffn_gate_inp_shexp", "mlp.shared_expert_gate", "1H"),
    _weight("ffn_gate_shexp", "mlp.shared_expert.gate_proj", "SH"),
    _weight("ffn_up_shexp", "mlp.shared_expert.up_proj", "SH"),
    _weight("ffn_down_shexp", "mlp.shared_expert.down_proj", "HS"),
)
_MIXTRAL_EXPERTS = (
    _weight("ffn_gate_inp", "block_sparse_moe.gate", "EH"),
    _weight("ffn_gate_exps", "block_sparse_moe.experts.{}.w1", "EIH"),
    _weight("ffn_down_exps", "block_sparse_moe.experts.{}.w2", "EHI"),
    _weight("ffn_up_exps", "block_sparse_moe.experts.{}.w3", "EIH"),
)
_GEMMA_NORMS = (
    _weight("post_attention_norm", "post_attention_layernorm", "H"),
    _weight("ffn_norm", "pre_feedforward_layernorm", "H"),
    _weight("post_ffw_norm", "post_feedforward_layernorm", "H"),
)

_LLAMA = Architecture(
    model_type="llama",
    class_name="LlamaForCausalLM",
    layer=(*_ATTENTION, _SECOND_NORM, *_MLP),
    permuted=True,
    settings=frozenset({ROPE_FACTORS}),
)
_LLAMA_WITH_BIASES = Architecture(
    model_type="llama",
    class_name="LlamaForCausalLM",
    layer=(*_ATTENTION, *_INPUT_BIASES, _OUTPUT_BIAS, _SECOND_NORM, *_MLP),
    permuted=True,
    settings=frozenset({ROPE_FACTORS}),
)
_MIXTRAL = Architecture(
    model_type="mixtral",
    class_name="MixtralForCausalLM",
    layer=(*_ATTENTION, _SECOND_NORM, *_MIXTRAL_EXPERTS),
    permuted=True,
)

#: By ``general.architecture``.
_OTHERS = {
    "qwen2": Architecture(
        model_type="qwen2",
        class_name="Qwen2ForCausalLM",
        layer=(*_ATTENTION, *_INPUT_BIASES, _SECOND_NORM, *_MLP),
    ),
    "qwen3": Architecture(
        model_type="qwen3", class_name="Qwen3ForCausalLM", layer=(*_ATTENTION, *_HEAD_NORMS, _SECOND_NORM, *_MLP)
    ),
    "qwen2moe": Architecture(
        model_type="qwen2_moe",
        class_name="Qwen2MoeForCausalLM",
        layer=(*_ATTENTION, *_INPUT_BIASES, _SECOND_NORM, *_EXPERTS, *_SHARED_EXPERT),
    ),
    "qwen3moe": Architecture(
        model_type="qwen3_moe",
        class_name="Qwen3MoeForCausalLM",
        layer=(*_ATTENTION, *_HEAD_NORMS, _SECOND_NORM, *_EXPERTS),
    ),
    "gemma2": Architecture(
        model_type="gemma2", class_name="Gemma2ForCausalLM", layer=(*_ATTENTION, *_GEMMA_NORMS, *_MLP), raised=True
    ),
    "gemma3": Architecture(
        model_type="gemma3_text",
        class_name="Gemma3ForCausalLM",
        layer=(*_ATTENTION, *_HEAD_NORMS, *_GEMMA_NORMS, *_MLP),
        raised=True,
    ),
    "phi3": Architecture(
        model_type="phi3",
        class_name="Phi3ForCausalLM",
        layer=(
            _weight("attn_norm", "input_layernorm", "H"),
            _weight("attn_qkv", "self_attn.qkv_proj", "FH"),
            _weight("attn_output", "self_attn.o_proj", "HQ"),
            _SECOND_NORM,
            _weight("ffn_up", "mlp.gate_up_proj", "GH"),
            _weight("ffn_down", "mlp.down_proj", "HI"),
        ),
        settings=frozenset({ROPE_LONG, ROPE_SHORT}),
    ),
}

READ_ARCHITECTURES = ("llama", *_OTHERS)

#: transformers' classes whose models have the same tensors as another's.
_SAME = {"MistralForCausalLM": _LLAMA.class_name}


def family_of(class_name: str, names: Container[str]) -> tuple[str, Architecture] | None:
    """What ``general.architecture`` says of a transformers class whose tensors have these names; None if unknown."""
    class_name = _SAME.get(class_name, class_name)
    if class_name == _LLAMA.class_name:
        return "llama", _LLAMA_WITH_BIASES if "model.layers.0.self_attn.q_proj.bias" in names else _LLAMA
    if class_name == _MIXTRAL.class_name:
        return "llama", _MIXTRAL
    found = (item for item in _OTHERS.items() if item[1].class_name == class_name)
    return next(found, None)


#: transformers' classes that :func:`family_of` knows.
KNOWN_CLASSES = (_LLAMA.class_name, *_SAME, _MIXTRAL.class_name, *(other.class_name for other in _OTHERS.values()))


def architecture_of(gguf: Gguf) -> Architecture:
    """The architecture of a file; BadSource naming it if it is not read."""
    name = gguf.field("general.architecture", str)
    if name == "llama":
        if gguf.optional("llama.expert_count", int):
            return _MIXTRAL
        return _LLAMA_WITH_BIASES if "blk.0.attn_q.bias" in gguf.tensors else _LLAMA
    if name not in _OTHERS:
        raise gguf.refuse(
            f"models of architecture {name[:100]!r} are not read from GGUF files; {', '.join(READ_ARCHITECTURES)} are",
            hint="give the model as a Hugging Face directory with safetensors files",
        )
    return _OTHERS[name]


def is_tied(gguf: Gguf) -> bool:
    """Whether the embedding serves as the output layer too."""
    return "output.weight" not in gguf.tensors


def tensors_of(gguf: Gguf, architecture: Architecture, sizes: Sizes) -> tuple[tuple[TensorSpec, GgufRows], ...]:
    """Every tensor of the model and how it is read, in the order of the file's bytes.

    Raises: BadSource if the file's tensors are not exactly those of the architecture, in its sizes.
    """
    made: list[tuple[TensorSpec, GgufRows]] = []
    used = set(architecture.settings)
    for part in parts_of(architecture, layers=sizes.layers, tied=is_tied(gguf)):
        tensor = gguf.tensors.get(part.theirs)
        wanted = tuple(sizes.extents[letter] for letter in part.shape)
        if tensor is None or _bare(tensor.shape) != _bare(wanted):
            found = "there is none" if tensor is None else f"it has {tensor.shape}"
            raise gguf.refuse(f"tensor {part.theirs!r} of shape {wanted} is needed, {found}")
        used.add(part.theirs)
        made += _tensors(gguf, architecture, sizes, part=part, tensor=tensor, shape=wanted)
        if len(made) > _MOST_TENSORS:
            raise gguf.refuse(f"it has more than the {_MOST_TENSORS} tensors that are read")
    for name in gguf.tensors:
        if name not in used:
            raise gguf.refuse(f"it has a tensor {name!r}, which no {architecture.class_name} of its sizes has")
    return tuple(sorted(made, key=lambda entry: entry[1].offset))


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without extents of 1, which a file may leave out."""
    return tuple(extent for extent in shape if extent != 1)


def parts_of(architecture: Architecture, *, layers: int, tied: bool) -> Iterator[Part]:
    """Every tensor of a model, in the order of the forward pass."""
    yield _weight("token_embd", "model.embed_tokens", "VH")
    for number in range(layers):
        for part in architecture.layer:
            yield Part(
                theirs=f"blk.{number}.{part.theirs}", ours=f"model.layers.{number}.{part.ours}", shape=part.shape
            )
    yield _weight("output_norm", "model.norm", "H")
    if not tied:
        yield _weight("output", "lm_head", "VH")


def is_permuted(architecture: Architecture, part: Part) -> bool:
    """Whether the rows of each head have other places there."""
    return architecture.permuted and (".attn_q." in part.theirs or ".attn_k." in part.theirs)


def is_raised(architecture: Architecture, part: Part) -> bool:
    """Whether one is added to each number there."""
    return architecture.raised and "norm" in part.theirs


def _tensors(
    gguf: Gguf, architecture: Architecture, sizes: Sizes, *, part: Part, tensor: GgufTensor, shape: tuple[int, ...]
) -> Iterator[tuple[TensorSpec, GgufRows]]:
    if part.shape[0] == "E" and len(shape) == 3:
        whole = rows_of(gguf, tensor, columns=shape[-1])
        for expert in range(shape[0]):
            yield _spec(part.ours.format(expert), shape[1:]), whole.part(start=expert * shape[1], count=shape[1])
        return
    if is_permuted(architecture, part):
        # A bias changes the places of single values.
        rows = rows_of(gguf, tensor, columns=shape[-1] if len(shape) > 1 else 1)
        _check_head(gguf, rows, sizes)
        yield _spec(part.ours, shape), replace(rows, head_rows=sizes.head_width)
        return
    rows = rows_of(gguf, tensor)
    yield _spec(part.ours, shape), replace(rows, raised=is_raised(architecture, part))


def _check_head(gguf: Gguf, rows: GgufRows, sizes: Sizes) -> None:
    if rows.block_type.length > 1 and rows.columns == 1:
        raise gguf.refuse(f"tensor {rows.name!r} is a vector of type {rows.block_type.name}, which is not read")
    if sizes.head_width * rows.row_bytes > _LARGEST_HEAD_BYTES:
        raise gguf.refuse(
            f"a head of tensor {rows.name!r} has {sizes.head_width * rows.row_bytes} bytes, "
            f"at most {_LARGEST_HEAD_BYTES} are read"
        )


def _spec(name: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name=name, dtype="BF16", shape=shape)
