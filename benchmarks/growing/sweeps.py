"""The sweeps: one size varies at a time, around a base shape, over a factor of at least 8. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from job import Shape

HEAD_DIM = 64  # of every point, so that width alone changes with the width

BASE = Shape(num_layers=4, num_heads=4, d_model=256, seq_len=512, vocab_size=8192, rows=8)
LONG_TOKENS = 8192  # of a step in the sweep over sequences of constant tokens
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)


@dataclass(frozen=True)
class Sweep:
    """Points along one size, and the powers of it in which theory writes a step's time and memory."""

    name: str
    what: str  # heading of the column
    values: tuple[int, ...]
    shape_of: Callable[[Shape, int], Shape]
    time_powers: tuple[int, ...]
    memory_powers: tuple[int, ...]

    def shapes(self, base: Shape) -> list[Shape]:
        return [self.shape_of(base, value) for value in self.values]


def _with_layers(base: Shape, num_layers: int) -> Shape:
    return replace(base, num_layers=num_layers)


def _with_width(base: Shape, width: int) -> Shape:
    return replace(base, d_model=width, num_heads=max(1, width // HEAD_DIM))


SWEEPS = (
    Sweep(
        "tokens",
        "tokens a step",
        tuple(512 * rows for rows in (1, 2, 4, 8, 16, 32)),
        lambda base, tokens: replace(base, rows=max(1, tokens // base.seq_len)),
        (0, 1),
        (0, 1),
    ),
    Sweep("layers", "layers", (1, 2, 4, 8, 12, 16), _with_layers, (0, 1), (0, 1)),
    # blocks' products grow with the square of the width, Muon's orthogonalisation with the cube
    Sweep("width", "width", (128, 256, 384, 512, 768, 1024), _with_width, (0, 1, 2, 3), (0, 1, 2)),
    Sweep(
        "sequence",
        f"sequence, {LONG_TOKENS:,} tokens a step",
        LENGTHS,
        lambda base, length: replace(base, seq_len=length, rows=max(1, LONG_TOKENS // length)),
        (0, 1),
        (0, 1),
    ),
    Sweep(
        "one-row",
        "sequence, one row a step",
        LENGTHS,
        lambda base, length: replace(base, seq_len=length, rows=1),
        (0, 1, 2),
        (0, 1),
    ),
    Sweep(
        "vocabulary",
        "vocabulary",
        (1024, 2048, 4096, 8192, 16384, 32768, 65536),
        lambda base, value: replace(base, vocab_size=value),
        (0, 1),
        (0, 1),
    ),
)
NAMES = tuple(sweep.name for sweep in SWEEPS)
