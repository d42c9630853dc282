"""Rows of ids as tensors of few different shapes.

A processor compiles its matrix products for every number of tokens that it meets, and keeps them: about half a megabyte
a weight matrix. Prompts at their own lengths once took more memory than the weights of their model (docs/log.md,
2026-11-25, Memory of a whole run).

B batch · T time
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BATCH_TOKENS = 4096  # of one forward pass; without a gradient it holds about what a training step of 2048 does
LEAST_TOKENS = 8  # prompts and choices of the probes have 8 to 16: filled up to 32, probes took 2.5 times as long
PADDING_DOCUMENT = -1


def rounded(number: int, least: int = 1) -> int:
    """Return the smallest power of two that is at least `number` and `least`, itself a power of two."""
    return max(least, 1 << (number - 1).bit_length())


def padded_width(longest: int, max_tokens: int) -> int:
    """Return the tokens of a padded row whose own are `longest`; a model takes `max_tokens`."""
    return min(max_tokens, rounded(longest, LEAST_TOKENS))


def padded_rows(rows: Sequence[list[int]], max_tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (tokens_BT, documents_BT) of rows that begin at the left, of each its last `max_tokens` ids.

    The first rows are those given; they and the columns are filled up to a power of two with a document of their own.
    """
    width = padded_width(max(map(len, rows)), max_tokens)
    tokens = np.zeros((rounded(len(rows)), width), dtype=np.int64)
    documents = np.full(tokens.shape, PADDING_DOCUMENT, dtype=np.int64)
    for index, row in enumerate(rows):
        kept = row[-max_tokens:]
        tokens[index, : len(kept)] = kept
        documents[index, : len(kept)] = 0
    return torch.from_numpy(tokens).to(device), torch.from_numpy(documents).to(device)
