"""What calibration learns of a layer's inputs: sums over tokens, so that batches and devices add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

#: Tokens whose products are summed in one go.
_TOKENS_AT_ONCE = 8192


@dataclass(slots=True, kw_only=True)
class InputStatistics:
    """Of the inputs x [tokens, columns] that a group of linear layers shares, summed over the calibration's tokens."""

    tokens: int
    #: float32 [columns, columns]: the sum of x xᵀ.
    gram: Tensor
    #: float32 [columns]: the largest \\|x\\| of each column.
    largest: Tensor
    #: float32 [columns]: the sum of \\|x\\| of each column.
    magnitude: Tensor

    @classmethod
    def empty(cls, columns: int, *, device: torch.device) -> InputStatistics:
        """Of no tokens."""
        return cls(
            tokens=0,
            gram=torch.zeros(columns, columns, device=device),
            largest=torch.zeros(columns, device=device),
            magnitude=torch.zeros(columns, device=device),
        )

    def add(self, inputs: Tensor) -> None:
        """Count ``inputs`` [..., columns] in.

        The product of two bf16 numbers is exact in float32, in which it is summed: nothing is lost where a machine
        multiplies bf16 faster than float32, which is several times.
        """
        rows = inputs.reshape(-1, inputs.shape[-1])
        for part in rows.split(_TOKENS_AT_ONCE):
            wide = part.float()
            with _exact_products(part.dtype):
                self.gram.addmm_(wide.T, wide)
            sizes = wide.abs()
            torch.maximum(self.largest, sizes.amax(dim=0), out=self.largest)
            self.magnitude += sizes.sum(dim=0)
        self.tokens += len(rows)

    def merge(self, other: InputStatistics) -> None:
        """Count what another device saw in."""
        self.tokens += other.tokens
        self.gram += other.gram.to(self.gram.device)
        self.magnitude += other.magnitude.to(self.gram.device)
        torch.maximum(self.largest, other.largest.to(self.gram.device), out=self.largest)


@contextmanager
def _exact_products(dtype: torch.dtype) -> Iterator[None]:
    """Lets float32 products be taken by the units for shorter numbers, where the factors are exact in those.

    oneDNN's have bf16's 8 significant bits, CUDA's (TF32) 11; both sum in float32.
    """
    cpu, cuda = torch.backends.mkldnn.matmul, torch.backends.cuda.matmul
    before = cpu.fp32_precision, cuda.fp32_precision
    if dtype is torch.bfloat16:
        cpu.fp32_precision, cuda.fp32_precision = "bf16", "tf32"
    try:
        yield
    finally:
        cpu.fp32_precision, cuda.fp32_precision = before
