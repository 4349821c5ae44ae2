"""The C sources beside this file as the package's build left them: one library, one function an instruction set.

Called through ctypes, which lets other threads run.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from modelpress.tensors.grid import Grid

#: Where hatch_build.py puts the library.
PATH = Path(__file__).with_name("modelpress_kernel" + (".dylib" if sys.platform == "darwin" else ".so"))

#: numbers.h calls the grids so.
GRIDS = {Grid.BF16: 0, Grid.F16: 1, Grid.F32: 2}


class StaleLibrary(OSError):
    """The library was compiled from other sources than those beside it, and may give other bytes."""


class Library:
    """The loaded library, and the instruction set its functions are called for: the machine's widest unless told.

    Raises: OSError if it is not there or cannot be loaded on this machine, ValueError if the machine lacks the set.
    """

    def __init__(self, path: Path = PATH, *, instruction_set: str | None = None) -> None:
        self._loaded = ctypes.CDLL(str(path))
        _check(self._loaded, path.parent)
        name_of = self._loaded.modelpress_instruction_set
        name_of.restype = ctypes.c_char_p
        name_of.argtypes = [ctypes.c_int]
        names: list[str] = []
        while (name := name_of(len(names))) is not None:
            names.append(name.decode())
        #: What the machine has, in rising order.
        self.instruction_sets = tuple(names)
        self.instruction_set = instruction_set or names[-1]
        self._level = names.index(self.instruction_set)

    def function(self, name: str, *arguments: type) -> Callable[..., int]:
        """The exported function ``modelpress_<name>`` that takes these types of ctypes and returns an int64_t."""
        called = self._loaded[f"modelpress_{name}"]
        called.restype = ctypes.c_int64
        called.argtypes = [ctypes.c_int, *arguments]
        level = self._level

        def call(*values: object) -> int:
            result: int = called(level, *values)
            return result

        return call


def choose() -> Library | None:
    """The library, or None where numpy is to do its work.

    ``MODELPRESS_KERNEL`` in the environment asks for numpy (``none``) or for an instruction set; one that the machine
    lacks leaves it at its widest. A big-endian machine gets numpy: the C loads numbers as the machine does.
    """
    asked = os.environ.get("MODELPRESS_KERNEL")
    if asked == "none" or sys.byteorder == "big":
        return None
    try:
        widest = Library()
        return Library(instruction_set=asked) if asked in widest.instruction_sets else widest
    except StaleLibrary as exc:
        warnings.warn(
            f"{exc}: numpy does the work, more slowly; `pip install -e .` or `make` compiles it", stacklevel=2
        )
        return None
    except OSError:
        return None


def _check(loaded: ctypes.CDLL, folder: Path) -> None:
    """Nothing, if the library is of the sources in ``folder``, or none are there.

    Raises: StaleLibrary.
    """
    sources = sorted(folder.glob("*.[ch]"))
    stated = getattr(loaded, "modelpress_sources", None)
    found = b""
    if stated is not None:
        stated.restype = ctypes.c_char_p
        found = stated()
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    if sources and found.decode() != digest:
        raise StaleLibrary("the C kernel was compiled from other sources than those beside it")
