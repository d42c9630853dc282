"""Blocks of 32 values of a row with one scale in float16: llama.cpp's Q8_0 and Q4_0, to the bit."""

from __future__ import annotations

import numpy as np

BLOCK = 32
_Q8_0 = np.dtype([("scale", "<f2"), ("values", "i1", BLOCK)])
_Q4_0 = np.dtype([("scale", "<f2"), ("pairs", "u1", BLOCK // 2)])


def q8_0(rows: np.ndarray) -> np.ndarray:
    """Return float32 rows, whose length is a multiple of 32, in 8 bits a value; the largest of a block becomes 127."""
    blocks = rows.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1) / np.float32(127)
    scaled = blocks * _inverse(scale)[:, None]
    whole = np.trunc(scaled)
    found = np.empty(len(blocks), dtype=_Q8_0)
    found["scale"] = scale
    found["values"] = whole + np.trunc(2 * (scaled - whole))  # halves away from 0, as C rounds
    return found


def q4_0(rows: np.ndarray) -> np.ndarray:
    """Return float32 rows, whose length is a multiple of 32, in 4 bits a value; the furthest from 0 becomes -8."""
    blocks = rows.reshape(-1, BLOCK)
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)[:, 0]
    scale = furthest / np.float32(-8)
    values = np.minimum(blocks * _inverse(scale)[:, None] + np.float32(8.5), 15).astype(np.uint8)
    found = np.empty(len(blocks), dtype=_Q4_0)
    found["scale"] = scale
    found["pairs"] = values[:, : BLOCK // 2] | values[:, BLOCK // 2 :] << 4  # the second half in the high bits
    return found


def _inverse(scale: np.ndarray) -> np.ndarray:
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
