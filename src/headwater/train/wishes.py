"""What signals ask of a run between two steps, the same on all ranks."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.machine.signals import StopRequest
from headwater.records import read_records
from headwater.train.assemble import Run

SLOWER = 1.5  # times the slowest save of late, that a save is taken to last at most
RECENT_SAVES = 5


@dataclass(frozen=True)
class Wishes:
    """Whether to save and go on, to stop, and, when stopping, whether a save would be cut off."""

    save: bool
    stop: bool
    has_no_time: bool


def wishes(run: Run, stop: StopRequest) -> Wishes:
    """Return what any rank was asked for; a request to save is served by this, and forgotten."""
    save_is_asked = stop.save_is_asked
    if save_is_asked:  # not otherwise: a signal may come just now
        stop.save_is_asked = False
    left = stop.seconds_left
    has_no_time = left is not None and left < predicted_save_seconds(run)
    return Wishes(*run.machine.any_rank([save_is_asked, stop.signal_name is not None, has_no_time]))


def is_asked_to_stop(run: Run, stop: StopRequest) -> bool:
    """Return whether any rank was asked to stop so far, so that all end alike; all ranks call it together."""
    return run.machine.any_rank([stop.signal_name is not None])[0]


def predicted_save_seconds(run: Run) -> float:
    """Return how long a save may last, by those of this run, also of earlier attempts; 0 where there were none."""
    saves = read_records(run.run_dir / "records.jsonl", "checkpoint")[-RECENT_SAVES:]
    # older records have no thread's seconds: training waited for all of a save
    times = [save["seconds"] + save.get("background_seconds", 0.0) for save in saves]
    # one that is under way may not be recorded yet
    return SLOWER * max([*times, run.saving.get("seconds", 0.0)], default=0.0)
