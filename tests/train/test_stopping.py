"""What signals make of a run: save and continue, save and stop, or stop without a save that would be cut off."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from many_ranks import TRAIN_TINY, on_ranks
from small_run import without_clock
from tiny_run import begin, plan, train_on

from headwater.core.records import read_records
from headwater.machine.host.signals import StopRequest
from headwater.machine.parallel.data_parallel import DataParallel
from headwater.train.checkpoint import save
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.verify import is_whole
from headwater.train.state import handle_requests, own_requests, predicted_save_seconds


def train_with(run_dir: Path, stop: StopRequest, display=lambda record: None) -> bool:
    """Train as far as `stop` lets it; return whether that is the last step."""
    return train_on(begin(run_dir, plan()), display, stop).step == plan().train.num_steps


def send_after(step: int, number: signal.Signals):
    def display(record):
        if record["event"] == "step" and record["step"] == step:
            os.kill(os.getpid(), number)

    return display


def records(run_dir: Path, event: str) -> list[dict]:
    return read_records(run_dir / "records.jsonl", event)


def test_sigusr1_saves_and_training_continues_to_the_same_bits(tmp_path):
    train_with(tmp_path / "plain", StopRequest())
    with StopRequest() as stop:
        assert train_with(tmp_path / "saved", stop, send_after(5, signal.SIGUSR1))
    assert [(r["step"], r.get("signal")) for r in records(tmp_path / "saved", "checkpoint")] == [
        (4, None), (5, "SIGUSR1"), (8, None), (12, None)
    ]  # fmt: skip
    steps = [without_clock(records(tmp_path / name, "step")) for name in ("plain", "saved")]
    assert steps[0] == steps[1]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def slow_saves(monkeypatch) -> Clock:
    """Let every save take 4 s of a clock that stands still otherwise."""
    clock = Clock()

    copied = save.pieces_to_write

    def slowly_copied(*args):
        clock.now += 4.0
        return copied(*args)

    monkeypatch.setattr(save, "pieces_to_write", slowly_copied)
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr("headwater.train.step.time", type("T", (), {"perf_counter": iter(range(10**6)).__next__}))
    return clock


@pytest.mark.parametrize(
    ("stop_within", "step", "number", "is_saved"),
    [
        (6.5, 6, signal.SIGTERM, True),
        (5.9, 6, signal.SIGTERM, False),
        (0.1, 2, signal.SIGTERM, True),  # the first save of all is tried
        (0.1, 6, signal.SIGINT, True),  # has no deadline
    ],
)
def test_a_save_begins_only_where_it_will_end(tmp_path, slow_saves, stop_within, step, number, is_saved):
    with StopRequest(stop_within, slow_saves) as stop:
        assert not train_with(tmp_path, stop, send_after(step, number))
    (stopped,) = records(tmp_path, "stopped")
    assert (stopped["step"], stopped["signal"], stopped["saved"]) == (step, number.name, is_saved)
    assert list_checkpoints(tmp_path)[0][0] == (step if is_saved else 4)
    assert all(is_whole(path) for _, path in list_checkpoints(tmp_path))
    if not is_saved:
        assert stopped["save_seconds"] == 6.0
        run = begin(tmp_path, plan())
        run.records.close()
        assert (run.start.step, predicted_save_seconds(run)) == (4, 6.0), "saves of earlier attempts count"


def test_the_time_is_counted_from_the_first_sigterm_by_a_clock_that_only_goes_forward():
    clock = Clock()
    with StopRequest(30.0, clock) as stop:
        assert stop.seconds_left is None
        os.kill(os.getpid(), signal.SIGTERM)
        clock.now += 10
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.seconds_left == 20.0
    assert StopRequest()._clock is time.monotonic


@pytest.fixture
def begun(tmp_path):
    """A run that has done no step."""
    run = begin(tmp_path, plan())
    yield run
    run.records.close()


NO, SAVE, STOP = [False] * 3, [True, False, False], [False, True, False]
REQUESTS = [  # ranks, the others' requests, this one's signal, what went along with the step; goes on, saves, exchanges
    (1, NO, "", None, True, [], 1, NO),
    (1, STOP, "", None, False, [None], 1, NO),  # what is requested of one rank all ranks do
    (1, NO, "SIGTERM", NO, False, [None], 1, STOP),  # of one rank what came since the step counts
    (2, NO, "", None, True, [], 1, NO),  # before the first step there is no step to go along with
    (2, NO, "SIGTERM", NO, True, [], 0, STOP),  # since the step: the others don't know it yet
    (2, NO, "SIGUSR1", NO, True, [], 0, SAVE),  # nor this, which is kept until it is served
    (2, NO, "SIGUSR1", SAVE, True, ["SIGUSR1"], 0, NO),
]


@pytest.mark.parametrize(
    ("world_size", "of_others", "signalled", "of_step", "goes_on", "saves", "num_exchanges", "left"), REQUESTS
)
def test_requests_of_ranks_go_along_with_the_step_and_nothing_else_is_waited_for(
    begun, monkeypatch, world_size, of_others, signalled, of_step, goes_on, saves, num_exchanges, left
):
    exchanges, saved, stop = [], [], StopRequest()
    monkeypatch.setattr(
        DataParallel, "any", lambda parallel, own: exchanges.append(own) or [*map(any, zip(own, of_others))]
    )
    monkeypatch.setattr("headwater.train.state.save", lambda *given, signal=None: saved.append(signal))
    begun.ranks.world_size = world_size
    stop.save_requested = signalled == "SIGUSR1"
    stop.signal_name = "SIGTERM" if signalled == "SIGTERM" else None
    assert handle_requests(begun, begun.start, stop, of_step) is goes_on
    assert (saved, len(exchanges), own_requests(begun, stop)) == (saves, num_exchanges, left)


RANKS = f"""
import signal
{TRAIN_TINY}

def signal_of(what):
    if what == PAUSE and not ranks.is_first:
        os.kill(os.getpid(), signal.SIGTERM)

class Signalled(CountingEvaluator):
    def validate(self, model, forward):
        signal_of("evaluation")
        return super().validate(model, forward)

copied = save.pieces_to_write
save.pieces_to_write = lambda *args: (signal_of("save"), copied(*args))[1]
print(json.dumps(train_tiny(Signalled(), num_steps=6, save_every=2, validate_every=3)))
"""


@pytest.mark.parametrize(("pause", "step"), [("save", 2), ("evaluation", 3)])
def test_a_signal_to_one_of_two_ranks_during_a_pause_stops_both_before_the_next_step(tmp_path, pause, step):
    assert on_ranks(2, f"PAUSE = {pause!r}\n{RANKS}", tmp_path) == [step, step]
