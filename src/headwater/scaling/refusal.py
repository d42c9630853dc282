"""What the rows can't carry, in words: warnings that stand beside a number, and refusals that stand in its place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.scaling.absence import no_law
from headwater.scaling.arrays import FloatArray
from headwater.scaling.backtest import MIN_SIZES, decades_beyond, span
from headwater.scaling.fit import Law
from headwater.scaling.frontier import Optimum
from headwater.scaling.posterior import Posterior
from headwater.scaling.profile import Profile
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, Runs, num_distinct

_LEAST_RATIO_RANGE = 4.0  # highest over lowest tokens per parameter
_HULL_ROOM = 2.0  # how far outside the rows a size may lie before it is called outside
_FURTHEST_SPANS = 2.0  # a target further out than this many times the decades that the rows span is refused
_ALWAYS_DECADES = 1.0  # but one this near always does
_SURE_BELOW = 0.5  # decades below the rows from which a number has a warning
_WIDEST_OPTIMUM = 10.0  # p95 / p5 of the optimal size


@dataclass(frozen=True)
class Caution:
    """`code` is for programs, `says` for people."""

    code: str
    says: str


def table_warnings(runs: Runs, law: Law, posterior: Posterior, profiles: tuple[Profile, Profile]) -> list[Caution]:
    """Return what a reader of the fit must know: what these rows don't show, and what was done about it."""
    if absent := no_law(runs):  # from which all else would follow
        return [Caution("no_law", f"these rows carry no law, and the fit says nothing of other runs: {absent}")]
    found = [*_few_sizes(runs)]
    ratio = runs.tokens / runs.params
    if ratio.max() / ratio.min() < _LEAST_RATIO_RANGE:
        found.append(
            Caution(
                "narrow_ratio",
                f"tokens per parameter only go from {ratio.min():.3g} to {ratio.max():.3g}: what parameters and what "
                "tokens bring can't be told apart; add runs with fewer and with more tokens for the same size",
            )
        )
    for name, profile in zip(("alpha", "beta"), profiles):
        if not profile.is_identified:
            found.append(_unidentified(name, profile))
        elif not profile.holds_law:
            found.append(_two_answers(name, profile))
    if missing := _missing_terms(runs, law):
        found.append(
            Caution(
                "missing_term",
                f"the best fit has no place for {' and '.join(missing)}: the rows don't show it, and a forecast from "
                "them can't know what other runs owe to it",
            )
        )
    if posterior.num_outliers:
        found.append(
            Caution(
                "outliers",
                f"{posterior.num_outliers} of {len(runs)} runs lie far off the rest and weigh less than half in "
                "forecasts; none is excluded",
            )
        )
    return found


def _missing_terms(runs: Runs, law: Law) -> list[str]:
    least = 1e-6 * float(runs.loss.min())
    terms = (("a floor (E)", law.E), ("a term of params (A)", law.A), ("a term of tokens (B)", law.B))
    return [name for name, value in terms if value < least]


def _few_sizes(runs: Runs) -> list[Caution]:
    found = []
    for name, values in (("params", runs.params), ("tokens", runs.tokens)):
        if (count := num_distinct(values)) < MIN_SIZES:
            found.append(
                Caution(
                    f"few_{name}",
                    f"the rows hold only {count} different {name}: how loss falls with {name} is taken from published "
                    f"laws, not from these runs; add runs of other {name} ({MIN_SIZES} or more)",
                )
            )
    return found


def _unidentified(name: str, profile: Profile) -> Caution:
    low, high = (f"{value:.2g}" for value in (profile.low, profile.high))
    reach = f"between {low} and {high}" if profile.is_bounded else f"from {low} to {high} and further"
    return Caution(
        f"unidentified_{name}",
        f"the rows fit nearly as well with any {name} {reach}: don't read it as a property of the data; "
        "forecasts average over what is left open",
    )


def _two_answers(name: str, profile: Profile) -> Caution:
    of_law, top, low, high = (f"{value:.3g}" for value in (profile.of_law, profile.top, profile.p10, profile.p90))
    return Caution(
        f"disputed_{name}",
        f"{name} is {of_law} in the curve, where every run counts for itself, and {top} ({low} to {high}) where runs "
        "of like size are related: the rows don't decide between them",
    )


@dataclass(frozen=True)
class Distance:
    """How far a run lies outside the rows in compute, params or tokens, and how much of it the rows span; decades."""

    decades: float
    span: float
    where: str
    add: str
    is_below: bool = False

    @property
    def share(self) -> float:
        """Return the part used up of what may be forecast.

        Below the rows that is a decade, however many they span: there the law rises without a ceiling, and losses
        don't go above that of guessing.
        """
        return self.decades / max(_ALWAYS_DECADES, 0.0 if self.is_below else _FURTHEST_SPANS * self.span)

    @property
    def is_unsure(self) -> bool:
        return self.decades > (min(self.span, _SURE_BELOW) if self.is_below else self.span)


