"""What of a run the watchdog watches: all of its steps, and never a save or an evaluation, which may take any time."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from tiny_run import CountingEvaluator, begin, plan, train_on

from headwater.machine.host.signals import StopRequest
from headwater.machine.ranks.watchdog import Watchdog
from headwater.train import step as step_module
from headwater.train.checkpoint.save import Saver
from headwater.train.settings import TrainSettings


class Journal(Watchdog):
    """Writes down what it is told and, between that, what happens."""

    def __init__(self, events: list[str]) -> None:
        super().__init__(None, 1)
        self.events = events

    def begin(self, step: int) -> None:
        self.events.append(f"begin {step}")

    def end(self) -> None:
        self.events.append("end")

    def rest(self) -> None:
        self.events.append("rest")

    def forget(self) -> None:
        self.events.append("forget")

    def close(self) -> None:
        self.events.append("rest")


@pytest.fixture
def events(monkeypatch) -> list[str]:
    """A journal of what a run of one rank does."""
    found: list[str] = []

    def noting(word, work):
        def noted(*arguments, **options):
            found.append(word)
            return work(*arguments, **options)

        return noted

    for owner, name, word in ((Saver, "begin", "save"), (step_module, "train_step", "step")):
        monkeypatch.setattr(owner, name, noting(word, getattr(owner, name)))
    return found


def trained(run_dir: Path, events: list[str], display=lambda record: None, **settings) -> None:
    class Evaluator(CountingEvaluator):
        def validate(self, model, forward):
            events.append("validate")
            return super().validate(model, forward)

    run = replace(begin(run_dir, plan(**settings)), watchdog=Journal(events))
    with StopRequest() as stop:
        train_on(run, display, stop, Evaluator())


def watched(events: list[str], what: str) -> set[bool]:
    """Return whether the run was watched each time that something happened."""
    found, is_watched = set(), False
    for event in events:
        is_watched = event != "rest" and (is_watched or event.startswith("begin"))
        if event == what:
            found.add(is_watched)
    return found


def test_steps_are_watched_and_saves_and_evaluations_are_not(tmp_path, events):
    trained(tmp_path, events)
    assert [event for event in events if event.startswith("begin")] == [f"begin {step}" for step in range(1, 13)]
    assert watched(events, "step") == {True}
    assert watched(events, "save") == watched(events, "validate") == {False}
    assert "forget" not in events


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_save_that_a_signal_asks_for_is_not_watched(tmp_path, events, number):
    def display(record):
        if record["event"] == "step" and record["step"] == 6:
            os.kill(os.getpid(), number)

    trained(tmp_path, events, display, save_every=100, validate_every=100, num_probes=0)
    assert events.count("save") >= 1
    assert watched(events, "save") == {False}


def test_rows_of_another_length_may_have_to_be_compiled(tmp_path, events):
    trained(tmp_path, events, half_length_fraction=0.5)
    assert events.count("forget") == 1
    assert events[events.index("forget") + 1] == "begin 7"


def test_a_limit_is_a_number_of_seconds_auto_or_none():
    sizes = {"num_steps": 1, "batch_tokens": 8, "microbatch_tokens": 8, "save_every": 1, "validate_every": 1}
    for value in ("auto", None, 5, 0.5):
        assert TrainSettings(**sizes, hang_seconds=value).hang_seconds == value
    for value in (0, -1, True, "never", float("inf"), float("nan")):
        with pytest.raises(ValidationError, match="a number of seconds above 0"):
            TrainSettings(**sizes, hang_seconds=value)
