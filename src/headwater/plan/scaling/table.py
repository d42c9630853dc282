"""A table of finished runs: parameters, tokens and loss of each, read from CSV with every row checked.

Columns `params`, `tokens` and `loss` (mean nats per token, or bits per byte: the law works in either), the first two
also as N and D. Optional: `epochs` (how often the text was read: `tokens` counts repeats). Others are left alone.

A table is also cut where it is held against itself: the law is fitted on the runs up to some compute, and forecasts
those beyond. Origins are a quarter of a decade apart below the largest run, whatever the design of the table, so that
nothing about a family decides where it is cut.

The cost of repeated epochs is here, too: a penalty on the law of fresh text, beside the published law.

A run of N parameters that reads U tokens 1 + R times is worse than one of as many fresh tokens, by a factor of
1 + p R^DELTA (N / U)^KAPPA: it memorises its text, the sooner the larger it is. The form is that of arXiv:2605.01640,
relative to the loss so that it holds in any unit; the exponents were measured here (docs/log.md). How strong it is (p)
depends on rates, weight decay and text.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.core.errors import DataError
from headwater.core.tables import CsvRow, Sheet, read_sheet, required

FloatArray = NDArray[np.float64]
LOSS = "loss"
MIN_RUNS = 6  # the law has five unknowns
MIN_RUN_STEPS = 60  # fewer updates are mostly warm-up and decay
FLOPS_PER_PARAM_TOKEN = 6
MAX_EPOCHS = 16.0  # to which runs were measured
_SPELLINGS = {"params": ("params", "n"), "tokens": ("tokens", "d")}  # in lower case
_LIMITS = {
    # lowest, highest, what a number outside them usually is
    "params": (1e3, 1e15, "give the plain count of parameters, not millions or billions"),
    "tokens": (1e3, 1e18, "give the plain count of training tokens, not millions or billions"),
    "loss": (1e-6, 30.0, "give the mean loss in nats per token, or bits per byte, not a perplexity"),
    "epochs": (1e-9, 1000.0, "give how often the run read its text"),
}


@dataclass(frozen=True)
class Runs:
    """One entry a run, in the order of the table. `run_noise` is the relative spread of reruns, None without any.

    `unique` has the tokens of each run's text that are different, None where all runs read theirs once.
    """

    params: FloatArray
    tokens: FloatArray
    loss: FloatArray
    run_noise: float | None = None
    unique: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def flops(self) -> FloatArray:
        return FLOPS_PER_PARAM_TOKEN * self.params * self.tokens

    def where(self, mask: NDArray[Any]) -> Runs:
        unique = None if self.unique is None else self.unique[mask]
        return Runs(self.params[mask], self.tokens[mask], self.loss[mask], self.run_noise, unique)


def most_epochs_of(runs: Runs) -> float:
    """Return how often the run that read its text most did so."""
    return 1.0 if runs.unique is None else float((runs.tokens / runs.unique).max())


def num_distinct(values: FloatArray) -> int:
    """Return how many sizes differ from the next smaller one by more than 5 %."""
    return 1 + int((np.diff(np.sort(np.log(values))) > math.log(1.05)).sum()) if len(values) else 0


def read_runs(path: Path, loss_column: str = LOSS) -> Runs:
    """Read a table; rows of the same params, tokens and epochs are reruns, and become one with their mean loss.

    `loss_column` may name another column, such as the bits per byte of one source. Raises DataError that names the
    file, the line (as a text editor counts), the column and the value.
    """
    sheet = read_sheet(path)
    columns = _columns(sheet, loss_column.strip())
    groups = defaultdict[tuple[float, float, float], list[float]](list)
    for line, row in sheet.rows():
        values = {name: _number(path, line, row, columns[name], name) for name in ("params", "tokens", LOSS)}
        has_epochs = bool(row.get(columns.get("epochs", ""), "").strip())
        epochs = _number(path, line, row, columns["epochs"], "epochs") if has_epochs else 1.0
        groups[values["params"], values["tokens"], values["tokens"] / max(1.0, epochs)].append(values[LOSS])
    if len(groups) < MIN_RUNS:
        raise DataError(
            f"{path} holds {len(groups)} different runs; the law has five unknowns and needs at least {MIN_RUNS} runs, "
            "better ten or more over a decade of compute: add rows"
        )
    params, tokens, unique = np.array(list(groups)).T
    losses = [np.array(group) for group in groups.values()]
    repeated = unique if (unique < tokens).any() else None
    return Runs(params, tokens, np.array([group.mean() for group in losses]), _spread(losses), repeated)


def _columns(sheet: Sheet, loss_column: str) -> dict[str, str]:
    """Return how the file spells each column that it has; raise DataError without one of the three that are needed."""
    spelt = {name.lower(): name for name in reversed(sheet.columns)}
    wanted = {**_SPELLINGS, LOSS: (loss_column.lower(),), "epochs": ("epochs",)}
    found = {
        name: spelt[next(each for each in spellings if each in spelt)]
        for name, spellings in wanted.items()
        if not spelt.keys().isdisjoint(spellings)
    }
    needed = {name: loss_column if name == LOSS else name for name in ("params", "tokens", LOSS)}
    missing = [name for name in needed if name not in found]
    if missing:
        hint = "; --loss-column names another than loss" if missing == [LOSS] else ""
        raise DataError(
            f"{sheet.name} has no column {', '.join(needed[name] for name in missing)}; found "
            f"{', '.join(sheet.columns) or 'an empty file'}; the first line must name the columns "
            f"{', '.join(needed.values())}{hint}"
        )
    return found


def _number(path: Path, line: int, row: CsvRow, column: str, kind: str) -> float:
    place, (lowest, highest, advice) = f"{path} line {line}", _LIMITS[kind]
    value = required(row, column, where=place)
    if not lowest <= value <= highest:
        raise DataError(
            f"{place}: {column}={value:g} is not between {lowest:g} and {highest:g}; {advice}; remove a run that failed"
        )
    return value


def _spread(losses: list[FloatArray]) -> float | None:
    """Return the pooled relative standard deviation of reruns."""
    squares = sum(float(((np.log(group) - np.log(group).mean()) ** 2).sum()) for group in losses)
    num_free = sum(len(group) - 1 for group in losses)
    return math.sqrt(squares / num_free) if num_free else None


ORIGIN_STEP = 0.25  # decades of compute
MAX_DECADES = 2.0
MIN_FITTED, MIN_SIZES = 8, 3
MIN_FITTED_INSIDE = 6  # of a table that is held against itself
LEAST_FITTED = 4  # of a ladder: the prior carries what so few leave open
LEAST_RATIO, GREATEST_RATIO = 1.0, 1000.0  # tokens per parameter of a run that somebody would plan
_SAME_COMPUTE = 0.01  # decades


@dataclass(frozen=True)
class TableCut:
    """One cut of a table: the runs that are fitted, and those beyond that are forecast."""

    fitted: Runs
    beyond: Runs

    @property
    def decades(self) -> FloatArray:
        return decades_beyond(self.fitted, self.beyond.flops)


def decades_beyond(runs: Runs, flops: FloatArray) -> FloatArray:
    """Return how far targets lie beyond the largest run, in decades of compute; zero inside."""
    return np.maximum(0.0, np.log10(flops / runs.flops.max()))


def span(runs: Runs) -> float:
    """Return how many decades of compute the runs cover."""
    return float(np.log10(runs.flops.max() / runs.flops.min()))


def origins(runs: Runs, min_fitted: int = MIN_FITTED) -> Iterator[TableCut]:
    """Yield every cut that leaves enough runs of enough sizes to fit, and a run of a plausible shape beyond.

    A target further beyond than the fitted runs themselves reach is not asked for: the forecaster calls that too far.
    """
    log_flops, ratio = np.log10(runs.flops), runs.tokens / runs.params
    plausible = (ratio >= LEAST_RATIO) & (ratio <= GREATEST_RATIO)
    fitted_before = 0
    for threshold in thresholds(log_flops):
        fitted = runs.where(log_flops <= threshold)
        if len(fitted) in (fitted_before, 0):
            continue
        fitted_before = len(fitted)
        if fitted_before < min_fitted or min(num_distinct(fitted.params), num_distinct(fitted.tokens)) < MIN_SIZES:
            continue
        largest = np.log10(fitted.flops.max())
        beyond = (log_flops > largest + _SAME_COMPUTE) & (log_flops <= largest + min(MAX_DECADES, span(fitted)))
        if (beyond & plausible).any():
            yield TableCut(fitted, runs.where(beyond & plausible))


def past_cuts(runs: Runs) -> list[TableCut]:
    """Return the cuts that a table is held against itself by: a small ladder's larger rows, one by one."""
    found = list(origins(runs, MIN_FITTED_INSIDE))
    if found or len(runs) > MIN_FITTED_INSIDE + 2:
        return found
    order = np.argsort(runs.flops, kind="stable")
    return [
        TableCut(runs.where(order[:count]), runs.where(order[count : count + 1]))
        for count in range(LEAST_FITTED, len(runs))
    ]


