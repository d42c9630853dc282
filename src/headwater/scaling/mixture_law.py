"""The loss on each source by the mixture, learned from small runs, and the mixture that it speaks for. No torch.

The idea is RegMix's (Liu et al. 2024, arXiv 2407.01492): train small models on mixtures, regress their losses on the
weights, and take the mixture with the best forecast. The regression here is of the logarithm of each loss, by a
Gaussian process: a linear function of the weights, their roots or their logarithms and a smooth departure from it. Its
few numbers are those by which each run is forecast best from all others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import rankdata

from headwater.errors import ConfigError
from headwater.scaling.arrays import FloatArray

MIN_RUNS = 6
"Fewer can't be regressed on and held out one after another."
LOG_FLOORS = (0.02, 0.1, 0.4)  # what other sources teach of a source that is held out, about: unknown
WIDTHS = (4.0, 8.0, 16.0, 32.0)
NUM_SAMPLES, NUM_DRAWN, NUM_BEST = 200, 20_000, 100


def _logarithms(floor: float) -> Callable[[FloatArray], FloatArray]:
    return lambda weights: np.log(weights + floor)


SHAPES: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "weights": lambda weights: weights,
    "roots": np.sqrt,
    **{f"logarithms {floor:g}": _logarithms(floor) for floor in LOG_FLOORS},
}


@dataclass(frozen=True)
class _Kernel:
    """How alike the losses of two mixtures are before any is known, in units of the losses' variance.

    `linear` and `smooth` are the variances of the two parts, `length` the distance over which the second changes, in
    median distances of the runs, `noise` the variance of what follows no mixture.
    """

    shape: str
    linear: float
    smooth: float
    length: float
    noise: float

    def between(self, one: FloatArray, other: FloatArray, unit: float) -> FloatArray:
        """Return (ones, others) of features; `unit` is the runs' median distance."""
        squares = ((one[:, None] - other[None]) ** 2).sum(axis=2) / unit**2
        return self.linear * (one @ other.T) / unit**2 + self.smooth * np.exp(-squares / (2 * self.length**2))


KERNELS = tuple(
    _Kernel(shape, *rest)
    for shape in SHAPES
    for rest in product((0.0, 1.0, 10.0), (0.0, 0.1, 1.0), (0.5, 1.0, 2.0, 4.0), (1e-4, 1e-3, 1e-2, 0.1, 1.0))
    if rest[0] or rest[1]
)


