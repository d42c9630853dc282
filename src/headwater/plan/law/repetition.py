"""What repeated text is worth: effective tokens of a run that reads its text several times (arXiv:2305.16264).

R* = 15.39 is the half-life the authors fitted. Held against their validation losses, the rise over one epoch is
reproduced at 4 epochs (+0.68 % for +0.65 %) and 7 (+1.5 for +1.7), optimistic at 14 (+3.5 for +4.9) and useless at
44 (+10 for +33): beyond 7 epochs there is no number here.
"""

from __future__ import annotations

import math

from headwater.errors import ConfigError

MAX_EPOCHS = 7.0
REPEAT_SCALE = 15.387756  # R_D*, of the published fit


def effective_tokens(tokens: float, epochs: float) -> float:
    """Return how many tokens of fresh text `tokens` in `epochs` readings are worth; raise ConfigError past 7 epochs."""
    if not 1 <= epochs <= MAX_EPOCHS:
        raise ConfigError(
            f"{epochs:g} epochs: the law of repeated data holds from 1 to about {MAX_EPOCHS:g} epochs; "
            "use more text or fewer tokens"
        )
    unique = tokens / epochs
    return unique * (1 + REPEAT_SCALE * (1 - math.exp(-(epochs - 1) / REPEAT_SCALE)))