def thresholds(log_flops: FloatArray) -> FloatArray:
    """Return where to cut, in log10 of FLOPs, least first: the last is one step below the largest run."""
    num_steps = int((log_flops.max() - log_flops.min()) / ORIGIN_STEP + 1e-9)
    return np.asarray(log_flops.max() - ORIGIN_STEP * np.arange(num_steps, 0, -1) + 1e-9)


DELTA, KAPPA = 1.2, 0.8
MIN_EPOCHS, MAX_EPOCHS_TRIED, NUM_EPOCHS_TRIED = 2.0, 8.0, 61
LOSS_PER_LOG_TOKENS = 0.11  # by which the loss of first-light's model falls, relative


@dataclass(frozen=True)
class Strength:
    """The penalty's p: its median, and the standard deviation of its logarithm."""

    median: float
    log_deviation: float

    def best_epochs(self, params: float, unique: float) -> float:
        """Return the best epochs of a text of `unique` tokens, from 2 to 8: where more bring what they cost."""
        epochs = np.linspace(MIN_EPOCHS, MAX_EPOCHS_TRIED, NUM_EPOCHS_TRIED)
        cost = np.log1p(self.median * penalty(np.array(float(params)), epochs * unique, unique))
        return float(epochs[np.argmin(cost - LOSS_PER_LOG_TOKENS * np.log(epochs))])


