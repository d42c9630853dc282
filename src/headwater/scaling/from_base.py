"""What a run from a base ends at, by short runs of it that each end in a decay of their own.

Bits per byte of new text fall on along the line of the last two short runs over the logarithm of tokens; those of old
text along the power law of all of them. On two texts, with old text read again and without, that was 3.5 and 1.3 % off,
where the last short run's own value was 24 and 6 % (docs/log.md, 2026-11-29). What was worse: a power law anchored at
the base's value, and what is learned or forgotten since the base as a power of tokens (arXiv:2502.06042).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

OF_STEP, OF_RUN = 0.15, 0.02
"Deviation: of the change since the last short run, and of any run."


def new_text_after(tokens: float, short: Sequence[float], bits: Sequence[float]) -> tuple[float, float]:
    """Return the median of bits per byte of new text after so many tokens, and the deviation of its logarithm.

    `short` runs had so many tokens, the most last, and reached `bits`.
    """
    slope = (bits[-1] - bits[-2]) / math.log(short[-1] / short[-2])
    return _with_deviation(max(bits[-1] + slope * math.log(tokens / short[-1]), bits[-1] / 2), bits[-1])


def old_text_after(tokens: float, short: Sequence[float], bits: Sequence[float]) -> tuple[float, float]:
    """Return the same of the base's own text."""
    exponent, at_one = np.polyfit(np.log(short), np.log(bits), 1)
    return _with_deviation(math.exp(at_one + exponent * math.log(tokens)), bits[-1])


def _with_deviation(median: float, last: float) -> tuple[float, float]:
    return median, math.hypot(OF_RUN, OF_STEP * math.log(median / last))
