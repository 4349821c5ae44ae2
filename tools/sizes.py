"""Fails when a module is over 600 lines or a function over 60: past that, an idea is missing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST_MODULE_LINES = 600
LONGEST_FUNCTION_LINES = 60


def complaints(path: Path) -> Iterator[str]:
    """What is too long in the Python file at ``path``."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > LONGEST_MODULE_LINES:
        yield f"{path}: {lines} lines, more than {LONGEST_MODULE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, more than {LONGEST_FUNCTION_LINES}"


def main() -> int:
    """0 if all is well."""
    files = [path for folder in ("src", "tests", "tools", "benchmarks") for path in sorted(Path(folder).rglob("*.py"))]
    found = [complaint for path in files for complaint in complaints(path)]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
