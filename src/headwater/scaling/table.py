"""A table of finished runs: parameters, tokens and loss of each, read from CSV with every row checked.

Columns `params`, `tokens` and `loss` (mean nats per token, or bits per byte: the law works in either). Optional:
`epochs` (how often the text was read: `tokens` counts repeats), `seed` (tells reruns of one size apart). Other columns
are left alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import ConfigError, DataError
from headwater.scaling.arrays import FloatArray
from headwater.tables import CsvRow, read_sheet

LOSS = "loss"
COLUMNS = ("params", "tokens", LOSS)
MIN_RUNS = 6  # the law has five unknowns
FLOPS_PER_PARAM_TOKEN = 6
MAX_EPOCHS = 16.0  # to which runs were measured
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

    `unique` has the tokens of each run's text that are different, None where all runs read theirs once. `total` has all
    parameters where `params` leaves embeddings out: they, too, memorise what is repeated.
    """

    params: FloatArray
    tokens: FloatArray
    loss: FloatArray
    run_noise: float | None = None
    unique: FloatArray | None = None
    total: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def flops(self) -> FloatArray:
        return FLOPS_PER_PARAM_TOKEN * self.params * self.tokens

    def where(self, mask: NDArray[Any]) -> Runs:
        unique, total = (None if each is None else each[mask] for each in (self.unique, self.total))
        return Runs(self.params[mask], self.tokens[mask], self.loss[mask], self.run_noise, unique, total)

    def without_highest(self, count: int) -> Runs:
        """Return the runs without the `count` of the highest loss: outliers are named by the user, never guessed."""
        if not 0 <= count <= len(self) - MIN_RUNS:
            raise ConfigError(
                f"can't drop the {count} highest losses of {len(self)} runs: {MIN_RUNS} must stay to fit five unknowns"
            )
        kept = np.sort(np.argsort(self.loss, kind="stable")[: len(self) - count])
        mask = np.zeros(len(self), dtype=bool)
        mask[kept] = True
        return self.where(mask)


def runs_of(params: Any, tokens: Any, loss: Any) -> Runs:
    """Return runs of plain sequences of numbers."""
    params, tokens, loss = (np.asarray(values, dtype=np.float64) for values in (params, tokens, loss))
    return Runs(params, tokens, loss)


def with_epochs(runs: Runs, epochs: float) -> Runs:
    """Return the same runs as ones that read their text `epochs` times each; up to 1 is once."""
    return replace(runs, unique=runs.tokens / epochs if epochs > 1 else None)


def most_epochs_of(runs: Runs) -> float:
    """Return how often the run that read its text most did so."""
    return 1.0 if runs.unique is None else float((runs.tokens / runs.unique).max())


def num_distinct(values: FloatArray, least_ratio: float = 1.05) -> int:
    """Return how many sizes differ from the next smaller one by more than `least_ratio`."""
    return 1 + int((np.diff(np.sort(np.log(values))) > math.log(least_ratio)).sum()) if len(values) else 0


def read_runs(path: Path, loss_column: str = LOSS) -> Runs:
    """Read a table; reruns (same params and tokens, another `seed`) become one row with their mean loss.

    `loss_column` may name another column, such as the bits per byte of one source. Raises DataError that names the
    file, the line (as a text editor counts), the column and the value.
    """
    rows = _rows(path, loss_column.strip().lower())
    names = {LOSS: loss_column.strip()}
    numbers = [_checked(path, line, row, names) for line, row in rows]
    groups: dict[tuple[float, float, float], list[int]] = defaultdict(list)
    for index, number in enumerate(numbers):
        groups[number["params"], number["tokens"], number["unique"]].append(index)
    for members in groups.values():
        _require_reruns(path, [rows[index] for index in members])
    if len(groups) < MIN_RUNS:
        raise DataError(
            f"{path} holds {len(groups)} different runs; the law has five unknowns and needs at least {MIN_RUNS} runs, "
            "better ten or more over a decade of compute: add rows"
        )
    params, tokens, unique = (np.array([key[place] for key in groups]) for place in range(3))
    losses = [np.array([numbers[index]["loss"] for index in members]) for members in groups.values()]
    repeated = unique if (unique < tokens).any() else None
    return Runs(params, tokens, np.array([group.mean() for group in losses]), _spread(losses), repeated)


def _rows(path: Path, loss_column: str) -> list[tuple[int, CsvRow]]:
    """Return the rows by column name in lower case, each with its line; what `loss_column` holds is under "loss"."""
    sheet = read_sheet(path)
    names = [name.lower() for name in sheet.columns]
    needed = [loss_column if name == LOSS else name for name in COLUMNS]
    missing = [name for name in needed if name not in names]
    if missing:
        hint = "; --loss-column names another than loss" if missing == [LOSS] else ""
        raise DataError(
            f"{path} has no column {', '.join(missing)}; found {', '.join(names) or 'an empty file'}; "
            f"the first line must name the columns {', '.join(needed)}{hint}"
        )
    rows = [(line, {name.lower(): text for name, text in row.items()}) for line, row in sheet.rows()]
    return [(line, row | {LOSS: row[loss_column]}) for line, row in rows]


def _checked(path: Path, line: int, row: CsvRow, names: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers of a row, and its different tokens; `names` has columns called so."""

    def number_of(name: str) -> float:
        return _number(f"{path} line {line}, column {names.get(name, name)}", row.get(name), _LIMITS[name])

    number = {name: number_of(name) for name in COLUMNS}
    epochs = number_of("epochs") if (row.get("epochs") or "").strip() else 1.0
    return number | {"unique": number["tokens"] / max(1.0, epochs)}


def _number(place: str, text: str | None, limits: tuple[float, float, str]) -> float:
    if not (text or "").strip():
        raise DataError(f"{place}: nothing there; fill it in or remove the line")
    assert text is not None
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{place}: {text.strip()!r} is not a number; write it like 124e6 or 3.21") from None
    lowest, highest, advice = limits
    if not math.isfinite(value):
        raise DataError(f"{place}: {text.strip()} is not a finite number; remove the line of a run that failed")
    if value <= 0:
        raise DataError(f"{place}: {text.strip()} must be above zero; correct it or remove the line")
    if not lowest <= value <= highest:
        raise DataError(f"{place}: {text.strip()} is not between {lowest:g} and {highest:g}; {advice}")
    return value


def _require_reruns(path: Path, rows: list[tuple[int, CsvRow]]) -> None:
    """Raise DataError when rows of the same params and tokens don't differ in their seed."""
    seen: dict[str, int] = {}
    for line, row in rows:
        seed = (row.get("seed") or "").strip()
        if seed in seen:
            same = f"params={row['params'].strip()}, tokens={row['tokens'].strip()}" + (
                f", seed={seed}" if seed else ""
            )
            tell = "give each its own `seed`" if "seed" in row else "add a column `seed` that tells them apart"
            raise DataError(
                f"{path} lines {seen[seed]} and {line} are duplicates: both have {same}; remove one, or, when they are "
                f"reruns, {tell}"
            )
        seen[seed] = line


def _spread(losses: list[FloatArray]) -> float | None:
    """Return the pooled relative standard deviation of reruns."""
    squares = sum(float(((np.log(group) - np.log(group).mean()) ** 2).sum()) for group in losses)
    num_free = sum(len(group) - 1 for group in losses)
    return math.sqrt(squares / num_free) if num_free else None
