"""What a program with an SDK gets in its environment: the address, the keys, and nothing of this machine's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.acceptance.server import Server


def sdk_environment(folder: Path, *, server: Server, keys: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program at home in ``folder``."""
    return {
        "HOME": str(folder),
        "NO_PROXY": "127.0.0.1",
        "PYTHONIOENCODING": "utf-8",
        "QIANFAN_CONSOLE_API_BASE_URL": server.url,
        "QIANFAN_ACCESS_KEY": keys["accessKey"],
        "QIANFAN_SECRET_KEY": keys["secretKey"],
    }