def _distances(runs: Runs, params: float, tokens: float) -> list[Distance]:
    """Return distances beyond the largest compute, and on either side of the params and tokens of the rows."""
    beyond = float(decades_beyond(runs, np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)))
    found = [Distance(beyond, span(runs), "of compute beyond the largest run", "larger runs")]
    for name, rows, wanted in (("params", runs.params, params), ("tokens", runs.tokens, tokens)):
        low, high = float(rows.min()), float(rows.max())
        is_below = wanted < low
        outside, side, more = (low / wanted, "below", "fewer") if is_below else (wanted / high, "above", "more")
        found.append(
            Distance(
                decades=max(0.0, math.log10(outside)),
                span=math.log10(high / low),
                where=f"{side} all rows in {name}",
                add=f"runs with {more} {name}",
                is_below=is_below,
            )
        )
    return found


def forecast_warnings(runs: Runs, params: float, tokens: float) -> list[Caution]:
    """Return what makes a forecast of this run less sure than its interval says."""
    found = []
    unsure = [distance for distance in _distances(runs, params, tokens) if distance.is_unsure]
    if unsure:
        furthest = max(unsure, key=lambda distance: distance.share)
        why = (
            "where the law rises without a ceiling, and losses don't"
            if furthest.is_below
            else f"further than the rows themselves reach ({furthest.span:.1f} decades)"
        )
        found.append(Caution("far", f"the target lies {furthest.decades:.1f} decades {furthest.where}, {why}"))
    ratio, rows = tokens / params, runs.tokens / runs.params
    if not rows.min() / _HULL_ROOM <= ratio <= rows.max() * _HULL_ROOM:
        found.append(
            Caution(
                "other_shape",
                f"the target has {ratio:.3g} tokens per parameter, the rows {rows.min():.3g} to {rows.max():.3g}",
            )
        )
    return found


def forecast_refusal(runs: Runs, params: float, tokens: float) -> str | None:
    """Return why these rows can't carry any number for this run, or None when they can."""
    if absent := no_law(runs):
        return absent
    for name, values, wanted in (("params", runs.params, params), ("tokens", runs.tokens, tokens)):
        if num_distinct(values) == 1 and not values.min() / _HULL_ROOM <= wanted <= values.max() * _HULL_ROOM:
            return f"all rows have the same {name} ({values[0]:.3g}): they don't show how loss changes with {name}"
    furthest = max(_distances(runs, params, tokens), key=lambda distance: distance.share)
    if furthest.share > 1:
        below = "; below its rows the law rises without a ceiling, so that a decade is all" if furthest.is_below else ""
        return (
            f"the target lies {furthest.decades:.1f} decades {furthest.where} and the rows span {furthest.span:.1f}: "
            f"add {furthest.add}{below}"
        )
    return None


def reach_of(log_flops: FloatArray) -> float:
    """Return the decimal log of the largest compute that rows of these logs can carry a forecast for."""
    largest, smallest = float(log_flops.max()), float(log_flops.min())
    return largest + max(_ALWAYS_DECADES, _FURTHEST_SPANS * (largest - smallest))


def optimum_refusal(runs: Runs, profiles: tuple[Profile, Profile], found: Optimum | None) -> str | None:
    """Return why these rows can't carry a compute-optimal size, or None when they can."""
    if absent := no_law(runs):
        return absent
    if few := _few_sizes(runs):
        return few[0].says
    if found is None:
        return "the rows show no optimum: one of the terms of the law vanishes"
    for name, profile in zip(("alpha", "beta"), profiles):
        if not profile.is_bounded:
            return f"the rows don't tell {name} (its profile likelihood is open), and the optimum hangs on it"
    rows, ratio = runs.tokens / runs.params, found.tokens / found.params
    if not rows.min() <= ratio <= rows.max():
        return (
            f"the optimum would have {ratio:.3g} tokens per parameter, outside the rows ({rows.min():.3g} to "
            f"{rows.max():.3g}): no run shows that side; add runs with {'fewer' if ratio < rows.min() else 'more'}"
        )
    if decades_beyond(runs, np.array(found.flops)) > span(runs):
        return f"{found.flops:.3g} FLOPs lie further beyond the largest run than the rows reach"
    if found.params_p95 / found.params_p5 > _WIDEST_OPTIMUM:
        return f"the optimum could be anywhere from {found.params_p5:.3g} to {found.params_p95:.3g} parameters"
    return None
