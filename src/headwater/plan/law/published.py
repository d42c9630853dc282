"""What all published laws together say of a run's loss, where no table of own runs is at hand. No torch.

Every family counts once. Sizes are compared by the mean of log losses, in which a law's unit falls out; the level and
its interval come from the laws in nats per token, each with a deviation of its own that grows outside the compute it
was fitted on. Text and tokenizer differ from law to law, so that their disagreement is the interval.

l laws · any shape of targets after it
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from headwater.plan.law.fit import Law
from headwater.plan.law.frontier import optimal_params
from headwater.plan.law.table import FLOPS_PER_PARAM_TOKEN

FloatArray = NDArray[np.float64]

NATS = "nats per token"
AT_ANY, PER_DECADE = 0.009, 0.02
"""Deviation of log loss inside a law's compute, and for a decade outside it: fitted on four families and held against
the fifth, intervals of 90 % covered 78 to 100 % (658 runs beyond those fitted)."""
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class PublishedLaw:
    """One law, the compute it was fitted on, and what its loss is counted in (None: not said)."""

    name: str
    family: str
    law: Law
    min_flops: float
    max_flops: float
    unit: str | None
    source: str

    def decades_outside(self, flops: FloatArray) -> FloatArray:
        return np.maximum(0.0, np.maximum(np.log10(flops / self.max_flops), np.log10(self.min_flops / flops)))


@dataclass(frozen=True)
class PublishedLaws:
    """A mixture of laws. `weights` add up to one over families, which share theirs among their laws."""

    laws: tuple[PublishedLaw, ...]

    @property
    def unit(self) -> str:
        return NATS

    @cached_property
    def weights(self) -> FloatArray:
        num = Counter(each.family for each in self.laws)
        return np.array([1 / (len(num) * num[each.family]) for each in self.laws])

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return the mean of log losses over families: good for telling sizes apart, not as a level."""
        logs = [np.log(each.law.loss(params, tokens)) for each in self.laws]
        return np.asarray(np.tensordot(self.weights, np.stack(logs), axes=1))

    def quantiles(self, params: float, tokens: float, log_factor: float = 0.0) -> tuple[float, float, float]:
        """Return P10, P50 and P90 in nats per token of the mixture of log-normals, shifted by `log_factor`."""
        in_nats = [index for index, each in enumerate(self.laws) if each.unit == NATS]
        one = np.array([params]), np.array([tokens])
        centres = np.array([math.log(float(self.laws[index].law.loss(*one)[0])) for index in in_nats]) + log_factor
        flops = np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)
        decades = np.array([float(self.laws[index].decades_outside(flops)) for index in in_nats])
        deviations = np.hypot(AT_ANY, PER_DECADE * decades)
        weights = self.weights[in_nats] / self.weights[in_nats].sum()
        low, middle, high = (_mixture_quantile(share, centres, deviations, weights) for share in QUANTILES)
        return low, middle, high

    def refusal(self, params: float, tokens: float) -> str | None:
        return None

    def optimal_sizes(self, flops: float) -> dict[str, float]:
        """Return each law's own compute-optimal number of parameters: how far they disagree."""
        return {each.name: optimal_params(each.law, flops) for each in self.laws}

    def how(self, params: float, tokens: float) -> str:
        """Say what the level rests on, in a sentence."""
        flops = np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)
        outside = min(float(each.decades_outside(flops)) for each in self.laws)
        names = ", ".join(each.name for each in self.laws if each.unit == NATS)
        far = f"; {outside:.1f} decades of compute outside all of them" if outside > 0 else ""
        return (
            f"over the published laws {names}{far}: they differ in text and tokenizer, on which absolute loss depends; "
            "--runs CSV forecasts from runs of your own"
        )


def published_laws() -> PublishedLaws:
    text = (resources.files("headwater.plan") / "data" / "published_losses.json").read_text(encoding="utf-8")
    return PublishedLaws(tuple(_published(row) for row in json.loads(text)))


def _published(row: dict[str, str]) -> PublishedLaw:
    terms = {name: float(row[name]) for name in ("E", "A", "B", "alpha", "beta", "min_flops", "max_flops")}
    low, high = terms.pop("min_flops"), terms.pop("max_flops")
    return PublishedLaw(row["name"], row["family"], Law(**terms), low, high, row["unit"], row["source"])


def _mixture_quantile(share: float, centres: FloatArray, deviations: FloatArray, weights: FloatArray) -> float:
    """Return the loss below which `share` of a mixture of log-normals lies, by halving."""
    low, high = float((centres - 6 * deviations).min()), float((centres + 6 * deviations).max())
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(
            weight * 0.5 * (1 + math.erf((middle - centre) / (deviation * math.sqrt(2))))
            for centre, deviation, weight in zip(centres, deviations, weights, strict=True)
        )
        low, high = (middle, high) if below < share else (low, middle)
    return math.exp((low + high) / 2)
