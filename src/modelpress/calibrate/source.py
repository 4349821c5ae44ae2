"""A checkpoint's tensors under the names of transformers' modules, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from modelpress.calibrate.architecture import stored_names
from modelpress.calibrate.decoder import Decoder
from modelpress.calibrate.tensor_bytes import DTYPES, read_rows, read_tensor
from modelpress.errors import Unsupported
from modelpress.tensors.checkpoint import Checkpoint, SourceTensor
from modelpress.tensors.experts import apart, split_experts
from modelpress.tensors.folder import Folder
from modelpress.tensors.rows import Workbench


class Source:
    """What a decoder is filled from. Experts that are fused in the checkpoint are read one by one."""

    def __init__(self, checkpoint: Checkpoint, decoder: Decoder, folder: Folder) -> None:
        self._folder, self._bench = folder, Workbench()
        tensors = apart(checkpoint.tensors, split_experts(checkpoint.tensors, checkpoint.config))
        by_name = {tensor.spec.name: tensor for tensor in tensors}
        names = stored_names(decoder.parameter_names, stored=by_name)
        self._tensors = {parameter: by_name[name] for parameter, name in names.items()}
        self._check(decoder)

    def _check(self, decoder: Decoder) -> None:
        missing = sorted(decoder.parameter_names - self._tensors.keys())
        if missing:
            raise Unsupported(
                f"{len(missing)} of the decoder's {len(decoder.parameter_names)} tensors are not in the checkpoint "
                f"under the names that transformers knows, first {missing[0]!r}",
                hint="method rtn needs no forward pass, and goes by the checkpoint's own names",
            )
        for parameter, tensor in self._tensors.items():
            if tensor.spec.dtype not in DTYPES:
                raise Unsupported(
                    f"{tensor.spec.name!r} is {tensor.spec.dtype}; the model's forward takes {', '.join(DTYPES)}"
                )
            expected = decoder.shape_of(parameter)
            if tensor.spec.shape != expected:
                raise Unsupported(
                    f"{tensor.spec.name!r} is {list(tensor.spec.shape)}; config.json says that it is {list(expected)}"
                )

    def names(self, block: str) -> dict[str, str]:
        """For each parameter of a block, by its name in it, the checkpoint's tensor."""
        return {name: tensor.spec.name for name, tensor in self._of(block).items()}

    def stored_bytes(self, block: str) -> int:
        """Bytes of a block's tensors in the checkpoint."""
        return sum(tensor.rows.stored_bytes for tensor in self._of(block).values())

    def weights(self, block: str) -> dict[str, Tensor]:
        """A block's tensors by their names in it, on the CPU.

        Raises: BadSource if the source ends early, or cannot be read.
        """
        return {name: read_tensor(tensor, self._folder, self._bench) for name, tensor in self._of(block).items()}

    def embedding_rows(self, decoder: Decoder, tokens: Sequence[int]) -> Tensor:
        """The embedding's rows of these tokens: [tokens, hidden]. The rest is not read."""
        tensor = self._tensors[decoder.embedding_name]
        last = tokens[-1] if tokens else 0
        if last >= tensor.spec.shape[0]:
            raise Unsupported(
                f"the tokenizer makes token {last}, and the embedding has {tensor.spec.shape[0]} rows",
                hint="the tokenizer's files may be of another model",
            )
        rows = [read_rows(tensor, self._folder, self._bench, start=token, count=1) for token in tokens]
        return torch.cat(rows)

    def _of(self, block: str) -> Mapping[str, SourceTensor]:
        prefix = f"{block}."
        return {name.removeprefix(prefix): tensor for name, tensor in self._tensors.items() if name.startswith(prefix)}
