"""The package's build hook: compiles the tensor core's C kernel into the wheel, or beside its source for -e installs.

CC                       the compiler to use; else cc, gcc or clang of PATH, else ziglang's from PyPI
MODELPRESS_KERNEL=none   build without the kernel: a wheel for any platform, where numpy does the work
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_FOLDER = "src/modelpress/tensors/kernel"

# No -march=native: the wheel runs on other machines, whose better instructions kernel/dispatch.h sees to.
# No contraction and no fast-math: the bytes are the numpy twin's.
# Nobody looks at floating-point exceptions, so both sides of a choice may be computed: such loops become vectors.
# A square root tells nobody of an error, so that it is one instruction and needs no library of mathematics.
_FLAGS = (
    *("-O3", "-std=c11", "-ffp-contract=off", "-fno-fast-math", "-fno-trapping-math", "-fno-math-errno"),
    *("-fvisibility=hidden", "-fPIC"),
)


class KernelBuildHook(BuildHookInterface[Any]):
    """Called by hatchling for every wheel, editable ones too."""

    def dependencies(self) -> list[str]:
        """ziglang, only where no C compiler is found."""
        return ["ziglang"] if _wanted() and _system_compiler() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have the library taken into a wheel of this platform."""
        library = Path(self.root, _FOLDER, "modelpress_kernel" + (".dylib" if sys.platform == "darwin" else ".so"))
        if not _wanted():
            # One from an earlier build must not slip into a wheel that claims to fit every platform.
            library.unlink(missing_ok=True)
            return
        _compile(sorted(Path(self.root, _FOLDER).glob("*.c")), library)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"
        build_data["artifacts"].append(f"{_FOLDER}/{library.name}")


def _wanted() -> bool:
    return os.environ.get("MODELPRESS_KERNEL") != "none"


def _system_compiler() -> list[str] | None:
    stated = os.environ.get("CC")
    if stated:
        return shlex.split(stated)
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return [found]
    return None


def _compiler() -> list[str]:
    found = _system_compiler()
    if found is not None:
        return found
    if importlib.util.find_spec("ziglang") is None:
        raise RuntimeError(
            "no C compiler: neither CC, cc, gcc, clang nor ziglang is there. Install one, or set "
            "MODELPRESS_KERNEL=none to build without the kernel (slower, same results)."
        )
    # Unlike other compilers, zig builds for the very processor it runs on unless told otherwise.
    return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]


def _compile(sources: Sequence[Path], library: Path) -> None:
    """One object a source, by all cores, then the library; it knows what sources it is of (see kernel/library.py)."""
    digest = f'-DMODELPRESS_SOURCES="{sources_digest(library.parent)}"'
    # Beside and renamed: a running process may have the old library mapped.
    partial = library.with_suffix(f".{os.getpid()}.partial")
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as executor:
        objects = [Path(scratch, f"{source.stem}.o") for source in sources]
        # The largest takes longest: it is begun first.
        pairs = sorted(zip(sources, objects, strict=True), key=lambda pair: -pair[0].stat().st_size)
        commands = [[*_FLAGS, digest, "-c", "-o", str(made), str(source)] for source, made in pairs]
        list(executor.map(_run, commands))
        _run(["-shared", "-fPIC", "-o", str(partial), *map(str, objects)])
    partial.replace(library)


def _run(arguments: Sequence[str]) -> None:
    command = [*_compiler(), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise RuntimeError(f"the C compiler could not be started: {shlex.join(command)}: {exc.strerror}") from exc
    if done.returncode != 0:
        raise RuntimeError(f"compiling the kernel failed: {shlex.join(command)}\n{done.stdout}{done.stderr}")


def sources_digest(folder: Path) -> str:
    """Of all C sources in ``folder``, as kernel/library.py computes it."""
    digest = hashlib.sha256()
    for source in sorted(folder.glob("*.[ch]")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
