"""Which of a run's checkpoints are part of its way, and to which of them it can go back.

Only checkpoints at multiples of `save_every` are gone back to: a signal saves at other steps, too, and a run that was
stopped must go back to where one that never was would. No torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.verify import read_state
from headwater.errors import CheckpointError
from headwater.files import remove_folder
from headwater.train.interventions import Interventions


def rows_consumed(path: Path) -> int | None:
    """Return how many rows a checkpoint's run had gone through; None where its state is damaged."""
    try:
        return int(read_state(path)["rows_consumed"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None


def remove_left_behind(run_dir: Path, interventions: Interventions) -> None:
    """Remove the checkpoints that the run went back from; the steps are done again, and saved under the same names."""
    if not interventions.rollbacks:
        return
    for step, path in list_checkpoints(run_dir):
        rows = rows_consumed(path)
        if rows is not None and interventions.is_left_behind(step, rows):
            remove_folder(path)


def places_to_go_back_to(
    run_dir: Path, before_row: int | None, save_every: int, tried: Collection[int] = ()
) -> Iterator[tuple[int, Path]]:
    """Yield (step, checkpoint) of what a run can go back to, newest first, that has seen no row from `before_row` on.

    To a step that was `tried` without success, going back again would bring the same weights.
    """
    for step, path in list_checkpoints(run_dir):
        if step % save_every == 0 and step not in tried:
            rows = rows_consumed(path) if before_row is not None else 0
            if before_row is None or (rows is not None and rows <= before_row):
                yield step, path