OWN = Strength(0.012, 0.45)
"Of headwater's own small runs with Muon (docs/log.md)."
MEASURED_RATIO, MEASURED_EPOCHS = 0.7, 14.0
"Parameters a unique token, and epochs, up to which that of published runs was measured."
USUAL = Strength(0.009, 0.7)
"Of rows of which nothing else is known: OWN and that of arXiv:2305.16264's runs, 0.0045, lie within it."


def penalty(params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
    """Return R^DELTA (N / U)^KAPPA, which the strength multiplies; 0 where the text is not read to its end."""
    read = np.minimum(tokens, unique)
    repeats = np.maximum(tokens / read - 1, 0.0)
    return np.asarray(repeats**DELTA * (params / read) ** KAPPA)


NAME = "arXiv:2305.16264"
E, A, B, EXPONENT = 1.86914, 520.825, 1487.716, 0.3526596
HALF_LIFE_TOKENS, HALF_LIFE_PARAMS = 15.387756, 5.309743
"R_D* and R_N*: repeats, and parameters beyond the optimum, after which more is worth 1/e (equations 5 and 10)."
NEARLY_NEW = 4.0
"Epochs that its authors found to be nearly as good as new text; at 16 a token is worth about a third as much."
OPTIMAL_RATIO = (A / B) ** (1 / EXPONENT)  # parameters a token of that law's own optimum on fresh text


def repeated_loss(params: FloatArray, tokens: FloatArray, unique: FloatArray | float) -> FloatArray:
    """Return nats per token by arXiv:2305.16264 of runs that read `tokens` of a text of `unique` ones.

    Parameters beyond what the whole text carries are worth less in the first epoch, too.
    """
    fresh = np.minimum(tokens, unique)
    worth_tokens = _worth(fresh, tokens / fresh - 1, HALF_LIFE_TOKENS)
    return np.asarray(E + A / worth_params(params, unique) ** EXPONENT + B / worth_tokens**EXPONENT)


def worth_params(params: FloatArray, unique: FloatArray | float) -> FloatArray:
    """Return how many parameters a model is worth on a text of `unique` tokens."""
    fitting = np.minimum(params, OPTIMAL_RATIO * unique)
    return _worth(fitting, params / fitting - 1, HALF_LIFE_PARAMS)


def most_epochs(params: float, unique: float) -> float:
    """Return the most epochs of a text that help: 16 where that law was measured.

    Of models with twice as many parameters a token or more, what headwater's own runs show, 2 to 8; in between from
    one to the other.
    """
    beyond = math.log2(max(1.0, params / (MEASURED_RATIO * unique)))
    if beyond == 0:
        return MAX_EPOCHS
    share = min(1.0, beyond)
    return float(MAX_EPOCHS ** (1 - share) * OWN.best_epochs(params, unique) ** share)


def says_of(most_epochs: float) -> str:
    """Say what epochs of a text are worth, of which at most so many help."""
    less = f" and up to about {most_epochs:.2g} less and less" if most_epochs > NEARLY_NEW else ""
    nearly = min(most_epochs, NEARLY_NEW)
    return f"up to {nearly:.2g} epochs count nearly as new text{less}; beyond that a model of this size memorises it"


def _worth(first: FloatArray, repeats: FloatArray, half_life: float) -> FloatArray:
    """Return how many fresh ones `first` and its `repeats` are worth."""
    return first * (1 + half_life * -np.expm1(-repeats / half_life))