@dataclass(frozen=True)
class MixtureLaw:
    """Losses of small runs as a function of their weights.

    sources        the names of the columns, of weights and of losses alike
    left_out_error the median relative error of a loss forecast from all other runs
    rank           how well forecasts from the others order the runs by each loss (Spearman; 1 is perfectly)
    """

    sources: tuple[str, ...]
    left_out_error: float
    rank: dict[str, float]
    _fits: tuple[_Fit, ...]

    def losses(self, weights: FloatArray) -> FloatArray:
        """Return the losses of mixtures: (mixtures, sources) → (mixtures, sources)."""
        return np.exp(self.log_losses(weights)[0])

    def log_losses(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the logarithms of the losses and their standard deviations, both (mixtures, sources)."""
        found = [fit.log_losses(weights) for fit in self._fits]
        return np.stack([middle for middle, _ in found], axis=1), np.stack([width for _, width in found], axis=1)


class _Fit:
    """The regression of one target's log losses."""

    def __init__(self, kernel: _Kernel, weights: FloatArray, logs: FloatArray) -> None:
        features = SHAPES[kernel.shape](weights)
        self._kernel, self._centre = kernel, features.mean(axis=0)
        self._features = features - self._centre
        self._unit = _median_distance(self._features)
        self._mean, self._scale = float(logs.mean()), float(logs.std()) or 1.0
        covariance = kernel.between(self._features, self._features, self._unit) + kernel.noise * np.eye(len(logs))
        self._inverse = inverse = np.linalg.inv(covariance)
        self._strengths = inverse @ ((logs - self._mean) / self._scale)
        # a run's error when it is held out, without fitting again (Rasmussen & Williams 2006, equation 5.12)
        self.left_out_errors = self._scale * self._strengths / np.diag(inverse)

    def log_losses(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the log losses of mixtures and their standard deviations."""
        kernel = self._kernel
        features = SHAPES[kernel.shape](weights) - self._centre
        shared = kernel.between(features, self._features, self._unit)
        own = kernel.linear * (features**2).sum(axis=1) / self._unit**2 + kernel.smooth
        known = np.einsum("ij,jk,ik->i", shared, self._inverse, shared)
        width = self._scale * np.sqrt(np.maximum(own - known, 0.0))
        return self._mean + self._scale * shared @ self._strengths, width


def _median_distance(features: FloatArray) -> float:
    squares = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    return float(np.sqrt(np.median(squares[np.triu_indices(len(features), 1)]))) or 1.0


def fit_mixture_law(sources: Sequence[str], weights: FloatArray, losses: FloatArray) -> MixtureLaw:
    """Return the law of runs with these weights and losses on each source, both (runs, sources).

    Raises ConfigError for fewer than MIN_RUNS runs.
    """
    if len(weights) < MIN_RUNS:
        raise ConfigError(f"{len(weights)} runs can't show how loss follows the mixture; train {MIN_RUNS} or more")
    logs = np.log(losses)
    fits = min(
        (tuple(_Fit(kernel, weights, logs[:, at]) for at in range(len(sources))) for kernel in KERNELS), key=_left_out
    )
    errors = np.stack([fit.left_out_errors for fit in fits], axis=1)
    rank = {name: _rank_correlation((logs - errors)[:, at], logs[:, at]) for at, name in enumerate(sources)}
    return MixtureLaw(tuple(sources), float(np.median(np.abs(np.expm1(errors)))), rank, fits)


def _left_out(fits: Sequence[_Fit]) -> float:
    """Return the mean error of runs held out: one kernel for all targets, since runs are few."""
    return float(np.mean([np.abs(fit.left_out_errors) for fit in fits]))


def _rank_correlation(one: FloatArray, other: FloatArray) -> float:
    ranks = np.vstack([rankdata(one), rankdata(other)])
    deviations = ranks.std(axis=1)
    return float(np.corrcoef(ranks)[0, 1]) if deviations.min() > 0 else 0.0


def draw_mixtures(base: FloatArray, most: FloatArray, count: int, chance: np.random.Generator) -> FloatArray:
    """Return mixtures around `base`, none with more of a source than `most`: (count, sources).

    Drawn from Dirichlet distributions of several widths around the roots of the base: small sources would hardly ever
    be tried much otherwise. None leaves a source out almost wholly, where losses bend most and matter least.
    """
    kept: list[FloatArray] = []
    num_kept = num_drawn = 0
    spread = np.sqrt(base) / np.sqrt(base).sum()
    while num_kept < count:
        widths = chance.choice(WIDTHS, size=count)
        gammas = chance.standard_gamma(np.maximum(widths[:, None] * spread, 0.05))
        drawn = gammas / gammas.sum(axis=1, keepdims=True)
        drawn = drawn[(drawn <= most + 1e-12).all(axis=1)]
        kept.append(drawn)
        num_kept, num_drawn = num_kept + len(drawn), num_drawn + count
        if num_drawn > 1000 * count:
            raise ConfigError(
                "the caps of epochs leave almost no mixture to choose from; raise mixture.max_epochs, train on fewer "
                "tokens, or give more text"
            )
    return np.concatenate(kept)[:count]


def choose_mixtures(base: FloatArray, drawn: FloatArray, count: int, chance: np.random.Generator) -> FloatArray:
    """Return `count` mixtures to train: the base, and of many samples of `drawn` the one that is spread most evenly.

    Evenly: its nearest two, by their roots, are furthest apart. Points chosen one by one for that would all lie at the
    edges, where sources are missing and losses follow no law of the inside.
    """
    samples = (
        np.vstack([base[None], drawn[chance.choice(len(drawn), count - 1, replace=False)]]) for _ in range(NUM_SAMPLES)
    )
    return max(samples, key=_least_distance)


def _least_distance(mixtures: FloatArray) -> float:
    roots = np.sqrt(mixtures)
    squares = ((roots[:, None] - roots[None]) ** 2).sum(axis=2)
    return float(squares[np.triu_indices(len(roots), 1)].min())


@dataclass(frozen=True)
class Proposal:
    """A mixture and what the law says of it: each target's loss, and the gain over the base in the objective."""

    weights: dict[str, float]
    losses: dict[str, float]
    base_losses: dict[str, float]
    gain: float


def propose(
    law: MixtureLaw, base: FloatArray, most: FloatArray, importance: Mapping[str, float], chance: np.random.Generator
) -> Proposal:
    """Return the mean of the best of many mixtures, by the weighted mean of the log losses and one deviation above.

    The mean, as in RegMix, and the deviation, because the single best is the one that the law errs on most.
    """
    marks = np.array([importance.get(name, 0.0) for name in law.sources])
    marks = marks / marks.sum()
    drawn = draw_mixtures(base, most, NUM_DRAWN, chance)
    middles, widths = law.log_losses(drawn)
    best = drawn[np.argsort((middles + widths) @ marks, kind="stable")[:NUM_BEST]].mean(axis=0)
    both = law.losses(np.stack([base, best]))
    gain = float(1 - np.exp(np.log(both[1] / both[0]) @ marks))
    return Proposal(
        dict(zip(law.sources, best.tolist(), strict=True)),
        dict(zip(law.sources, both[1].tolist(), strict=True)),
        dict(zip(law.sources, both[0].tolist(), strict=True)),
        gain,
    )
