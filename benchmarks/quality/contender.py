"""What every contender is to a worker, and the two ways in which the baselines draw rows from the stream.

B rows · T time · V vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from quality.meter import Meter

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Contender(Protocol):
    """A model with its way to train.

    Each contender's module has `load(job)`, which imports what it needs and isn't counted, and
    `build(job, texts) -> Contender`, which is.
    """

    facts: dict[str, Any]
    "Parameters, tokens a step, and what else should be known of the model."
    compile_seconds: float
    "What of the time of `build` went into compiling; functions compiled in the first steps are found by the meter."

    def train(self, meter: Meter) -> None:
        """Do the steps that the job plans, telling `meter` of each; stop early when `meter.is_over`."""
        ...

    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Return the scores (B, T, V) of the token after each, without gradient; tokens are int64."""
        ...


def random_rows(stream: np.ndarray, shape: tuple[int, int], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (tokens, targets), each (B, T), from random places of the stream, for ever: nanoGPT's way."""
    num_rows, seq_len = shape
    generator = np.random.default_rng(seed)
    while True:
        starts_B = generator.integers(0, len(stream) - seq_len, num_rows)
        yield _rows(stream, starts_B, seq_len)


def shuffled_rows(stream: np.ndarray, shape: tuple[int, int], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (tokens, targets), each (B, T), so that an epoch has every token once, in an order of its own."""
    num_rows, seq_len = shape
    generator = np.random.default_rng(seed)
    while True:
        shift = int(generator.integers(0, seq_len))
        starts = generator.permutation(np.arange(shift, len(stream) - seq_len, seq_len))
        for first in range(0, len(starts) - num_rows + 1, num_rows):
            yield _rows(stream, starts[first : first + num_rows], seq_len)


def _rows(stream: np.ndarray, starts_B: np.ndarray, seq_len: int) -> tuple[Tensor, Tensor]:
    places = starts_B[:, None] + np.arange(seq_len)
    tokens, targets = (torch.from_numpy(stream[part].astype(np.int64)) for part in (places, places + 1))
    return tokens, targets


def cosine_to_a_tenth(step: int, num_steps: int, warmup_steps: int) -> float:
    """Return nanoGPT's factor of the peak learning rate: linear warm-up, then a cosine that ends at 1/10."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = min(1.0, (step - warmup_steps) / max(1, num_steps - warmup_steps))
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))
