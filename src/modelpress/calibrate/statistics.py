"""What calibration learns of a layer's inputs: sums over tokens, so that batches and devices add up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: Tokens whose products are summed in one go.
_TOKENS_AT_ONCE = 2048
#: Columns whose products with those after them are summed in one go. Smaller panels save more of the half that is not
#: needed, and are slower: this is the fastest from 576 columns to 4096.
_PANEL = 256


class InputStatistics:
    """Of the inputs x [tokens, columns] that a group of linear layers shares, summed over the calibration's tokens."""

    def __init__(self, columns: int, *, device: torch.device) -> None:
        self.tokens = 0
        # Of a symmetric matrix half is summed: panels of rows, each from its first row's place on the diagonal on.
        self._sums = torch.zeros(columns, columns, device=device)
        self._mirrored = True

    @property
    def gram(self) -> Tensor:
        """float32 [columns, columns]: the sum of x xᵀ."""
        if not self._mirrored:
            for start in range(0, len(self._sums), _PANEL):
                stop = start + _PANEL
                self._sums[stop:, start:stop] = self._sums[start:stop, stop:].T
            self._mirrored = True
        return self._sums

    def add(self, inputs: Tensor) -> None:
        """Count ``inputs`` [..., columns] in.

        The product of two bf16 numbers is exact in float32, in which it is summed: nothing is lost where a machine
        multiplies bf16 faster than float32, which is several times.
        """
        rows = inputs.reshape(-1, inputs.shape[-1])
        for part in rows.split(_TOKENS_AT_ONCE):
            wide = part.float()
            with _exact_products(part.dtype):
                for start in range(0, wide.shape[1], _PANEL):
                    stop = start + _PANEL
                    self._sums[start:stop, start:].addmm_(wide[:, start:stop].T, wide[:, start:])
        self.tokens += len(rows)
        self._mirrored = False

    def divided_by(self, divisors: Tensor) -> InputStatistics:
        """Of the same inputs with their columns divided; ``divisors`` is float32 [columns]."""
        found = InputStatistics(0, device=divisors.device)
        found.tokens = self.tokens
        found._sums = self.gram / divisors / divisors[:, None]
        return found

    def merge(self, other: InputStatistics) -> None:
        """Count what another device saw in."""
        self.tokens += other.tokens
        self._sums += other._sums.to(self._sums.device)
        self._mirrored = False


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
