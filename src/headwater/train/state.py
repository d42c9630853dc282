"""Where a run is: its counts, which each step replaces by others; its objects; and its checkpoints."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from headwater.batches.source import BatchSource
from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.save import Saved, Saver
from headwater.checkpoint.verify import read_state
from headwater.compute import set_up
from headwater.device.facts import MachineFacts
from headwater.device.microbatch import Microbatch
from headwater.device.peak import Peak
from headwater.errors import CheckpointError
from headwater.files import remove_folder
from headwater.host.energy import EnergyMeter
from headwater.host.garbage import collected_on_request
from headwater.host.memory import PeakMeter
from headwater.interventions import Interventions
from headwater.model.init import OpenFirst
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.parallel.data_parallel import DataParallel
from headwater.ranks.exchange import Ranks
from headwater.ranks.watchdog import Watchdog
from headwater.records import Record, RunRecords, UnwrittenRecords
from headwater.train.longer import identity_of
from headwater.train.settings import TrainPlan


@dataclass(frozen=True)
class History:
    """Losses and gradient norms of the last updates, all finite, by which the next one is judged."""

    stage: int | None = None  # of the mixture: harder text is no outlier
    losses: tuple[float, ...] = ()
    grad_norms: tuple[float, ...] = ()

    def on(self, stage: int) -> History:
        """Return these, or none where text of another stage begins."""
        return self if stage == self.stage else History(stage)

    def followed_by(self, loss: float, grad_norm: float, window: int) -> History:
        """Return the last `window` of these and one more."""
        return History(self.stage, (*self.losses, loss)[-window:], (*self.grad_norms, grad_norm)[-window:])


@dataclass(frozen=True)
class RunState:
    """How far a run has come, in all its processes: with weights and optimizer state, all that decides what follows."""

    step: int = 0  # completed updates
    rows_consumed: int = 0  # the next step's first row: it never falls, though a run may go back to an earlier step
    tokens_seen: int = 0  # of the completed updates, padding included, as `train.batch_tokens` and plans count them
    seconds: float = 0.0  # what a crash lost isn't counted
    history: History = History()


@dataclass(frozen=True)
class Run:
    """All objects of one process that trains, and the state from which it began."""

    run_dir: Path
    plan: TrainPlan
    facts: MachineFacts
    ranks: Ranks
    parallel: DataParallel
    peak: Peak
    model: Transformer
    fast_model: Transformer  # the same modules and parameters as this machine trains them: compiled on a GPU
    measured: Transformer  # as an evaluation calls them, all ranks together, for inputs of many shapes
    hidden: Callable[..., Any]  # and for those of few
    microbatch: Microbatch
    optimizer: Optimizer
    batches: BatchSource
    open_first: OpenFirst
    records: RunRecords | UnwrittenRecords
    saver: Saver
    watchdog: Watchdog
    interventions: Interventions
    energy: EnergyMeter
    memory: PeakMeter
    start: RunState
    started_at: float  # by time.perf_counter
    say: Callable[[str], None] = field(default=lambda line: None)
    display: Callable[[Record], None] = field(default=lambda record: None)

    def record(self, event: str, step: int, **fields: Any) -> None:
        """Append to the run's records, and show it."""
        self.display(self.records.append(event, step, **fields))

    def with_clock_started(self) -> Run:
        """Return this run, whose time and energy count from now on: to be ready for the first step isn't training."""
        energy = EnergyMeter(self.facts.num_threads * self.ranks.world_size, self.facts.device)
        return replace(self, started_at=time.perf_counter(), energy=energy)

    def seconds(self) -> float:
        """Return the time of training so far, by all the run's processes."""
        return self.start.seconds + time.perf_counter() - self.started_at

    def peak_memory_bytes(self) -> int | None:
        """Return the most this process held since the run was built, of a GPU's memory where it has one.

        None where it had held more before.
        """
        of_device = self.parallel.device.peak_memory_bytes()
        return self.memory.peak() if of_device is None else of_device


