"""What signals request of a run between two steps, the same on all ranks."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.host.signals import StopRequest
from headwater.records import read_records
from headwater.train.assemble import Run

SAVE_TIME_MARGIN = 1.5  # a save is expected to last at most this many times the slowest of the last ones
RECENT_SAVES = 5


@dataclass(frozen=True)
class Requests:
    """Whether to save and continue, to stop, and, when stopping, whether a save would be cut off."""

    save: bool
    stop: bool
    has_no_time: bool


def take_requests(run: Run, stop: StopRequest) -> Requests:
    """Return what was requested of any rank; a request to save counts as served from here on."""
    save = stop.save_requested
    if save:  # not otherwise: a signal may come just now
        stop.save_requested = False
    left = stop.seconds_left
    has_no_time = left is not None and left < predicted_save_seconds(run)
    return Requests(*run.machine.any_rank([save, stop.signal_name is not None, has_no_time]))


def stop_requested(run: Run, stop: StopRequest) -> bool:
    """Return whether any rank was told to stop so far, so that all end alike; all ranks call it together."""
    return run.machine.any_rank([stop.signal_name is not None])[0]


def predicted_save_seconds(run: Run) -> float:
    """Return how long a save may last, by those of all the run's processes; 0 where there were none."""
    saves = read_records(run.run_dir / "records.jsonl", "checkpoint")[-RECENT_SAVES:]
    # older records have no thread's seconds: training waited for all of a save
    times = [save["seconds"] + save.get("background_seconds", 0.0) for save in saves]
    # one that is under way may not be recorded yet
    return SAVE_TIME_MARGIN * max([*times, run.saving.get("seconds", 0.0)], default=0.0)
