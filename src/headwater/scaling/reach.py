"""How far beyond its rows a law may speak: a warning that stands beside a forecast, or a refusal in its place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headwater.scaling.backtest import decades_beyond, span
from headwater.scaling.posterior import NOISE
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, FloatArray, Runs, num_distinct

_FURTHEST_SPANS, _ALWAYS_DECADES = 2.0, 1.0  # a target further out than both, in spans of the rows, is refused
_ALWAYS_BELOW = 0.5  # decades below the rows to which any table speaks, and none further
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
        return (
            f"the losses only go from {lowest:.5g} to {highest:.5g}, and reruns of one run differ by {noise:.1%}: "
            "nothing here shows how loss falls with size; check the column of losses, or add runs further apart"
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
    """Decades by which a run lies outside the rows in compute, params or tokens, which `span` so many, and its limit.

    Below the rows the law rises without a ceiling, and losses don't go above that of guessing: from half a decade to
    one, 80 % intervals held 63 % (docs/log.md, 2026-11-28).
    """

    decades: float
    span: float
    limit: float
    where: str
    add: str


def _distances(runs: Runs, params: float, tokens: float) -> list[_Distance]:
    """Return distances beyond the largest compute, and on either side of the params and tokens; the furthest first."""

    def above(decades: float, reach: float, where: str, add: str) -> _Distance:
        return _Distance(decades, reach, max(_ALWAYS_DECADES, _FURTHEST_SPANS * reach), where, add)

    beyond = float(decades_beyond(runs, np.array(FLOPS_PER_PARAM_TOKEN * params * tokens)))
    found = [above(beyond, span(runs), "of compute beyond the largest run", "larger runs")]
    for name, rows, wanted in (("params", runs.params, params), ("tokens", runs.tokens, tokens)):
        low, at, high = math.log10(rows.min()), math.log10(wanted), math.log10(rows.max())
        found.append(above(max(0.0, at - high), high - low, f"above all rows in {name}", f"runs with more {name}"))
        below = f"below all rows in {name}", f"runs with fewer {name}"
        found.append(_Distance(max(0.0, low - at), high - low, _ALWAYS_BELOW, *below))
    return sorted(found, key=lambda each: -each.decades / each.limit)


def forecast_warnings(runs: Runs, params: float, tokens: float) -> list[Caution]:
    """Return what makes a forecast of this run less sure than others; `predict` gives it a wider interval."""
    found = []
    if unsure := [each for each in _distances(runs, params, tokens) if each.decades > each.span]:
        why = f"further than the rows themselves reach ({unsure[0].span:.1f} decades)"
        found.append(Caution("far", f"the target lies {unsure[0].decades:.1f} decades {unsure[0].where}, {why}"))
    ratio, rows = tokens / params, runs.tokens / runs.params
    if not rows.min() / _HULL_ROOM <= ratio <= rows.max() * _HULL_ROOM:
        says = f"the target has {ratio:.3g} tokens per parameter, the rows {rows.min():.3g} to {rows.max():.3g}"
        found.append(Caution("other_shape", says))
    return found


def forecast_refusal(runs: Runs, params: float, tokens: float) -> str | None:
    """Return why these rows can't carry any number for this run, or None when they can."""
    if absent := no_law(runs):
        return absent
    for name, values, wanted in (("params", runs.params, params), ("tokens", runs.tokens, tokens)):
        if num_distinct(values) == 1 and not values.min() / _HULL_ROOM <= wanted <= values.max() * _HULL_ROOM:
            return f"all rows have the same {name} ({values[0]:.3g}): they don't show how loss changes with {name}"
    furthest = _distances(runs, params, tokens)[0]
    if furthest.decades <= furthest.limit:
        return None
    far = f"the target lies {furthest.decades:.1f} decades {furthest.where}"
    return f"{far} and the rows span {furthest.span:.1f}: add {furthest.add}"


def reach_of(log_flops: FloatArray) -> float:
    """Return the decimal log of the largest compute that rows of these logs can carry a forecast for."""
    largest, smallest = float(log_flops.max()), float(log_flops.min())
    return largest + max(_ALWAYS_DECADES, _FURTHEST_SPANS * (largest - smallest))
