"""The published law of repeated text, beside which our own penalty is shown: arXiv:2305.16264. No torch."""

from __future__ import annotations

import numpy as np

from headwater.scaling.arrays import FloatArray

NAME = "arXiv:2305.16264"
E, A, B, EXPONENT = 1.86914, 520.825, 1487.716, 0.3526596
HALF_LIFE_TOKENS, HALF_LIFE_PARAMS = 15.387756, 5.309743
"R_D* and R_N*: repeats, and parameters beyond the optimum, after which more is worth 1/e (equations 5 and 10)."
OPTIMAL_RATIO = (A / B) ** (1 / EXPONENT)
"Parameters a token of the law's own optimum on fresh text."


def repeated_loss(params: FloatArray, tokens: FloatArray, unique: float) -> FloatArray:
    """Return nats per token of runs that read `tokens` of a text of `unique` ones."""
    fresh = np.minimum(tokens, unique)
    fitting = np.minimum(params, OPTIMAL_RATIO * fresh)
    worth_tokens = _worth(fresh, tokens / fresh - 1, HALF_LIFE_TOKENS)
    worth_params = _worth(fitting, params / fitting - 1, HALF_LIFE_PARAMS)
    return np.asarray(E + A / worth_params**EXPONENT + B / worth_tokens**EXPONENT)


def _worth(first: FloatArray, repeats: FloatArray, half_life: float) -> FloatArray:
    """Return how many fresh ones `first` and its `repeats` are worth."""
    return first * (1 + half_life * -np.expm1(-repeats / half_life))
