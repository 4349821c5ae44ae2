"""What every test of torch code needs: one thread, since tiny matrices gain nothing by two, and repeated examples."""

from __future__ import annotations

import os

import hypothesis
import torch

torch.set_num_threads(1)
hypothesis.settings.register_profile("repeat", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))
