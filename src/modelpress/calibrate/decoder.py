"""A model's decoder built from its config alone: no weight is in memory but those of the block at work.

transformers supplies the forward of each block, and whatever comes before the first: positions, masks, the scaling of
embeddings. Its modules are made on the meta device; a block's weights are put in when its turn comes, then taken out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from modelpress.calibrate.experts import separate
from modelpress.errors import Unsupported

#: What a config says for the code that comes with a model, which is never run.
_REMOTE = ("auto_map",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the decoder gives a block besides the hidden states; it depends on the shape of the batch alone."""

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]

    def to(self, device: torch.device) -> Call:
        """The same on another device."""
        return Call(arguments=_on(device, self.arguments), keywords=_on(device, self.keywords))


def _on(device: torch.device, value: Any) -> Any:
    """``value`` with all tensors in it on the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple | list):
        return type(value)(_on(device, part) for part in value)
    if isinstance(value, Mapping):
        return {key: _on(device, part) for key, part in value.items()}
    return value


class Decoder:
    """The decoder of a causal language model. ``blocks`` are its layers in order, their weights on meta.

    Raises: Unsupported if transformers does not know the model's type, or nothing in it looks like a decoder.
    """

    def __init__(self, config: Mapping[str, Any], *, dtype: torch.dtype, device: torch.device) -> None:
        model = _on_meta(config, dtype)
        separate(model)
        self.dtype, self.device = dtype, device
        self._inner = _inner_of(model, str(config.get("model_type")))
        names = {module: name for name, module in model.named_modules()}
        embedding = self._inner.get_input_embeddings()
        self.embedding_name = f"{names[embedding]}.weight"
        self.blocks: Sequence[nn.Module] = list(self._inner.layers)
        #: The blocks' names in the model: what their tensors' names begin with in a checkpoint.
        self.names: Sequence[str] = [names[block] for block in self.blocks]
        #: Of all that a calibrated run reads: the embedding and the blocks.
        self._shapes: dict[str, tuple[int, ...]] = {
            name: tuple(parameter.shape)
            for name, parameter in model.named_parameters()
            if name == self.embedding_name or name.startswith(tuple(f"{block}." for block in self.names))
        }
        self.hidden_size: int = embedding.weight.shape[1]
        for buffer_name, buffer in list(self._inner.named_buffers()):
            if not buffer.is_meta:
                owner, _, last = buffer_name.rpartition(".")
                setattr(self._inner.get_submodule(owner), last, buffer.to(device))

    @property
    def parameter_names(self) -> Set[str]:
        """Of the embedding and the blocks, in the whole model."""
        return self._shapes.keys()

    def shape_of(self, parameter: str) -> tuple[int, ...]:
        """What the config says of a parameter."""
        return self._shapes[parameter]

    def shapes_of(self, block: str) -> dict[str, tuple[int, ...]]:
        """A block's parameters by their names in it."""
        prefix = f"{block}."
        return {name.removeprefix(prefix): shape for name, shape in self._shapes.items() if name.startswith(prefix)}

    def embed(self, tokens: Tensor, rows: Tensor) -> tuple[Tensor, list[Call]]:
        """The hidden states before the first block, and each block's :class:`Call`.

        Shapes: tokens [samples, length] count rows of ``rows`` [n, hidden], which are the embedding's rows of the
        tokens that occur -> [samples, length, hidden].
        """
        entered: list[tuple[Tensor, Call]] = []
        embedding = self._inner.get_input_embeddings()
        with _put(embedding, {"weight": rows.to(self.device, self.dtype)}), self._recording(entered):
            # Padding is told by a token's number, which is another one here; there is none.
            embedding.padding_idx = None
            self._inner(input_ids=tokens.to(self.device), use_cache=False)
        return entered[0][0], [call for _, call in entered]

    @contextmanager
    def _recording(self, entered: list[tuple[Tensor, Call]]) -> Iterator[None]:
        """The decoder with blocks that only note what they are given, and nothing after them."""
        norm = getattr(self._inner, "norm", None)
        self._inner.layers = nn.ModuleList(_Recorder(block, entered) for block in self.blocks)
        if norm is not None:
            self._inner.norm = nn.Identity()
        try:
            yield
        finally:
            self._inner.layers = nn.ModuleList(self.blocks)
            if norm is not None:
                self._inner.norm = norm

    @contextmanager
    def loaded(self, number: int, weights: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        """A block with its weights, by their names in it; on leaving they are gone again."""
        block = self.blocks[number]
        with _put(block, {name: weights[name].to(self.device, self.dtype) for name in weights}):
            yield block


def run(block: nn.Module, hidden: Tensor, call: Call) -> Tensor:
    """The block's output.

    Shapes: [samples, length, hidden] -> the same.
    """
    output = block(hidden, *call.arguments, **call.keywords)
    return output[0] if isinstance(output, tuple) else output


class _Recorder(nn.Module):
    """Notes what a block is given, and passes it on."""

    def __init__(self, block: nn.Module, entered: list[tuple[Tensor, Call]]) -> None:
        super().__init__()
        self._entered = entered
        # Some decoders ask a block what kind of attention it has.
        for name in ("attention_type", "layer_type", "is_sliding"):
            if hasattr(block, name):
                setattr(self, name, getattr(block, name))

    def forward(self, hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        self._entered.append((hidden_states, Call(arguments=arguments, keywords=keywords)))
        return hidden_states


class _EmptyOnMeta(TorchFunctionMode):
    """Parameters begin as ``torch.empty``, which takes no memory here; buffers are computed, and stay real."""

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = dict(kwargs or {})
        if function is torch.empty:
            keywords["device"] = "meta"
        return function(*args, **keywords)


def _on_meta(config: Mapping[str, Any], dtype: torch.dtype) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    facts = {key: value for key, value in config.items() if key not in _REMOTE}
    model_type = facts.pop("model_type", None)
    try:
        known = AutoConfig.for_model(model_type, **facts)
        with _EmptyOnMeta():
            model = AutoModelForCausalLM.from_config(
                known, dtype=dtype, attn_implementation="sdpa", trust_remote_code=False
            )
    except Exception as exc:
        # transformers checks configs with whatever exception is at hand.
        raise Unsupported(
            f"transformers cannot build a causal language model of type {model_type!r}: {str(exc)[:200]}",
            hint="method rtn needs no forward pass",
        ) from exc
    return model.eval().requires_grad_(False)


def _inner_of(model: Any, model_type: str) -> Any:
    inner = model.get_decoder() if hasattr(model, "get_decoder") else None
    if inner is None or not isinstance(getattr(inner, "layers", None), nn.ModuleList) or not len(inner.layers):
        raise Unsupported(
            f"a model of type {model_type!r} has no decoder blocks that are called layers",
            hint="method rtn needs no forward pass",
        )
    return inner


@contextmanager
def _put(module: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """``module`` with these tensors as its parameters, by name; what was there before comes back."""
    before = {name: module.get_parameter(name) for name in weights}
    _register(module, {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in weights.items()})
    try:
        yield
    finally:
        _register(module, before)


def _register(module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in parameters.items():
        owner, _, last = name.rpartition(".")
        module.get_submodule(owner).register_parameter(last, parameter)
