"""What all published laws together say of a run's loss, where no table of own runs is at hand. No torch.

Every family counts once. Sizes are compared by the mean of log losses, in which a law's unit falls out, over laws whose
optimum lies among the tokens per parameter that their rows have: the others never saw what they say of it. The level
and its interval come from the laws in nats per token, each with a deviation of its own that grows outside the compute
it was fitted on, and with half the weight for every decade. Text and tokenizer differ from law to law, so that their
disagreement is the interval. Far below all rows there is no level: the terms of a law grow there without meaning.

l laws · any shape of targets after it
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, ClassVar

import numpy as np

from headwater.scaling.arrays import FloatArray
from headwater.scaling.law import Law
from headwater.scaling.repetition import PUBLISHED, Strength
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN

NATS = "nats per token"
AT_ANY, PER_DECADE = 0.009, 0.02
"""Deviation of log loss inside a law's compute, and for a decade outside it: fitted on four families and held against
the fifth, intervals of 90 % covered 78 to 100 % (658 runs beyond those fitted)."""
MAX_BELOW, MAX_ABOVE = 0.5, 4.0
"""Decades of compute outside the nearest law to which there is a level. One below their rows the laws of large runs are
off by 5 to 60 % on Porian's runs, two by 15 to 100 %; above, loss only nears the floor."""
QUANTILES = (0.1, 0.5, 0.9)
BATCH_PER_SQUARED_DOUBLING, MAX_FACTOR = 0.0039, 4.0
"""Relative rise of loss per squared doubling of the batch from the best, measured to a factor of four: the grids of
Step Law (arXiv:2503.04715), 17 cells of about 110 runs (quartiles 0.0036 and 0.0044)."""


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
        params = self.law.optimal_params(self.max_flops)
        return self.min_ratio <= self.max_flops / FLOPS_PER_PARAM_TOKEN / params**2 <= self.max_ratio


@dataclass(frozen=True)
class PublishedLaws:
    """A mixture of laws. `at_flops` is about the compute of the runs that are compared, None: all laws count alike."""

    laws: tuple[PublishedLaw, ...]
    at_flops: float | None = None
    unit: ClassVar[str] = NATS
    counts_embedding: ClassVar[bool] = False
    "Whether a size counts the input's embedding: most of these laws exclude what isn't multiplied."
    strength: ClassVar[Strength] = PUBLISHED
    epochs: ClassVar[float] = 1.0
    "How often the runs of these laws read their text."

    @cached_property
    def choosing(self) -> tuple[PublishedLaw, ...]:
        return tuple(each for each in self.laws if each.shows_an_optimum)

    @property
    def members(self) -> list[tuple[str, PublishedLaws]]:
        """Each law that tells sizes apart, alone: how far they disagree."""
        return [(each.name, PublishedLaws((each,))) for each in self.choosing]

    @cached_property
    def in_nats(self) -> tuple[PublishedLaw, ...]:
        return tuple(each for each in self.laws if each.unit == NATS)

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return the mean of log losses over families: good for telling sizes apart, not as a level."""
        logs = [np.log(each.law.loss(params, tokens)) for each in self.choosing]
        return np.asarray(np.tensordot(self._shares(self.choosing, self.at_flops), np.stack(logs), axes=1))

    def _shares(self, laws: tuple[PublishedLaw, ...], flops: float | None) -> FloatArray:
        """Return weights of laws that add up to one, half as much for every decade a law is away."""
        shares = weights(laws)
        if flops is not None:
            shares = shares * 0.5 ** np.array([float(each.decades_outside(np.array(flops))) for each in laws])
        return np.asarray(shares / shares.sum())

    def quantiles(
        self, params: float, tokens: float, log_factor: float = 0.0, deviation: float = 0.0
    ) -> tuple[float, float, float] | None:
        """Return P10, P50 and P90 in nats per token of the mixture, shifted by `log_factor`; None where `how` says.

        `deviation` is that of the factor.
        """
        if self._too_far(params, tokens):
            return None
        one = np.array([params]), np.array([tokens])
        centres = np.array([math.log(float(each.law.loss(*one)[0])) for each in self.in_nats]) + log_factor
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        decades = np.array([float(each.decades_outside(np.array(flops))) for each in self.in_nats])
        deviations = np.hypot(np.hypot(AT_ANY, PER_DECADE * decades), deviation)
        shares = self._shares(self.in_nats, flops)
        low, middle, high = (_mixture_quantile(share, centres, deviations, shares) for share in QUANTILES)
        return low, middle, high

    def refusal(self, params: float, tokens: float) -> str | None:
        return None

    def _too_far(self, params: float, tokens: float) -> str | None:
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        least = min(each.min_flops for each in self.in_nats)
        most = max(each.max_flops for each in self.in_nats)
        if flops < least * 10**-MAX_BELOW:
            return (
                f"no published law reaches down to {flops:.2g} FLOPs (their runs begin at {least:.2g}): sizes are "
                "compared by extrapolation, and no loss is given; --runs CSV forecasts it from runs of your own"
            )
        if flops > most * 10**MAX_ABOVE:
            return f"no published law reaches up to {flops:.2g} FLOPs (their runs end at {most:.2g}): no loss is given"
        return None

    def how(self, params: float, tokens: float) -> str:
        """Say what the level rests on, or why there is none, in a sentence."""
        if far := self._too_far(params, tokens):
            return far
        names = "; ".join(each.name for each in self.in_nats)
        return (
            f"published laws ({names}). They differ in text and tokenizer, so the absolute loss is uncertain; sizes "
            "are compared to within a percent. --runs CSV forecasts from runs of your own"
        )


def weights(laws: tuple[PublishedLaw, ...]) -> FloatArray:
    """Return weights that add up to one over families, which share theirs among their laws."""
    num = Counter(each.family for each in laws)
    return np.array([1 / (len(num) * num[each.family]) for each in laws])


def published_laws(at_flops: float | None = None) -> PublishedLaws:
    text = (resources.files("headwater.scaling") / "data" / "published_losses.json").read_text(encoding="utf-8")
    return PublishedLaws(tuple(_published(row) for row in json.loads(text)), at_flops)


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
