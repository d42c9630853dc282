"""How far beyond its rows a law may speak: a warning that stands beside a forecast, or a refusal in its place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from headwater.scaling.posterior import NOISE
from headwater.scaling.table import FLOPS_PER_PARAM_TOKEN, MAX_EPOCHS, FloatArray, Runs, most_epochs_of, num_distinct

_FURTHEST_SPANS, _ALWAYS_DECADES = 2.0, 1.0  # a target further out than both, in spans of the rows, is refused
_ALWAYS_BELOW = 0.5  # decades below the rows to which any table speaks, and none further
_HULL_ROOM = 2.0  # how far outside the rows a size may lie before it is called outside
_MORE_EPOCHS = 1.5  # than a table's own runs have: as many are not refused
_LARGER = math.log(1.05)  # params × tokens by which a run counts as larger
_MOST_RISING = 1 / 3  # of the pairs whose losses differ by more than noise
_MOST_ROWS = 500  # of which pairs are compared
_SIDES = (  # where a target may lie outside the rows, and what to add
    ("of compute beyond the largest run", "larger runs"),
    ("above all rows in params", "runs with more params"),
    ("below all rows in params", "runs with fewer params"),
    ("above all rows in tokens", "runs with more tokens"),
    ("below all rows in tokens", "runs with fewer tokens"),
)


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


def _outside(runs: Runs, params: FloatArray, tokens: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return decades that targets lie outside the rows by side (5, t), what rows span there, what is forecast (5, 1).

    Below the rows the law rises without a ceiling, and losses don't go above that of guessing: from half a decade to
    one, 80 % intervals held 63 % (docs/log.md, 2026-11-28).
    """
    rows = [np.log10(each) for each in (runs.flops, runs.params, runs.tokens)]
    targets = [np.log10(each) for each in (FLOPS_PER_PARAM_TOKEN * params * tokens, params, tokens)]
    above = [at - each.max() for at, each in zip(targets, rows, strict=True)]
    below = [each.min() - at for at, each in zip(targets, rows, strict=True)]
    span = np.array([np.ptp(each) for each in rows])[[0, 1, 1, 2, 2], None]
    limit = np.maximum(_ALWAYS_DECADES, _FURTHEST_SPANS * span)
    limit[[2, 4]] = _ALWAYS_BELOW
    return np.stack([above[0], above[1], below[1], above[2], below[2]]).clip(0), span, limit


def forecast_warnings(runs: Runs, params: float, tokens: float) -> list[Caution]:
    """Return what makes a forecast of this run less sure than others; `predict` gives it a wider interval."""
    found = []
    decades, span, limit = _outside(runs, np.array([params]), np.array([tokens]))
    if (decades > span).any():
        side = int(np.where(decades > span, decades / limit, -1.0).argmax())
        why = f"further than the rows themselves reach ({span[side, 0]:.1f} decades)"
        found.append(Caution("far", f"the target lies {decades[side, 0]:.1f} decades {_SIDES[side][0]}, {why}"))
    ratio, rows = tokens / params, runs.tokens / runs.params
    if not rows.min() / _HULL_ROOM <= ratio <= rows.max() * _HULL_ROOM:
        says = f"the target has {ratio:.3g} tokens per parameter, the rows {rows.min():.3g} to {rows.max():.3g}"
        found.append(Caution("other_shape", says))
    return found


def forecast_refusal(runs: Runs, params: ArrayLike, tokens: ArrayLike, epochs: ArrayLike = 1.0) -> str | None:
    """Return why these rows can't carry a number for one of these targets (t,), or None when they can for all."""
    if absent := no_law(runs):
        return absent
    targets = params, tokens = np.atleast_1d(params), np.atleast_1d(tokens)
    for name, values, wanted in zip(("params", "tokens"), (runs.params, runs.tokens), targets, strict=True):
        is_near = (values.min() / _HULL_ROOM <= wanted) & (wanted <= values.max() * _HULL_ROOM)
        if num_distinct(values) == 1 and not is_near.all():
            return f"all rows have the same {name} ({values[0]:.3g}): they don't show how loss changes with {name}"
    decades, span, limit = _outside(runs, params, tokens)
    if not (decades <= limit).all():
        side, target = np.unravel_index((decades / limit).argmax(), decades.shape)
        (where, more), far = _SIDES[side], decades[side, target]
        return f"the target lies {far:.1f} decades {where} and the rows span {span[side, 0]:.1f}: add {more}"
    if (most := float(np.max(epochs))) > max(MAX_EPOCHS, _MORE_EPOCHS * most_epochs_of(runs)):
        return (
            f"the run reads its text {most:.1f} times; what repetition costs was measured to {MAX_EPOCHS:g} epochs. "
            "Use more text or fewer tokens, or measure it: headwater ladder RUN"
        )
    return None


def reach_of(log_flops: FloatArray) -> float:
    """Return the decimal log of the largest compute that rows of these logs can carry a forecast for."""
    largest, smallest = float(log_flops.max()), float(log_flops.min())
    return largest + max(_ALWAYS_DECADES, _FURTHEST_SPANS * (largest - smallest))
