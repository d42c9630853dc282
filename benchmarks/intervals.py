"""Medians and bootstrap intervals of paired rounds. No torch."""

from __future__ import annotations

import numpy as np

NUM_RESAMPLES = 10_000


def ratio_interval(mine: list[float], theirs: list[float], seed: int = 0) -> dict[str, float]:
    """Return how many times faster `mine` is: the median over rounds of theirs / mine, both seconds a step.

    {ratio, low, high}: the bounds are the 2.5 and 97.5 percentiles of that median over rounds drawn with replacement.
    Rounds are pairs measured one after the other, so that a machine that slows down slows both.
    """
    ratios = np.asarray(theirs, dtype=np.float64) / np.asarray(mine, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(ratios), size=(NUM_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], axis=1), [2.5, 97.5])
    return {"ratio": float(np.median(ratios)), "low": float(low), "high": float(high)}
