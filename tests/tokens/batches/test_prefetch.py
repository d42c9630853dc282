"""Batches of a run's steps: in order whatever step is next, made ahead by one thread, and errors where they belong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from headwater.tokens.batches.prefetch import NUM_AHEAD, StepRows

STEP_ROWS, MICROBATCH_ROWS = 8, 2


class Rows:
    """Stands for a batch source: a batch is its first row and how many it has."""

    def __init__(self, bad_row: int | None = None) -> None:
        self.made: list[int] = []
        self.bad_row = bad_row

    def rows(self, first_row: int, num_rows: int) -> tuple[int, int]:
        if first_row == self.bad_row:
            raise ValueError("the disk is gone")
        self.made.append(first_row)
        return first_row, num_rows


@contextmanager
def steps_of(rows: Rows, part: tuple[int, int] = (0, 1)) -> Iterator[StepRows]:
    with closing(StepRows(rows, STEP_ROWS, MICROBATCH_ROWS, part)) as steps:
        yield steps


@pytest.mark.parametrize(("part", "first"), [((0, 1), [0, 2, 4, 6]), ((0, 2), [0, 2]), ((1, 2), [4, 6])])
def test_a_step_has_this_ranks_microbatches_in_order(part, first):
    with steps_of(Rows(), part) as steps:
        for step in range(5):
            batches, seconds = steps.at(step * STEP_ROWS)
            assert batches == [(step * STEP_ROWS + row, MICROBATCH_ROWS) for row in first]
            assert seconds >= 0


def test_a_run_that_goes_back_gets_the_rows_it_asks_for():
    with steps_of(Rows()) as steps:
        assert [steps.at(row)[0][0][0] for row in (0, 8, 40, 48, 8)] == [0, 8, 40, 48, 8]


def test_what_making_a_batch_raises_is_raised_at_its_step():
    with steps_of(Rows(bad_row=10)) as steps:
        assert steps.at(0)[0]
        for _ in range(2):
            with pytest.raises(ValueError, match="the disk is gone"):
                steps.at(8)


def test_no_more_steps_are_made_ahead_than_said():
    rows = Rows()
    num_batches = (1 + NUM_AHEAD) * STEP_ROWS // MICROBATCH_ROWS
    with steps_of(rows) as steps:
        steps.at(0)
        deadline = time.monotonic() + 10
        while len(rows.made) < num_batches and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(rows.made) == num_batches


def test_close_ends_the_thread():
    before = threading.active_count()
    with steps_of(Rows()) as steps:
        steps.at(0)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
