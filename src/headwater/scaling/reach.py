"""How far beyond its rows a law may speak: a warning that stands beside a forecast, or a refusal in its place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.scaling.arrays import FloatArray
from headwater.scaling.backtest import decades_beyond, span
from headwater.scaling.posterior import NOISE
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, Runs, num_distinct

_FURTHEST_SPANS = 2.0  # a target further out than this many times the decades that the rows span is refused
_ALWAYS_DECADES = 1.0  # but one this near always does
_SURE_BELOW = 0.5  # decades below the rows from which a number has a warning
_HULL_ROOM = 2.0  # how far outside the rows a size may lie before it is called outside
_LARGER = math.log(1.05)  # params × tokens by which a run counts as larger
_MOST_RISING = 1 / 3  # of the pairs whose losses differ by more than noise
_MOST_ROWS = 500  # of which pairs are compared


@dataclass(frozen=True)
class Caution:
    """`code` is for programs, `says` for people."""

    code: str
    says: str


def no_law(runs: Runs) -> str | None:
    """Return why these rows carry no law at all, or None where loss falls with size.

    In every published table, of two runs of which one has no fewer params and no fewer tokens, that one has the lower
    loss in 95 of 100 pairs or more.
    """
    noise = max(NOISE, runs.run_noise or 0.0)
    lowest, highest = float(runs.loss.min()), float(runs.loss.max())
    if highest / lowest - 1 <= noise:
        losses = f"are all {lowest:.4g}" if lowest == highest else f"only go from {lowest:.5g} to {highest:.5g}"
        return (
            f"the losses {losses}, and reruns of one run differ by {noise:.1%}: nothing here shows how loss falls with "
            "size; check the column of losses, or add runs further apart"
        )
    order = np.argsort(runs.flops, kind="stable")
    kept = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_ROWS)).round().astype(int)]
    logs = [np.log(values[kept]) for values in (runs.params, runs.tokens, runs.loss)]
    more_N, more_D, change = (values[None, :] - values[:, None] for values in logs)
    change = change[(more_N >= 0) & (more_D >= 0) & (more_N + more_D > _LARGER)]
    rising, falling = int((change > 2 * noise).sum()), int((change < -2 * noise).sum())
    if rising > _MOST_RISING * (rising + falling):
        return (
            f"in {rising:,} of {rising + falling:,} pairs the larger run has the higher loss: these losses don't fall "
            "with size; check that the columns are params, tokens and loss, and that every run was trained well"
        )
    return None


@dataclass(frozen=True)
class _Distance:
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


def _distances(runs: Runs, params: float, tokens: float) -> list[_Distance]:
    """Return distances beyond the largest compute, and on either side of the params and tokens of the rows."""
    beyond = float(decades_beyond(runs, np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)))
    found = [_Distance(beyond, span(runs), "of compute beyond the largest run", "larger runs")]
    for name, rows, wanted in (("params", runs.params, params), ("tokens", runs.tokens, tokens)):
        low, high = float(rows.min()), float(rows.max())
        is_below = wanted < low
        outside, side, more = (low / wanted, "below", "fewer") if is_below else (wanted / high, "above", "more")
        decades, reach = max(0.0, math.log10(outside)), math.log10(high / low)
        found.append(_Distance(decades, reach, f"{side} all rows in {name}", f"runs with {more} {name}", is_below))
    return found


def forecast_warnings(runs: Runs, params: float, tokens: float) -> list[Caution]:
    """Return what makes a forecast of this run less sure than its interval says.

    Beside one `ladder --table` gives no interval; the plan of a run keeps it, since chances are drawn from it.
    """
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
