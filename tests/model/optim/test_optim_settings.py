"""Which values are taken, and what plans count of the optimizer: FLOPs beside the matrices' own, stacks, owners."""

from __future__ import annotations

from itertools import product
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.model.optim.schedule import ScheduleSettings
from headwater.model.optim.settings import (
    OptimSettings,
    block_rows_for,
    orthogonalisation_share,
    owners_by_cost,
    stack_size,
)

OPTIM = {"matrix_lr": 0.02, "embedding_lr": 0.3, "head_lr": 0.003, "vector_lr": 0.003, "weight_decay": 0.1}
POSITIVE, SHARE, FROM_ZERO = ([1e-9, 3.0], [0.0, -1e-9]), ([0.0, 0.999], [-1e-9, 1.0]), ([0.0, 2.0], [-1e-9])
VALUES = {  # (taken, refused)
    (OptimSettings, "matrix_lr"): POSITIVE,
    (OptimSettings, "embedding_lr"): POSITIVE,
    (OptimSettings, "head_lr"): POSITIVE,
    (OptimSettings, "vector_lr"): POSITIVE,
    (OptimSettings, "eps"): POSITIVE,
    (OptimSettings, "max_grad_norm"): ([None, 1e-9, 3.0], [0.0]),
    (OptimSettings, "momentum"): SHARE,
    (OptimSettings, "beta1"): SHARE,
    (OptimSettings, "beta2"): SHARE,
    (OptimSettings, "weight_decay"): FROM_ZERO,
    (OptimSettings, "block_rows"): ([None, 8, 4096], [7]),
    (ScheduleSettings, "warmup_steps"): ([0, 10**6], [-1]),
    (ScheduleSettings, "decay_fraction"): ([1e-9, 1.0], [0.0, 1.001]),
    (ScheduleSettings, "final_fraction"): ([0.0, 1.0], [-1e-9, 1.001]),
}


@pytest.mark.parametrize(("kind", "name"), VALUES)
def test_values_up_to_the_limit_are_taken_and_none_beyond(kind, name):
    base = OPTIM if kind is OptimSettings else {"warmup_steps": 1}
    taken, refused = VALUES[kind, name]
    for value in taken:
        assert getattr(kind(**base | {name: value}), name) == value
    for value in refused:
        with pytest.raises(ValidationError, match=name):
            kind(**base | {name: value})


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 10**6))
def test_muons_share_of_a_step_is_its_flops_over_those_of_the_matrix(short, ratio, tokens):
    rows, columns = 8 * short, 8 * short * ratio
    square, wide = 4 * (3 * rows**2 * columns + rows**3), 3 * rows**2 * columns + 13 * 2 * rows**3
    expected = (wide if ratio >= 4 else square) / (6 * rows * columns * tokens)
    assert orthogonalisation_share(rows, columns, tokens) == pytest.approx(expected)
    assert orthogonalisation_share(columns, rows, tokens) == pytest.approx(expected)
    assert block_rows_for(rows, columns, tokens) == (128 if expected > 0.15 else None)


def test_a_stack_holds_eight_million_numbers_or_one_matrix():
    assert [stack_size(*shape) for shape in [(1024, 1024), (64, 128), (1000, 1000), (4096, 4096)]] == [8, 1024, 8, 1]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=7), st.integers(1, 4))
def test_owners_leave_no_rank_with_more_than_a_third_over_the_best_division(costs, world_size):
    """Graham's bound of the longest-first rule, 4/3 − 1/(3 ranks), against every division there is."""
    owners = owners_by_cost(costs, world_size)
    assert len(owners) == len(costs)

    def heaviest(division) -> int:
        return max(sum(cost for cost, owner in zip(costs, division) if owner == rank) for rank in range(world_size))

    best = min(map(heaviest, product(range(world_size), repeat=len(costs))))
    assert heaviest(owners) <= best * (4 / 3 - 1 / (3 * world_size)) + 1e-9
    if prod(costs) > 1 and world_size <= len(costs):
        assert set(owners) == set(range(world_size))
