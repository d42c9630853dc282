"""What laws say of any run's loss: all published ones together, or that of a table of the user's own runs. No torch.

Of published laws every family counts once. Sizes are compared by the mean of log losses, in which a law's unit falls
out, over laws whose optimum lies among the tokens per parameter that their rows have: the others never saw what they
say of it. The level and its interval come from the laws in nats per token that were measured at such compute, each with
a deviation of its own that grows outside it, and with half the weight for every decade. Text and tokenizer differ from
law to law, so that their disagreement is the interval.

l laws · any shape of targets after it
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtr

from headwater.intervals import LEVEL, Z_P90
from headwater.scaling.estimator import ScalingLaw
from headwater.scaling.law import Law
from headwater.scaling.repetition import PUBLISHED, Strength
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, FloatArray

NATS = "nats per token"
AT_ANY, PER_DECADE = 0.009, 0.02
"""Deviation of log loss inside a law's compute, and for a decade outside it: fitted on four families and held against
the fifth, intervals of 90 % covered 78 to 100 % (658 runs beyond those fitted)."""
MAX_BELOW, MAX_ABOVE, LEAST_FAMILIES = 0.5, 4.0, 2
"""Decades of compute outside a law's to which it has a level, and families that must. One below their rows the laws of
large runs are off by 5 to 60 % on Porian's runs, two by 15 to 100 %; above, loss only nears the floor. One family alone
speaks of its recipe: Porian's law is 10 to 24 % above its authors' tuned recipe at the least compute."""


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

    def decades_outside(self, flops: float) -> float:
        return max(0.0, math.log10(flops / self.max_flops), math.log10(self.min_flops / flops))

    def has_level(self, flops: float) -> bool:
        return self.unit == NATS and self.min_flops * 10**-MAX_BELOW <= flops <= self.max_flops * 10**MAX_ABOVE

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

    @cached_property
    def choosing(self) -> tuple[PublishedLaw, ...]:
        return tuple(each for each in self.laws if each.shows_an_optimum)

    @property
    def members(self) -> list[tuple[str, PublishedLaws]]:
        """Each law that tells sizes apart, alone: how far they disagree."""
        return [(each.name, PublishedLaws((each,))) for each in self.choosing]

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Return the mean of log losses over families: good for telling sizes apart, not as a level."""
        logs = [np.log(each.law.loss(params, tokens)) for each in self.choosing]
        return np.asarray(np.tensordot(shares(self.choosing, self.at_flops), np.stack(logs), axes=1))

    def quantiles(
        self, params: float, tokens: float, log_factor: float = 0.0, deviation: float = 0.0
    ) -> tuple[float, float, float] | None:
        """Return P10, P50 and P90 in nats per token of the mixture, shifted by `log_factor`; None where `how` says.

        `deviation` is that of the factor.
        """
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        laws = self._with_level(flops)
        if not laws:
            return None
        centres = np.log([each.law.loss(np.array(params), np.array(tokens)) for each in laws]) + log_factor
        outside = np.array([each.decades_outside(flops) for each in laws])
        deviations = np.sqrt(AT_ANY**2 + (PER_DECADE * outside) ** 2 + deviation**2)
        logs = np.linspace((centres - 6 * deviations).min(), (centres + 6 * deviations).max(), 4001)
        below = shares(laws, flops) @ ndtr((logs - centres[:, None]) / deviations[:, None])
        low, middle, high = np.exp(np.interp(((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2), below, logs)).tolist()
        return low, middle, high

    def _with_level(self, flops: float) -> tuple[PublishedLaw, ...]:
        """Return the laws that have a level at this compute; none where those of too few families do."""
        found = tuple(each for each in self.laws if each.has_level(flops))
        return found if len({each.family for each in found}) >= min(LEAST_FAMILIES, len(self.laws)) else ()

    def refusal(self, params: float, tokens: float) -> str | None:
        return None

    def how(self, params: float, tokens: float) -> str:
        """Say what the level rests on, or why there is none, in a sentence."""
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        if laws := self._with_level(flops):
            names = "; ".join(each.name for each in laws)
            return (
                f"published laws ({names}). They differ in text and tokenizer, so the absolute loss is uncertain; "
                "sizes are compared to within a percent. --runs CSV forecasts from runs of your own"
            )
        in_nats = [each for each in self.laws if each.unit == NATS]
        families = {each.family for each in in_nats}
        starts = sorted(min(each.min_flops for each in in_nats if each.family == family) for family in families)
        ends = sorted(max(each.max_flops for each in in_nats if each.family == family) for family in families)
        least, most = starts[:LEAST_FAMILIES][-1], ends[-LEAST_FAMILIES:][0]
        return (
            f"no loss is given: published laws were measured from {least:.2g} to {most:.2g} FLOPs, and "
            f"{flops:.2g} lie too far outside. Sizes are compared by extrapolation; "
            "a loss is forecast from runs of your own: --runs CSV, or headwater ladder RUN"
        )


def shares(laws: tuple[PublishedLaw, ...], flops: float | None = None) -> FloatArray:
    """Return weights of laws that add up to one: families count alike, and half as much for every decade away."""
    num = Counter(each.family for each in laws)
    found = np.array([1 / num[each.family] for each in laws])
    if flops is not None:
        found = found * 0.5 ** np.array([each.decades_outside(flops) for each in laws])
    return np.asarray(found / found.sum())


def published_laws(at_flops: float | None = None) -> PublishedLaws:
    text = (resources.files("headwater.scaling") / "data" / "published_losses.json").read_text(encoding="utf-8")
    return PublishedLaws(tuple(_published(**row) for row in json.loads(text)), at_flops)


def _published(E: float, A: float, B: float, alpha: float, beta: float, **others: Any) -> PublishedLaw:
    return PublishedLaw(law=Law(E, A, B, alpha, beta), **others)


@dataclass(frozen=True)
class OwnRuns:
    """The law of one table, in the table's unit, which no column names.

    Losses are multiplied by e^`log_factor`, known to a standard deviation of `factor_deviation`, for why `factor_how`
    says.
    """

    law: ScalingLaw
    path: Path
    log_factor: float = 0.0
    factor_deviation: float = 0.0
    factor_how: str = ""
    counts_embedding: ClassVar[bool] = True

    @cached_property
    def strength(self) -> Strength:
        """That of the losses below: what was divided out of them is multiplied back on."""
        return replace(self.law.strength, median=self.law.likeliest_strength)

    @property
    def members(self) -> list[tuple[str, OwnRuns]]:
        return []

    def log_loss(self, params: FloatArray, tokens: FloatArray) -> FloatArray:
        shape = np.broadcast_shapes(params.shape, tokens.shape)
        flat = [np.broadcast_to(values, shape).ravel() for values in (params, tokens)]
        return self.law.log_loss(*flat).reshape(shape) + self.log_factor

    def quantiles(self, params: float, tokens: float, unique_tokens: float = math.inf) -> tuple[float, float, float]:
        """Return P10, P50 and P90; the law adds what reading `unique_tokens` again costs.

        Runs of the table that repeat their text leave law and strength open together: each counted alone is too wide.
        """
        found = self.law.predict(params, tokens, unique_tokens=unique_tokens)
        median = float(found.median[0]) * math.exp(self.log_factor)
        factor = math.exp(Z_P90 * math.hypot(float(found.log_deviation[0]), self.factor_deviation))
        return median / factor, median, median * factor

    def refusal(self, params: float, tokens: float) -> str | None:
        """Return why a budget can't choose this run: too far from the rows, or of a shape that none of them is like."""
        doubts = self.law.warnings(params, tokens)
        return next((each.says for each in doubts if each.code in ("refused", "other_shape")), None)

    def how(self, params: float, tokens: float) -> str:
        how = f"law of {len(self.law.table)} runs in {self.path}"
        doubts = (f"not sure: {warning.says}" for warning in self.law.warnings(params, tokens))
        return "; ".join([how, *([self.factor_how] if self.factor_how else []), *doubts])
