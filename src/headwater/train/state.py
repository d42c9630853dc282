"""Where a run is: a value that each step replaces; the objects of its process; when and how the two are saved."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from headwater.core.records import Record, RunRecords, UnwrittenRecords, seconds_of_saves
from headwater.machine.compute import MachineFacts, set_up
from headwater.machine.device.microbatch import Microbatch
from headwater.machine.host.memory import PeakMeter, collected_on_request
from headwater.machine.host.signals import StopRequest
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.machine.parallel.prepare import Prepared
from headwater.machine.ranks.exchange import Ranks
from headwater.machine.ranks.watchdog import Watchdog
from headwater.model.init import OpenFirst
from headwater.model.optim.optimizer import Optimizer
from headwater.tokens.batches.source import BatchSource
from headwater.tokens.skipped_rows import Interventions
from headwater.train.checkpoint.save import Saved, Saver
from headwater.train.resume import identity_of, rollback_targets
from headwater.train.settings import SAVE_TIME_MARGIN, TrainPlan


@dataclass(frozen=True)
class LossHistory:
    """Losses and gradient norms of the last updates, all finite, by which the next one is judged."""

    stage: int | None = None  # of the mixture: harder text is no outlier
    losses: tuple[float, ...] = ()
    grad_norms: tuple[float, ...] = ()

    def on(self, stage: int) -> LossHistory:
        """Return these, or none where text of another stage begins."""
        return self if stage == self.stage else LossHistory(stage)

    def followed_by(self, loss: float, grad_norm: float, window: int) -> LossHistory:
        """Return the last `window` of these and one more."""
        return LossHistory(self.stage, (*self.losses, loss)[-window:], (*self.grad_norms, grad_norm)[-window:])


@dataclass(frozen=True)
class RunState:
    """How far a run has come, in all its processes: with weights and optimizer state, all that decides what follows."""

    step: int = 0  # completed updates
    rows_consumed: int = 0  # the next step's first row: it never falls, though a run may go back to an earlier step
    tokens_seen: int = 0  # of the completed updates, padding included, as `train.batch_tokens` and plans count them
    seconds: float = 0.0  # what a crash lost isn't counted
    history: LossHistory = LossHistory()


def state_of_checkpoint(contents: Mapping[str, Any]) -> RunState:
    """Return the state that a checkpoint's state.json tells."""
    counts = {name: contents[name] for name in ("step", "rows_consumed", "tokens_seen", "seconds")}
    before = contents["history"]
    return RunState(
        **counts, history=LossHistory(before["stage"], tuple(before["losses"]), tuple(before["grad_norms"]))
    )


@dataclass(frozen=True)
class Run:
    """All objects of one process that trains, and the state from which it began."""

    run_dir: Path
    plan: TrainPlan
    facts: MachineFacts
    ranks: Ranks
    parallel: DataParallel
    prepared: Prepared
    microbatch: Microbatch
    optimizer: Optimizer
    batches: BatchSource
    open_first: OpenFirst
    records: RunRecords | UnwrittenRecords
    saver: Saver
    watchdog: Watchdog
    interventions: Interventions
    memory: PeakMeter
    start: RunState
    say: Callable[[str], None]
    started_at: float = field(default_factory=time.perf_counter)
    display: Callable[[Record], None] = field(default=lambda record: None)

    def record(self, event: str, step: int, **fields: Any) -> None:
        """Append to the run's records, and show it."""
        self.display(self.records.append(event, step, **fields))

    def seconds(self) -> float:
        """Return the time of training so far, by all the run's processes."""
        return self.start.seconds + time.perf_counter() - self.started_at

    def peak_memory_bytes(self) -> int | None:
        """Return the most this process held since the run was built, of a GPU's memory where it has one.

        None where it had held more before.
        """
        of_device = self.parallel.device.peak_memory_bytes()
        return self.memory.peak() if of_device is None else of_device


@contextmanager
def at_work(run: Run) -> Iterator[None]:
    """Compute as the machine does best, inside; at the end let the save under way come to its own."""
    try:
        with set_up(run.facts), collected_on_request():
            yield
    except BaseException:
        run.saver.give_up()
        raise
    finally:
        run.watchdog.close()
        run.saver.close()


def rest(run: Run) -> None:
    """Watch nothing until the next step, once all ranks have ended this one, and collect what is garbage.

    One rank may then work for long alone: the others wait for it in `Ranks.wait` or `Ranks.from_first`, whose time-out
    is a day; a step's is half an hour.
    """
    run.parallel.any([False])
    run.watchdog.rest()
    gc.collect()


# ---- saving


