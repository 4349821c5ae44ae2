"""Tensors of torch and the bytes that files hold, by the names safetensors gives to dtypes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelpress.tensors.checkpoint import SourceTensor
from modelpress.tensors.folder import Folder
from modelpress.tensors.rows import Workbench

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def read_tensor(tensor: SourceTensor, folder: Folder, bench: Workbench) -> Tensor:
    """The whole tensor, on the CPU; its dtype is one of ``DTYPES``.

    Raises: BadSource if the source ends early, or cannot be read.
    """
    return read_rows(tensor, folder, bench, start=0, count=tensor.rows.count).reshape(tensor.spec.shape)


def read_rows(tensor: SourceTensor, folder: Folder, bench: Workbench, *, start: int, count: int) -> Tensor:
    """``count`` rows of the tensor from ``start`` on.

    Shapes: -> [count, columns].
    """
    buffer = np.empty(count * tensor.rows.row_bytes, dtype=np.uint8)
    tensor.rows.read(folder, start=start, buffer=buffer, bench=bench)
    return torch.from_numpy(buffer).view(DTYPES[tensor.spec.dtype]).reshape(count, -1)


def bytes_of(tensor: Tensor) -> NDArray[np.uint8]:
    """The tensor's numbers as they lie in a file, whatever device it is on."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
