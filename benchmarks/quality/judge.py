"""Bits per byte of a held-out stream, the same code for every contender.

B rows · T time · V vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

NO_TARGET = -1
MAX_LOGITS = 1 << 25  # scores held at a time: 128 MB in fp32


def held_out_bits_per_byte(
    logits: Callable[[Tensor], Tensor], stream: np.ndarray, token_bytes: np.ndarray, seq_len: int
) -> float:
    """Return the nats of all targets that stand for bytes, over ln 2 × those bytes.

    The stream is cut into windows of `seq_len` that don't overlap; each token but the first is a target once, and the
    last window is filled up. Begin and end tokens stand for no byte and count neither as nats nor as bytes.
    """
    vocab_size = len(token_bytes)
    num_windows = -(-(len(stream) - 1) // seq_len)
    padded = np.zeros(num_windows * seq_len + 1, dtype=np.int64)
    padded[: len(stream)] = stream
    targets = np.full(num_windows * seq_len, NO_TARGET, dtype=np.int64)
    targets[: len(stream) - 1] = np.where(token_bytes[stream[1:]] > 0, stream[1:], NO_TARGET)
    tokens_NT = torch.from_numpy(padded[:-1].reshape(num_windows, seq_len))
    targets_NT = torch.from_numpy(targets.reshape(num_windows, seq_len))
    rows = max(1, MAX_LOGITS // (seq_len * vocab_size))
    nats = 0.0
    for first in range(0, num_windows, rows):
        tokens_BT, targets_BT = tokens_NT[first : first + rows], targets_NT[first : first + rows]
        logits_NV = logits(tokens_BT).flatten(0, 1).float()
        losses_N = F.cross_entropy(logits_NV, targets_BT.flatten(), ignore_index=NO_TARGET, reduction="none")
        nats += float(losses_N.double().sum())
    return nats / (math.log(2) * int(token_bytes[stream[1:]].sum()))
