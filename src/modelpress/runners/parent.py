"""Dying with one's parent: what keeps a killed server from leaving orphans behind.

The process asks for it itself, at its start. (Asking between fork and exec needs ``preexec_fn``, which is not safe in a
program with threads.) A parent that died before the asking is found by its number.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: How often the parent is looked for where the kernel cannot tell of its death.
_POLL_SECONDS = 0.2


def die_with_parent(parent: int, *, by: signal.Signals) -> None:
    """From now on, get signal ``by`` when process ``parent`` dies; at once, if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent, by), daemon=True).start()
    if os.getppid() != parent:
        os.kill(os.getpid(), by)


def _watch(parent: int, by: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), by)
