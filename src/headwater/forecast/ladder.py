"""The rungs of a run's ladder: smaller models of the same make. No torch; scaling.design chooses among them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headwater.model.settings import ModelSettings

MIN_RUNG_STEPS = 60  # fewer updates are mostly warm-up and decay
# so many make no run too good by its steepest part: rungs of 63 steps forecast one of 356 by 5 % too low, rungs of 178
# and more by 1.4 (docs/log.md, 2026-11-28). A short run has rungs of a quarter of its steps
ENOUGH_STEPS, ENOUGH_SHARE = 100, 0.25
SCALES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)
TOKEN_SHARES = tuple(2 ** (-half / 2) for half in range(0, 15))


@dataclass(frozen=True)
class Rung:
    """One run: its shape, its length, and what it takes."""

    num_layers: int
    d_model: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    d_ff: int
    num_steps: int
    params: float
    tokens: float
    flops: float
    seconds: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.num_layers, self.d_model

    @property
    def name(self) -> str:
        return f"{self.num_layers}x{self.d_model}-{self.num_steps}"


def min_rung_steps(num_steps: int) -> int:
    """Return the fewest steps of a rung of a run of so many."""
    return max(MIN_RUNG_STEPS, min(ENOUGH_STEPS, int(ENOUGH_SHARE * num_steps)))


def scaled_shapes(model: ModelSettings) -> list[ModelSettings]:
    """Return smaller models of the same make, the model itself first: fewer heads as wide, or one that is narrower."""
    shapes: dict[tuple[int, int], ModelSettings] = {}
    for scale in SCALES:
        width = _scaled_width(model, scale)
        for depth in (scale, 1.0, math.sqrt(scale)):
            num_layers = max(min(2, model.num_layers), round(model.num_layers * depth))
            shape = model.model_copy(update={"num_layers": num_layers, **width})
            shapes.setdefault((num_layers, shape.d_model), shape)
    return list(shapes.values())


def _scaled_width(model: ModelSettings, scale: float) -> dict[str, int]:
    group = model.num_heads // model.num_kv_heads
    num_heads, head_dim = max(1, round(model.num_kv_heads * scale)) * group, model.head_dim
    if model.num_kv_heads == 1:
        head_dim = max(8, round(head_dim * scale / 8) * 8)
    ratio = num_heads * head_dim / (model.num_heads * model.head_dim)
    return {
        "d_model": max(2, round(model.d_model * ratio)),
        "num_heads": num_heads,
        "num_kv_heads": num_heads // group,
        "head_dim": head_dim,
        "d_ff": max(32, round(model.d_ff * ratio / 32) * 32) if ratio < 1 else model.d_ff,
    }