def state_of_checkpoint(contents: Mapping[str, Any]) -> RunState:
    """Return the state that a checkpoint's state.json tells."""
    guard = contents["guard"]
    history = History(guard["stage"], tuple(guard["losses"]), tuple(guard["grad_norms"]))
    counts = {name: contents[name] for name in ("step", "rows_consumed", "tokens_seen", "seconds")}
    return RunState(**counts, history=history)


def _contents(run: Run, state: RunState) -> dict[str, Any]:
    """Return what state.json says of a checkpoint."""
    history = state.history
    return {
        "step": state.step,
        "rows_consumed": state.rows_consumed,
        "tokens_seen": state.tokens_seen,
        "guard": {"stage": history.stage, "losses": list(history.losses), "grad_norms": list(history.grad_norms)},
        "seconds": state.seconds,
        "machine": run.facts.decisive(),
        "world_size": run.ranks.world_size,
        "mesh": asdict(run.ranks.mesh),
        "microbatch_tokens": run.microbatch.tokens,
        "identity": identity_of(run.plan, run.batches),
    }


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


def save(run: Run, state: RunState, signal: str | None = None) -> None:
    """Begin to save this step, when the save before it is on disk; the copy of the state is waited for, the disk isn't.

    The record of it will name the `signal`. A step that is being saved, or is saved, isn't saved again.
    """
    rest(run)
    model, optim = run.model.state_dict(), run.optimizer.state_tensors()
    pinned = kept_besides_newest(run, state)
    record_saved(run, run.saver.begin(state.step, model, optim, _contents(run, state), pinned, signal))


def finish_save(run: Run) -> None:
    """Wait until what is being saved is on disk, on all ranks."""
    run.watchdog.rest()
    record_saved(run, run.saver.finish())
    run.ranks.wait()


def record_saved(run: Run, saved: Saved | None) -> None:
    """Record a checkpoint once it is on disk: how long training waited for it, and how long writing took beside it."""
    if saved is None:
        return
    fields: dict[str, Any] = {"bytes": saved.bytes, "peak_memory_bytes": run.peak_memory_bytes()}
    fields |= {} if saved.signal is None else {"signal": saved.signal}
    # a process that is killed has said by then what it held
    times = {"seconds": round(saved.waited_seconds, 4), "background_seconds": round(saved.seconds, 4)}
    run.record("checkpoint", saved.step, **fields, **times)


def prune_checkpoints(run: Run, state: RunState) -> None:
    """Remove old checkpoints as after a save: a process that died before it did so left them."""
    run.saver.retain(kept_besides_newest(run, state))
    run.ranks.wait()


# ---- which checkpoints are part of the run as it is now


def rows_of_checkpoint(path: Path) -> int | None:
    """Return how many rows a checkpoint's run had gone through; None where its state is damaged."""
    try:
        return int(read_state(path)["rows_consumed"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None


def remove_abandoned(run_dir: Path, interventions: Interventions) -> None:
    """Remove the checkpoints that the run went back from; the steps are done again, and saved under the same names."""
    if not interventions.rollbacks:
        return
    for step, path in list_checkpoints(run_dir):
        rows = rows_of_checkpoint(path)
        if rows is not None and interventions.is_abandoned(step, rows):
            remove_folder(path)


def rollback_targets(
    run_dir: Path, before_row: int | None, save_every: int, used: Collection[int] = ()
) -> Iterator[tuple[int, Path]]:
    """Yield (step, checkpoint) of what a run can go back to, newest first, that has seen no row from `before_row` on.

    Only multiples of `save_every` count: a signal saves at other steps, too, and a run that was stopped must go back to
    where one that never was would. Going back to a step that was `used` would bring the same weights again.
    """
    for step, path in list_checkpoints(run_dir):
        if step % save_every == 0 and step not in used:
            rows = rows_of_checkpoint(path) if before_row is not None else 0
            if before_row is None or (rows is not None and rows <= before_row):
                yield step, path


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
    before_row = next(iter(bad_rows(run, state)), None)
    used = list(run.interventions.rollbacks_by_step())

    def steps() -> Collection[int]:
        targets = rollback_targets(run.run_dir, before_row, settings.save_every, used)
        return {*lasting, *(step for step, _ in islice(targets, settings.keep_checkpoints))}

    return steps
