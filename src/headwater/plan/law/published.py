"""What all published laws together say of a run's loss, where no table of own runs is at hand. No torch.

Every family counts once. Sizes are compared by the mean of log losses, in which a law's unit falls out, over laws whose
optimum lies among the tokens per parameter that their rows have: the others never saw what they say of it. The level
and its interval come from the laws in nats per token, each with a deviation of its own that grows outside the compute
it was fitted on. Text and tokenizer differ from law to law, so that their disagreement is the interval.

l laws · any shape of targets after it
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

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
    """One law, compute and tokens per parameter of the rows it was fitted on, and its loss's unit (None: not said)."""

    name: str
    family: str
    law: Law
    min_flops: float
    max_flops: float
    min_ratio: float
    max_ratio: float
    unit: str | None
    source: str

    def decades_outside(self, flops: FloatArray) -> FloatArray:
        return np.maximum(0.0, np.maximum(np.log10(flops / self.max_flops), np.log10(self.min_flops / flops)))


    @property
    def shows_an_optimum(self) -> bool:
        """Whether rows lie on both sides of the law's own optimum, at the largest compute it was fitted on."""
        params = optimal_params(self.law, self.max_flops)
        return self.min_ratio <= self.max_flops / FLOPS_PER_PARAM_TOKEN / params**2 <= self.max_ratio


@dataclass(frozen=True)
class PublishedLaws:
    """A mixture of laws."""

    laws: tuple[PublishedLaw, ...]

    @property
    def unit(self) -> str:
        return NATS

    @cached_property
    def choosing(self) -> tuple[PublishedLaw, ...]:
        return tuple(each for each in self.laws if each.shows_an_optimum)

    @cached_property
    def in_nats(self) -> tuple[PublishedLaw, ...]:
        return tuple(each for each in self.laws if each.unit == NATS)

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return the mean of log losses over families: good for telling sizes apart, not as a level."""
        logs = [np.log(each.law.loss(params, tokens)) for each in self.choosing]
        return np.asarray(np.tensordot(weights(self.choosing), np.stack(logs), axes=1))

    def quantiles(self, params: float, tokens: float, log_factor: float = 0.0) -> tuple[float, float, float]:
        """Return P10, P50 and P90 in nats per token of the mixture of log-normals, shifted by `log_factor`."""
        one = np.array([params]), np.array([tokens])
        centres = np.array([math.log(float(each.law.loss(*one)[0])) for each in self.in_nats]) + log_factor
        flops = np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)
        decades = np.array([float(each.decades_outside(flops)) for each in self.in_nats])
        deviations = np.hypot(AT_ANY, PER_DECADE * decades)
        shares = weights(self.in_nats)
        low, middle, high = (_mixture_quantile(share, centres, deviations, shares) for share in QUANTILES)
        return low, middle, high

    def refusal(self, params: float, tokens: float) -> str | None:
        return None

    def how(self, params: float, tokens: float) -> str:
        """Say what the level rests on, in a sentence."""
        flops = np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)
        outside = min(float(each.decades_outside(flops)) for each in self.laws)
        names = "; ".join(each.name for each in self.in_nats)
        far = f"; {outside:.1f} decades of compute outside all of them" if outside > 0 else ""
        return (
            f"over the published laws ({names}){far}: they differ in text and tokenizer, on which absolute loss depends; "
            "--runs CSV forecasts from runs of your own"
        )


def weights(laws: tuple[PublishedLaw, ...]) -> FloatArray:
    """Return weights that add up to one over families, which share theirs among their laws."""
    num = Counter(each.family for each in laws)
    return np.array([1 / (len(num) * num[each.family]) for each in laws])


def published_laws() -> PublishedLaws:
    text = (resources.files("headwater.plan") / "data" / "published_losses.json").read_text(encoding="utf-8")
    return PublishedLaws(tuple(_published(row) for row in json.loads(text)))


def _published(row: dict[str, Any]) -> PublishedLaw:
    law = Law(**{name: float(row[name]) for name in ("E", "A", "B", "alpha", "beta")})
    bounds = {name: float(row[name]) for name in ("min_flops", "max_flops", "min_ratio", "max_ratio")}
    return PublishedLaw(row["name"], row["family"], law, **bounds, unit=row["unit"], source=row["source"])


def _mixture_quantile(share: float, centres: FloatArray, deviations: FloatArray, shares: FloatArray) -> float:
    """Return the loss below which `share` of a mixture of log-normals lies, by halving."""
    low, high = float((centres - 6 * deviations).min()), float((centres + 6 * deviations).max())
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(
            weight * 0.5 * (1 + math.erf((middle - centre) / (deviation * math.sqrt(2))))
            for centre, deviation, weight in zip(centres, deviations, shares, strict=True)
        )
        low, high = (middle, high) if below < share else (low, middle)
    return math.exp((low + high) / 2)
