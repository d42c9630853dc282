"""A rank that makes no progress ends, says where it was, and takes no suspension for a hang."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from many_ranks import calling, start_programs
from small_run import environment, finish, write_run_file, write_texts

from headwater.machine.ranks.watchdog import MAX_TIMES_THE_SLOWEST, MIN_LIMIT_SECONDS, UNWATCHED_STEPS, Watchdog

ALONE, OF_TWO = (0, 1), (1, 2)  # rank, world_size

HANGING = """
import threading, time
from headwater.machine.ranks.watchdog import UNWATCHED_STEPS, Watchdog
watchdog = Watchdog({limit}, rank=1, world_size=2)
for step in range(UNWATCHED_STEPS):
    watchdog.begin(step)
    watchdog.end()
def waits_in_vain():
    threading.Event().wait()
watchdog.begin(17)
print("begun", flush=True)
{then}
"""

HANGS_IN_STEP_8 = """
import time
from headwater.train import step
take_step = step.train_step
def hang_here():
    time.sleep(60)
def train_step(*arguments, **options):
    global left
    left -= 1
    return take_step(*arguments, **options) if left else hang_here()
left, step.train_step = 8, train_step
"""


def start(program: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen([sys.executable, "-c", program], env=environment(), **pipes)


def start_hanging(limit: float, then: str) -> subprocess.Popen[str]:
    return start(HANGING.format(limit=limit, then=then))


def test_steps_that_begin_in_time_are_no_hang_however_many_and_a_rest_may_take_any_time():
    act = "for step in range(16):\n    watchdog.begin(step); time.sleep(0.1)\nwatchdog.rest(); time.sleep(1.5)"
    said = finish(start_hanging(1.0, act))
    assert said.status == 0, said.err


def test_a_process_that_was_suspended_and_goes_on_has_not_hung():
    process = start_hanging(2.0, "time.sleep(0.5)")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    assert finish(process).status == 0


def after_steps(watchdog: Watchdog, ticks: list[int]) -> Watchdog:
    """Take a watchdog, whose thread never starts, through steps of given ticks."""
    for step, count in enumerate(ticks):
        watchdog.begin(step)
        watchdog._ticks += count
        watchdog.end()
    return watchdog


@pytest.fixture
def no_thread(monkeypatch):
    monkeypatch.setattr("threading.Thread.start", lambda thread: None)


@pytest.mark.usefixtures("no_thread")
def test_the_limit_follows_the_slowest_of_the_last_steps_but_not_the_first():
    compiles = [500] * UNWATCHED_STEPS
    assert after_steps(Watchdog("auto", *OF_TWO), compiles).limit_seconds() is None
    assert after_steps(Watchdog("auto", *OF_TWO), [*compiles, 0]).limit_seconds() == MIN_LIMIT_SECONDS
    slow = after_steps(Watchdog("auto", *OF_TWO), [*compiles, 9, 0])
    assert slow.limit_seconds() == MAX_TIMES_THE_SLOWEST * 10
    assert after_steps(slow, [0] * 63).limit_seconds() == MIN_LIMIT_SECONDS, "64 steps later it is forgotten"
    slow.forget()
    assert slow.limit_seconds() is None


@pytest.mark.usefixtures("no_thread")
def test_one_rank_alone_is_watched_only_where_a_number_is_given():
    steps = [0] * (UNWATCHED_STEPS + 1)
    assert after_steps(Watchdog("auto", *ALONE), steps).limit_seconds() is None
    assert after_steps(Watchdog(None, *OF_TWO), steps).limit_seconds() is None
    assert after_steps(Watchdog(7, *ALONE), steps).limit_seconds() == 7


def test_a_rank_that_waits_for_one_that_hangs_lets_it_end_first():
    program = """
import time
from headwater.machine.ranks.watchdog import RankProgress
from headwater.machine.ranks import watchdog as module
from headwater.machine.ranks.watchdog import UNWATCHED_STEPS, Watchdog
module.WAITING_SECONDS = 3.0
progress = RankProgress()
watchdog = Watchdog(0.3, 0, 2, progress)
for step in range(UNWATCHED_STEPS + 1):
    watchdog.begin(step)
    watchdog.end()
with progress.exchanging():
    time.sleep(2.0)
watchdog.rest()
print(progress.trouble)
"""
    said = finish(start(program))
    assert (said.status, said.out) == (0, "None\n"), said


def test_the_stack_of_a_rank_that_hangs_is_its_own_and_the_others_name_it(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(
        tmp_path / "both.toml",
        train__hang_seconds=1,
        train__microbatch_tokens=256,
        train__num_probes=0,
        **dict.fromkeys(("train__num_steps", "train__save_every", "train__validate_every"), 100_000),
    )
    program = calling("train", "both.toml")
    ranks = start_programs([program, HANGS_IN_STEP_8 + program], tmp_path)
    first, second = (finish(rank) for rank in ranks)
    assert (first.status, second.status) == (1, 1)
    log = (tmp_path / "runs" / "both" / "logs" / "rank-1.log").read_text()
    assert "step 8 has taken" in log
    assert "in hang_here" in log, "the stacks are there"
    assert "rank 1 of 2 hung, in step 8, computing" in first.err
