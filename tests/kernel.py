"""Tests of the C kernel: left out only where numpy was asked for; where the kernel should be and is not, they fail."""

from __future__ import annotations

import os

import pytest

needs_c = pytest.mark.skipif(os.environ.get("MODELPRESS_KERNEL") == "none", reason="numpy was asked for")
