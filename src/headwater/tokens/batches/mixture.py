"""The mixture plan: which source each row of the whole run comes from, in exact integers.

Within a stage the sources stand in a fixed order with integer weights w_1 … w_m and sums C_j = w_1 + … + w_j. Of the
first x rows of the first j sources, floor(x · C_(j-1) / C_j) belong to the first j - 1 and the others to source j.
These nested floors rise by 0 or 1 with each row, so every source's draws are 0, 1, 2, … without gap or repeat, and
its share is off by less than one row a level at every moment. (Rounding the cumulative shares, floor(g · C_j / C) -
floor(g · C_(j-1) / C), doesn't have this: it can fall.) A row's source and draw are a function of its number alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from headwater.core.errors import ConfigError, StoreError
from headwater.core.files import digest_json
from headwater.tokens.batches.settings import MixtureSettings

PLAN_VERSION = 1
USUAL_EPOCHS = 4.0
"Text read up to four times teaches almost as much as new text (Muennighoff et al. 2023, arXiv 2305.16264)."
_WEIGHT_SUM = 1 << 20
MAX_ROWS = 1 << 42  # row number × weight sum stays below 2^63


@dataclass(frozen=True)
class MixtureStage:
    """From row `first_row` on: integer weights by source, heaviest first, and the rows each has given before."""

    first_row: int
    weights: dict[str, int]
    drawn: dict[str, int]

    def counts(self, num_rows: int) -> dict[str, int]:
        """Return how many of the stage's first `num_rows` rows each source gives."""
        result = {}
        names, sums = list(self.weights), np.cumsum(list(self.weights.values())).tolist()
        left = num_rows
        for level in range(len(names) - 1, 0, -1):
            inner = left * sums[level - 1] // sums[level]
            result[names[level]] = left - inner
            left = inner
        return result | {names[0]: left}


@dataclass(frozen=True)
class MixturePlan:
    """`rows` of each source that are read, and the stages, in order; a plan is finite JSON.

    `of_rows` is how many rows each source has, None where all of them are read.
    """

    rows: dict[str, int]
    stages: tuple[MixtureStage, ...]
    of_rows: dict[str, int] | None = None

    @property
    def sources(self) -> list[str]:
        return sorted(self.rows)

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each global row, the number of its source in `sources` and its draw (both int64)."""
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < MAX_ROWS:
            raise StoreError(f"row numbers must lie in [0, {MAX_ROWS}); found {rows.min()} to {rows.max()}")
        number_of = {name: number for number, name in enumerate(self.sources)}
        source, draw = np.empty_like(rows), np.empty_like(rows)
        stage_of = np.searchsorted([stage.first_row for stage in self.stages], rows, side="right") - 1
        for number in np.unique(stage_of):
            stage = self.stages[number]
            here = stage_of == number
            source[here], draw[here] = _locate(stage, rows[here] - stage.first_row, number_of)
        return source, draw

    def counts(self, num_rows: int) -> dict[str, int]:
        """Return how many of the first `num_rows` rows each source gives."""
        stage = [stage for stage in self.stages if stage.first_row <= num_rows][-1]
        new = stage.counts(num_rows - stage.first_row)
        return {name: stage.drawn[name] + new.get(name, 0) for name in self.sources}

    def epochs(self, num_rows: int) -> dict[str, float]:
        """Return how often each source is seen in the first `num_rows` rows."""
        return {name: count / max(self.rows[name], 1) for name, count in self.counts(num_rows).items()}

    def shares(self, num_rows: int) -> dict[str, float]:
        """Return each source's part of the first `num_rows` rows, which all have the same length in tokens."""
        return {name: count / max(num_rows, 1) for name, count in self.counts(num_rows).items()}

    def begins_as(self, other: MixturePlan, num_rows: int) -> bool:
        """Return whether the first `num_rows` rows are the same as in another plan."""
        mine, others = ([each for each in plan.stages if each.first_row < num_rows] for plan in (self, other))
        return self.rows == other.rows and self.of_rows == other.of_rows and mine == others

    def with_stage(self, first_row: int, weights: dict[str, float]) -> MixturePlan:
        """Return a plan with other weights from `first_row` on; what comes before stays as it is."""
        kept = tuple(stage for stage in self.stages if stage.first_row < first_row)
        before = replace(self, stages=kept) if kept else None
        drawn = before.counts(first_row) if before else dict.fromkeys(self.sources, 0)
        return replace(self, stages=(*kept, MixtureStage(first_row, _integer_weights(weights), drawn)))

    def as_json(self) -> dict[str, Any]:
        stages = [
            # pairs, not a table: the order of the sources is part of the rule
            {"first_row": stage.first_row, "weights": [[*pair] for pair in stage.weights.items()], "drawn": stage.drawn}
            for stage in self.stages
        ]
        part = {} if self.of_rows is None else {"of_rows": self.of_rows}
        return {"version": PLAN_VERSION, "rows": self.rows, **part, "stages": stages}

    @property
    def digest(self) -> str:
        return digest_json(self.as_json())


