"""What repeated text is worth: effective tokens of a run that reads its text several times (arXiv:2305.16264).

R* = 15.39 is the half-life the authors fitted. Held against their validation losses, the rise over one epoch is
reproduced at 4 epochs (+0.68 % for +0.65 %) and 7 (+1.5 for +1.7), optimistic at 14 (+3.5 for +4.9) and useless at
44 (+10 for +33): beyond 7 epochs there is no number here.
"""

from __future__ import annotations

import math

import numpy as np

from headwater.errors import ConfigError
from headwater.plan.arrays import FloatArray

MAX_EPOCHS = 7.0
REPEAT_SCALE = 15.387756  # R_D*, of the published fit
EXCESS_SCALE = 5.309743  # R_N*, of the same
PARAMS_PER_TOKEN = (520.825 / 1487.716) ** (1 / 0.3526596)  # compute-optimal, by the same fit: 1 for 19.6 tokens


def effective_tokens(tokens: float, epochs: float) -> float:
    """Return how many tokens of fresh text `tokens` in `epochs` readings are worth; raise ConfigError past 7 epochs."""
    if not 1 <= epochs <= MAX_EPOCHS:
        raise ConfigError(
            f"{epochs:g} epochs: the law of repeated data holds from 1 to about {MAX_EPOCHS:g} epochs; "
            "use more text or fewer tokens"
        )
    unique = tokens / epochs
    return unique * (1 + REPEAT_SCALE * (1 - math.exp(-(epochs - 1) / REPEAT_SCALE)))


def worth(tokens: FloatArray, unique: float) -> FloatArray:
    """Return what each number of tokens is worth, read from a text of `unique` ones; unchecked beyond 7 epochs."""
    if math.isinf(unique):
        return tokens
    again = np.maximum(tokens / unique - 1, 0.0)
    return np.asarray(np.minimum(tokens, unique) + unique * REPEAT_SCALE * (1 - np.exp(-again / REPEAT_SCALE)))


def worth_of_params(params: FloatArray, unique: float) -> FloatArray:
    """Return what parameters are worth on a text of `unique` tokens: those beyond its compute-optimal size decay.

    The other half of the law (arXiv:2305.16264): however large, a model is worth 6.3 times that size at most.
    """
    if math.isinf(unique):
        return params
    fitting = np.minimum(params, PARAMS_PER_TOKEN * unique)
    excess = params / fitting - 1
    return np.asarray(fitting * (1 + EXCESS_SCALE * (1 - np.exp(-excess / EXCESS_SCALE))))
