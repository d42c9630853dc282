"""The cost of repeated epochs: a penalty on the law of fresh text, and the published law beside which it is shown.

A run of N parameters that reads U tokens 1 + R times is worse than one of as many fresh tokens, by a factor of
1 + p R^DELTA (N / U)^KAPPA: it memorises its text, the sooner the larger it is. The form is that of arXiv:2605.01640,
relative to the loss so that it holds in any unit; the exponents were measured here (docs/log.md). How strong it is (p)
depends on rates, weight decay and text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.plan.scaling.table import MAX_EPOCHS, FloatArray

DELTA, KAPPA = 1.2, 0.8
MIN_EPOCHS, MAX_EPOCHS_TRIED, NUM_EPOCHS_TRIED = 2.0, 8.0, 61
LOSS_PER_LOG_TOKENS = 0.11  # by which the loss of first-light's model falls, relative


@dataclass(frozen=True)
class Strength:
    """The penalty's p: its median, and the standard deviation of its logarithm."""

    median: float
    log_deviation: float

    def best_epochs(self, params: float, unique: float) -> float:
        """Return the best epochs of a text of `unique` tokens, from 2 to 8: where more bring what they cost."""
        epochs = np.linspace(MIN_EPOCHS, MAX_EPOCHS_TRIED, NUM_EPOCHS_TRIED)
        cost = np.log1p(self.median * penalty(np.array(float(params)), epochs * unique, unique))
        return float(epochs[np.argmin(cost - LOSS_PER_LOG_TOKENS * np.log(epochs))])


OWN = Strength(0.012, 0.45)
"Of headwater's own small runs with Muon (docs/log.md)."
MEASURED_RATIO, MEASURED_EPOCHS = 0.7, 14.0
"Parameters a unique token, and epochs, up to which that of published runs was measured."
USUAL = Strength(0.009, 0.7)
"Of rows of which nothing else is known: OWN and that of arXiv:2305.16264's runs, 0.0045, lie within it."


def penalty(params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
    """Return R^DELTA (N / U)^KAPPA, which the strength multiplies; 0 where the text is not read to its end."""
    read = np.minimum(tokens, unique)
    repeats = np.maximum(tokens / read - 1, 0.0)
    return np.asarray(repeats**DELTA * (params / read) ** KAPPA)


NAME = "arXiv:2305.16264"
E, A, B, EXPONENT = 1.86914, 520.825, 1487.716, 0.3526596
HALF_LIFE_TOKENS, HALF_LIFE_PARAMS = 15.387756, 5.309743
"R_D* and R_N*: repeats, and parameters beyond the optimum, after which more is worth 1/e (equations 5 and 10)."
NEARLY_NEW = 4.0
"Epochs that its authors found to be nearly as good as new text; at 16 a token is worth about a third as much."
OPTIMAL_RATIO = (A / B) ** (1 / EXPONENT)  # parameters a token of that law's own optimum on fresh text


def repeated_loss(params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
    """Return nats per token by arXiv:2305.16264 of runs that read `tokens` of a text of `unique` ones.

    Parameters beyond what the whole text carries are worth less in the first epoch, too.
    """
    fresh = np.minimum(tokens, unique)
    worth_tokens = _worth(fresh, tokens / fresh - 1, HALF_LIFE_TOKENS)
    return np.asarray(E + A / worth_params(params, unique) ** EXPONENT + B / worth_tokens**EXPONENT)


def worth_params(params: FloatArray, unique: FloatArray | float) -> FloatArray:
    """Return how many parameters a model is worth on a text of `unique` tokens."""
    fitting = np.minimum(params, OPTIMAL_RATIO * unique)
    return _worth(fitting, params / fitting - 1, HALF_LIFE_PARAMS)


def most_epochs(params: float, unique: float) -> float:
    """Return the most epochs of a text that help: 16 where that law was measured.

    Of models with twice as many parameters a token or more, what headwater's own runs show, 2 to 8; in between from
    one to the other.
    """
    beyond = math.log2(max(1.0, params / (MEASURED_RATIO * unique)))
    if beyond == 0:
        return MAX_EPOCHS
    share = min(1.0, beyond)
    return float(MAX_EPOCHS ** (1 - share) * OWN.best_epochs(params, unique) ** share)


def says_of(most_epochs: float) -> str:
    """Say what epochs of a text are worth, of which at most so many help."""
    less = f" and up to about {most_epochs:.2g} less and less" if most_epochs > NEARLY_NEW else ""
    nearly = min(most_epochs, NEARLY_NEW)
    return f"up to {nearly:.2g} epochs count nearly as new text{less}; beyond that a model of this size memorises it"


def _worth(first: FloatArray, repeats: FloatArray, half_life: float) -> FloatArray:
    """Return how many fresh ones `first` and its `repeats` are worth."""
    return first * (1 + half_life * -np.expm1(-repeats / half_life))
