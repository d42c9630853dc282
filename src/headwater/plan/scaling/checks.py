"""What a table and its law can't carry: warnings beside a fit or a forecast, and refusals in their place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from headwater.core.errors import DataError
from headwater.core.intervals import Z_P90
from headwater.plan.scaling.law import GREATEST_EXPONENT, LEAST_EXPONENT, NOISE, Posterior, solve_grid
from headwater.plan.scaling.table import (
    FLOPS_PER_PARAM_TOKEN,
    MAX_EPOCHS,
    MIN_SIZES,
    FloatArray,
    Runs,
    decades_beyond,
    most_epochs_of,
    num_distinct,
    span,
)

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
_WIDEST_OPTIMUM = 10.0  # high / low of the optimal size
_MOST_UNCERTAIN = 3.0  # high / low beyond which an exponent is called unidentified


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
    spans = np.array([np.ptp(each) for each in rows])[[0, 1, 1, 2, 2], None]
    limit = np.maximum(_ALWAYS_DECADES, _FURTHEST_SPANS * spans)
    limit[[2, 4]] = _ALWAYS_BELOW
    return np.stack([above[0], above[1], below[1], above[2], below[2]]).clip(0), spans, limit


def forecast_warnings(runs: Runs, params: float, tokens: float) -> list[Caution]:
    """Return what makes a forecast of this run less sure than others; `predict` gives it a wider interval."""
    found = []
    decades, spans, limit = _outside(runs, np.array([params]), np.array([tokens]))
    if (decades > spans).any():
        side = int(np.where(decades > spans, decades / limit, -1.0).argmax())
        why = f"further than the rows themselves reach ({spans[side, 0]:.1f} decades)"
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
    decades, spans, limit = _outside(runs, params, tokens)
    if not (decades <= limit).all():
        side, target = np.unravel_index((decades / limit).argmax(), decades.shape)
        (where, more), far = _SIDES[side], decades[side, target]
        return f"the target lies {far:.1f} decades {where} and the rows span {spans[side, 0]:.1f}: add {more}"
    if (most := float(np.max(epochs))) > max(MAX_EPOCHS, _MORE_EPOCHS * most_epochs_of(runs)):
        return (
            f"the run reads its text {most:.1f} times; what repetition costs was measured to {MAX_EPOCHS:g} epochs. "
            "Use more text or fewer tokens, or measure it: `headwater ladder RUN`"
        )
    return None


# ---- of the fit


@dataclass(frozen=True)
class Exponent:
    """One exponent's profile likelihood: its best value and 80 % interval; no bound where it stays open at an end."""

    likeliest: float
    p10: float
    p90: float
    is_bounded: bool

    @property
    def is_identified(self) -> bool:
        return self.is_bounded and self.p90 / self.p10 <= _MOST_UNCERTAIN


def exponents_of(posterior: Posterior) -> tuple[Exponent, Exponent]:
    """Return what the rows alone say of alpha and beta, counting runs of like size as related; no prior is in it."""
    runs, space = posterior.runs, np.geomspace(LEAST_EXPONENT, GREATEST_EXPONENT, 97)
    squares = solve_grid(runs, space, space, posterior.whitening).squares
    heights = -0.5 * len(runs) * np.log(squares + len(runs) * (1e-6 / NOISE) ** 2)  # a table's last digit
    return _exponent(space, heights.max(axis=1)), _exponent(space, heights.max(axis=0))


def _exponent(space: FloatArray, heights: FloatArray) -> Exponent:
    """Return where a profile comes down by what an 80 % interval allows, on either side of its top."""
    relative, logs = heights - heights.max(), np.log(space)
    top, drop = int(relative.argmax()), -(Z_P90**2) / 2
    sides = [(relative[top::-1], logs[top::-1]), (relative[top:], logs[top:])]
    low, high = (float(np.exp(np.interp(-drop, -np.minimum.accumulate(side), at))) for side, at in sides)
    return Exponent(float(space[top]), low, high, all(bool(side.min() < drop) for side, _ in sides))


def table_warnings(posterior: Posterior, both: tuple[Exponent, Exponent]) -> list[Caution]:
    """Return what a reader of the fit must know: what these rows don't show, and what was done about it."""
    runs = posterior.runs
    if absent := no_law(runs):  # from which all else would follow
        return [Caution("no_law", f"these rows carry no law, and the fit says nothing of other runs: {absent}")]
    found = _few_sizes(runs)
    for name, exponent in zip(("alpha", "beta"), both, strict=True):
        if not exponent.is_identified:
            reach = f"between {exponent.p10:.2g} and {exponent.p90:.2g}"
            if not exponent.is_bounded:
                reach = f"from {exponent.p10:.2g} to {exponent.p90:.2g} and further"
            says = (
                f"the rows fit nearly as well with any {name} {reach}: don't read it as a property of the data; "
                "forecasts average over what is left open"
            )
            found.append(Caution(f"unidentified_{name}", says))
    if num_odd := posterior.num_outliers:
        says = (
            f"{num_odd} of {len(runs)} runs {'lies' if num_odd == 1 else 'lie'} far off the rest, with less than half "
            "a weight in forecasts; none is excluded"
        )
        found.append(Caution("outliers", says))
    return found


def _few_sizes(runs: Runs) -> list[Caution]:
    return [
        Caution(
            f"few_{name}",
            f"the rows hold only {count} different {name}: how loss falls with {name} is taken from published laws, "
            f"not from these runs; add runs of other {name} ({MIN_SIZES} or more)",
        )
        for name, values in (("params", runs.params), ("tokens", runs.tokens))
        if (count := num_distinct(values)) < MIN_SIZES
    ]


@dataclass(frozen=True)
class Optimum:
    """The size and tokens of the least loss at a budget; the size from P10 to P90, by what the rows leave open."""

    flops: float
    params: float
    tokens: float
    loss: float
    params_p10: float
    params_p90: float


def require_optimum(runs: Runs, both: tuple[Exponent, Exponent], found: Optimum | None) -> Optimum:
    """Return the best size that was found; raise DataError where these rows can't carry one."""
    if absent := no_law(runs):
        raise DataError(absent)
    if few := _few_sizes(runs):
        raise DataError(few[0].says)
    if found is None:
        raise DataError("the rows show no optimum: one of the terms of the law vanishes")
    for name, exponent in zip(("alpha", "beta"), both, strict=True):
        if not exponent.is_bounded:
            raise DataError(f"the rows don't tell {name} (its profile likelihood is open), and the optimum hangs on it")
    rows, ratio = runs.tokens / runs.params, found.tokens / found.params
    if not rows.min() <= ratio <= rows.max():
        raise DataError(
            f"the optimum would have {ratio:.3g} tokens per parameter, outside the rows ({rows.min():.3g} to "
            f"{rows.max():.3g}): no run shows that side; add runs with {'fewer' if ratio < rows.min() else 'more'}"
        )
    if decades_beyond(runs, np.array(found.flops)) > span(runs):
        raise DataError(f"{found.flops:.3g} FLOPs lie further beyond the largest run than the rows reach")
    low, high = found.params_p10, found.params_p90
    if high / low > _WIDEST_OPTIMUM:
        raise DataError(f"the optimum could be anywhere from {low:.3g} to {high:.3g} parameters")
    return found
