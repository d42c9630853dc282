"""The order of rows: a permutation that is computed, not stored, and the same on every machine for ever.

No random state and no library's generator, whose stream may change with its version: an integer hash of our own,
frozen by golden vectors in the tests. A Feistel network is a bijection of [0, 4^h); walking along its cycle until
the value falls below n makes it one of [0, n) (Black and Rogaway, 2002).
"""

from __future__ import annotations

import numpy as np

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB
_NUM_ROUNDS = 6


def mix64(x: int) -> int:
    """Return the SplitMix64 hash of a 64-bit integer (Steele, Lea and Flood, 2014)."""
    x = (x + _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * _MULTIPLIER_1) & _MASK
    x = ((x ^ (x >> 27)) * _MULTIPLIER_2) & _MASK
    return x ^ (x >> 31)


def mix64_array(x: np.ndarray) -> np.ndarray:
    """Return mix64 of every element of a uint64 array."""
    x = x + np.uint64(_GOLDEN)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MULTIPLIER_1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MULTIPLIER_2)
    return x ^ (x >> np.uint64(31))


def order_key(seed: int, source: str, epoch: int) -> int:
    """Return the key of the permutation of one epoch of one source."""
    key = mix64(seed & _MASK)
    for byte in source.encode():
        key = mix64(key ^ byte)
    return mix64(key ^ mix64(epoch))


def permute(n: int, key: int, indices: np.ndarray) -> np.ndarray:
    """Return the place of each of these in the permutation of [0, n) that `key` chooses, as int64."""
    values = np.asarray(indices).astype(np.uint64)
    if values.size and int(values.max()) >= n:
        raise IndexError(f"index {int(values.max())} is not in [0, {n})")
    half_bits = max(1, ((n - 1).bit_length() + 1) // 2)
    shift, low = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    round_keys = [np.uint64(mix64(key ^ (number + 1))) for number in range(_NUM_ROUNDS)]
    outside = np.arange(values.size)
    while outside.size:
        left, right = values[outside] >> shift, values[outside] & low
        for round_key in round_keys:
            left, right = right, left ^ (mix64_array(right ^ round_key) & low)
        values[outside] = (left << shift) | right
        outside = outside[values[outside] >= n]
    return values.astype(np.int64)
