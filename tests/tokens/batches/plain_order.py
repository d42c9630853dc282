"""The order of rows told plainly, one integer at a time, to be compared with."""

from __future__ import annotations

from headwater.tokens.batches.order import mix64


def permuted(n: int, key: int, index: int) -> int:
    """Return the place of `index` in the permutation of [0, n): six rounds of a Feistel network, until one is below n."""
    half = 1
    while 4**half < n:
        half += 1
    value = index
    while True:
        left, right = divmod(value, 2**half)
        for number in range(1, 7):
            left, right = right, left ^ mix64(right ^ mix64(key ^ number)) % 2**half
        value = left * 2**half + right
        if value < n:
            return value