def save(run: Run, state: RunState, signal: str | None = None) -> None:
    """Begin to save this step, when the save before it is on disk; the copy of the state is waited for, the disk isn't.

    The record of it will name the `signal`. A step that is being saved, or is saved, isn't saved again.
    """
    rest(run)
    contents = asdict(state) | {
        "machine": run.facts.decisive(),
        "mesh": asdict(run.ranks.mesh),
        "microbatch_tokens": run.microbatch.tokens,
        "identity": identity_of(run.plan, run.batches),
    }
    tensors = run.prepared.model.state_dict(), run.optimizer.state_tensors()
    record_saved(run, run.saver.begin(state.step, *tensors, contents, kept_besides_newest(run, state), signal))


def finish_save(run: Run) -> None:
    """Wait until what is being saved is on disk, on all ranks."""
    run.watchdog.rest()
    record_saved(run, run.saver.finish())
    run.ranks.wait()


def record_saved(run: Run, saved: Saved | None) -> None:
    """Record a checkpoint once it is on disk: how long training waited for it, and how long writing took beside it."""
    if saved is None:
        return
    signal = {} if saved.signal is None else {"signal": saved.signal}
    # a process that is killed has said by then what it held
    sizes = {"bytes": saved.bytes, "peak_memory_bytes": run.peak_memory_bytes()}
    times = {"seconds": round(saved.waited_seconds, 4), "background_seconds": round(saved.seconds, 4)}
    run.record("checkpoint", saved.step, **sizes, **signal, **times)


def bad_rows(run: Run, state: RunState) -> list[int]:
    """Return the first row of each of the last steps that was skipped, since the run last went back."""
    num_steps = max(run.plan.train.guard_window, run.plan.train.max_bad_steps)
    return run.interventions.skipped_of_late(state.rows_consumed, num_steps * run.plan.rows_per_step)


def kept_besides_newest(run: Run, state: RunState) -> Callable[[], Collection[int]]:
    """Return a function that names, once this step is saved, the older checkpoints that stay.

    They are those that a rollback may need and those that the run, or another one, may be trained on from.
    """
    settings, lasting = run.plan.train, run.plan.lasting_steps()
    if state.step == settings.num_steps:
        return lambda: lasting
    before_row = next(iter(bad_rows(run, state)), math.inf)
    used = list(run.interventions.rollbacks_by_step())

    def steps() -> Collection[int]:
        targets = rollback_targets(run.run_dir, before_row, settings.save_every, used)
        return {*lasting, *(found["step"] for _, found in islice(targets, settings.keep_checkpoints))}

    return steps


# ---- what signals request


def own_requests(run: Run, stop: StopRequest) -> list[bool]:
    """Return what signals request of this rank: to save and continue; to stop; to stop with no time for a save."""
    left = stop.seconds_left
    has_no_time = left is not None and left < predicted_save_seconds(run)
    return [stop.save_requested, stop.signal_name is not None, has_no_time]


def handle_requests(run: Run, state: RunState, stop: StopRequest, flags: Sequence[bool] | None) -> bool:
    """Record a save that has come to its end; save or stop as requested; return False when the run is to stop.

    `flags` are the `own_requests` of all ranks, each of which is set where any has set it. They went along with the
    loss of the step before, so that all know them after the same step and wait for nothing else. None: they are
    exchanged here, for there was no step, or a pause since, in which more may have come.
    """
    record_saved(run, run.saver.poll())
    if flags is None or run.ranks.world_size == 1:
        flags = run.parallel.any(own_requests(run, stop))
    is_save, is_stop, has_no_time = flags
    name = stop.signal_name or "another rank"
    if has_no_time:
        # a save that is killed half-way leaves the last checkpoint as it is, and has cost time that is not there
        seconds = round(predicted_save_seconds(run), 1)
        run.record("stopped", state.step, signal=name, saved=False, save_seconds=seconds)
    elif is_stop:
        save(run, state)
        finish_save(run)
        run.record("stopped", state.step, signal=name, saved=True)
    elif is_save:
        stop.save_requested = False  # before the save: a signal that comes during it requests another
        save(run, state, signal="SIGUSR1")
    return not is_stop


def stop_requested(run: Run, stop: StopRequest) -> bool:
    """Return whether any rank got a signal to stop so far, so that all end alike; all ranks call it together."""
    return run.parallel.any([stop.signal_name is not None])[0]


def predicted_save_seconds(run: Run) -> float:
    """Return how long a save may last, by those of all the run's processes; 0 where there were none."""
    times = seconds_of_saves(run.run_dir / "records.jsonl")
    # one that is under way may not be recorded yet
    return SAVE_TIME_MARGIN * max([*times, run.saver.waited_seconds], default=0.0)