def _locate(stage: MixtureStage, x: np.ndarray, number_of: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    names, sums = list(stage.weights), np.cumsum(list(stage.weights.values())).tolist()
    source = np.full(x.shape, number_of[names[0]])
    draw = x.copy()
    undecided = np.arange(len(x))
    for level in range(len(names) - 1, 0, -1):
        at = draw[undecided]
        inner = at * sums[level - 1] // sums[level]
        is_inner = (at + 1) * sums[level - 1] // sums[level] > inner
        outer = undecided[~is_inner]
        source[outer] = number_of[names[level]]
        draw[outer] = (at - inner)[~is_inner]
        undecided = undecided[is_inner]
        draw[undecided] = inner[is_inner]
    given = np.array([stage.drawn[name] for name in sorted(number_of)])
    return source, draw + given[source]


def make_plan(
    rows: dict[str, int],
    settings: MixtureSettings,
    num_rows: int,
    targets: Mapping[str, int] | None = None,
    replayed: Mapping[str, float] | None = None,
) -> MixturePlan:
    """Return the plan of a run of `num_rows` rows over sources with these row counts, or over `share_of_text` of each.

    `targets` are the tokens that each source's rows teach, where some are fewer than the rows hold: then a source's
    weight is its share of those and so of the loss, not of the rows. A source that reaches its cap of epochs is
    excluded from that row on, in a new stage. `replayed` are sources that no setting names, with their shares of what
    is learned; the settings divide the rest.
    Raises ConfigError for weights that name no source or miss one, for a source without rows, and when the caps
    leave fewer rows than the run needs.
    """
    all_rows, per_row = rows, _targets_per_row(rows, targets)
    rows = {name: math.ceil(count * settings.share_of_text) for name, count in all_rows.items()}
    replayed = {} if replayed is None else replayed
    own = {name: count for name, count in rows.items() if name not in replayed}
    if (problem := settings.problem_with(own)) is not None:
        raise ConfigError(problem)
    caps = {name: _cap(rows[name], settings.cap_of(name)) for name in rows}
    own_rows = round(num_rows * (1 - sum(replayed.values())))
    weighings = {0: _beside(replayed, _first_weights(own, settings, own_rows, per_row), per_row)}
    for stage in settings.stages:
        weighings[int(stage.start * num_rows)] = _beside(replayed, _drawn_weights(own, stage.weights, per_row), per_row)
    plan = MixturePlan(rows, (), None if rows == all_rows else dict(all_rows))
    for first_row, end in pairwise([*weighings, num_rows]):
        plan = _extended(plan, weighings[first_row], caps, first_row, end, num_rows)
    return plan


def _extended(
    plan: MixturePlan, weights: dict[str, float], caps: dict[str, int], first_row: int, end: int, num_rows: int
) -> MixturePlan:
    """Return the plan with the rows from `first_row` to `end` of a run of `num_rows`, by these weights and caps."""
    while True:
        drawn = plan.counts(first_row) if plan.stages else dict.fromkeys(plan.rows, 0)
        weights = {name: weight for name, weight in weights.items() if drawn[name] < caps[name]}
        if not weights:
            raise ConfigError(
                f"the run needs {num_rows} rows and the epoch caps allow {first_row} "
                f"({', '.join(f'{name} {count}' for name, count in sorted(drawn.items()))}); train on fewer tokens, "
                "raise mixture.max_epochs or give more text"
            )
        plan = plan.with_stage(first_row, weights)
        first_row = min(_end_of_stage(plan.stages[-1], caps), end)
        if first_row >= end:
            return plan


def _cap(rows: int, epochs: float | None) -> int:
    return MAX_ROWS if epochs is None else max(int(rows * epochs), 1)


def _end_of_stage(stage: MixtureStage, caps: dict[str, int]) -> int:
    """Return the first row after which some source of the stage has given all it may."""
    end = MAX_ROWS
    for name in stage.weights:
        room = caps[name] - stage.drawn[name]
        low, high = 0, MAX_ROWS - stage.first_row  # searched: the fewest rows that use up the room
        while low < high:
            middle = (low + high) // 2
            if stage.counts(middle)[name] >= room:
                high = middle
            else:
                low = middle + 1
        end = min(end, stage.first_row + low)
    return end


def _targets_per_row(rows: Mapping[str, int], targets: Mapping[str, int] | None) -> dict[str, float]:
    return {name: 1.0 if targets is None else max(1, targets[name]) / max(1, rows[name]) for name in rows}


def _first_weights(
    rows: dict[str, int], settings: MixtureSettings, num_rows: int, per_row: Mapping[str, float]
) -> dict[str, float]:
    """Return the weights that a run begins with: those given, or those of the rule."""
    if not rows:
        raise ConfigError("there is no source to train on")
    if settings.weights:
        return _drawn_weights(rows, settings.weights, per_row)
    _require_rows(rows, rows)
    if settings.rule == "unimax":
        return by_unimax(rows, num_rows, {name: settings.cap_of(name) or USUAL_EPOCHS for name in rows})
    if settings.rule == "temperature":
        return by_temperature(rows, settings.temperature)
    return {name: float(count) for name, count in rows.items()}


def _beside(replayed: Mapping[str, float], weights: dict[str, float], per_row: Mapping[str, float]) -> dict[str, float]:
    """Return weights of all sources, of which those that are replayed have the shares that they are given."""
    if not any(replayed.values()):
        return weights
    learned = sum(weight * per_row[name] for name, weight in weights.items())
    scale = (1 - sum(replayed.values())) / learned
    again = {name: share / per_row[name] for name, share in replayed.items() if share > 0}
    return {name: scale * weight for name, weight in weights.items()} | again


def _drawn_weights(rows: dict[str, int], weights: dict[str, float], per_row: Mapping[str, float]) -> dict[str, float]:
    """Return the weights by which rows are drawn, of weights that are shares of what is learned."""
    drawn = {name: weight / per_row[name] for name, weight in weights.items() if weight > 0}
    _require_rows(rows, drawn)
    return drawn


def _require_rows(rows: Mapping[str, int], names: Iterable[str]) -> None:
    empty = sorted(name for name in names if rows[name] == 0)
    if empty:
        raise ConfigError(f"no training rows come from {', '.join(empty)}; remove the source or set its weight to 0")


def _integer_weights(weights: dict[str, float]) -> dict[str, int]:
    """Return weights that add up to about 2^20, none below 1, heaviest first (the lightest has the smallest error)."""
    total = sum(weights.values())
    whole = {name: max(1, round(weight / total * _WEIGHT_SUM)) for name, weight in weights.items() if weight > 0}
    return dict(sorted(whole.items(), key=lambda item: (-item[1], item[0])))


# ---- rules that say how much each source gives when nobody says it: from the sources' sizes alone


def by_temperature(rows: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Return weights in proportion to rows^(1 / temperature): 1 is by size, the larger the more equal.

    As for languages of unequal size (Arivazhagan et al. 2019, arXiv 1907.05019, section 4.1).
    """
    largest = max(rows.values(), default=0) or 1
    return _normalised({name: (count / largest) ** (1 / temperature) for name, count in rows.items()})


def by_unimax(rows: Mapping[str, int], num_rows: int, max_epochs: Mapping[str, float]) -> dict[str, float]:
    """Return weights as equal as they can be when no source is seen more than `max_epochs` allows in `num_rows` rows.

    UniMax (Chung et al. 2023, arXiv 2304.09151, algorithm 1): from the smallest source up, each gets an equal part of
    what is left, or all that its cap allows. Raises ConfigError when the caps leave less than the run needs.
    """
    room = {name: count * max_epochs[name] for name, count in rows.items()}
    if sum(room.values()) < num_rows:
        raise ConfigError(
            f"the run needs {num_rows:,} rows, and {sum(rows.values()):,} rows, as often as max_epochs allows, are "
            f"{int(sum(room.values())):,}; train on fewer tokens, raise mixture.max_epochs or give more text"
        )
    left, given = float(num_rows), dict[str, float]()
    smallest_first = sorted(rows, key=lambda name: (rows[name], name))
    for place, name in enumerate(smallest_first):
        given[name] = min(left / (len(smallest_first) - place), room[name])
        left -= given[name]
    return _normalised({name: given[name] for name in rows})


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values()) or 1.0
    return {name: weight / total for name, weight in weights.items()}
