"""Linear layers that servers make one of: they are given one scale for all of a weight, so it must be the same in each.

Source: the layers that llm-compressor 0.14.0.1 observes together, in whatever module they lie.
"""

from __future__ import annotations

from collections.abc import Collection

_FUSED = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
    ("w1", "w3"),
    ("q_a_proj", "kv_a_proj_with_mqa"),
    ("wq_a", "wkv_a_with_mqa"),
)


def fused_with(modules: Collection[str]) -> dict[str, tuple[str, ...]]:
    """For each module those that servers fuse, itself among them; itself alone where there are not all of them."""
    sets: dict[str, tuple[str, ...]] = {module: (module,) for module in modules}
    for module in modules:
        parent, dot, name = module.rpartition(".")
        for names in _FUSED:
            together = tuple(f"{parent}{dot}{one}" for one in names)
            if name in names and sets.keys() >= set(together):
                sets[module] = together
    return sets
