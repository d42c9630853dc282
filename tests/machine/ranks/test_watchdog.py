"""A rank that makes no progress ends and says where it was."""

from __future__ import annotations

import subprocess
import sys

import pytest
from many_ranks import calling, start_programs
from small_run import environment, finish, write_run_file, write_texts

from headwater.machine.ranks.watchdog import MAX_TIMES_THE_SLOWEST, MIN_LIMIT_SECONDS, UNWATCHED_STEPS, Watchdog

HANGING = """
import ctypes, threading, time
from headwater.machine.ranks.watchdog import UNWATCHED_STEPS, Watchdog
watchdog = Watchdog({limit}, world_size=2)
for step in range(UNWATCHED_STEPS):
    watchdog.begin(step)
    watchdog.end()
def waits_in_vain(keeps_the_lock):
    if keeps_the_lock:
        ctypes.PyDLL(None).sleep(60)
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


@pytest.mark.parametrize("keeps_the_lock", [False, True])
def test_a_step_that_takes_too_long_ends_the_process_and_says_where_it_was(keeps_the_lock):
    said = finish(start_hanging(0.3, f"waits_in_vain({keeps_the_lock})"))
    assert said.status == 1
    assert "Timeout (0:00:00.300000)!" in said.err
    assert "in waits_in_vain" in said.err, "the stacks are there"


@pytest.fixture
def after_steps(monkeypatch):
    """What takes a watchdog, whose timer never runs, through steps of so many seconds."""
    clock = [0.0]
    monkeypatch.setattr("headwater.machine.ranks.watchdog.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda *arguments, **options: None)

    def take(watchdog: Watchdog, steps: list[float]) -> Watchdog:
        for step, seconds in enumerate(steps):
            watchdog.begin(step)
            clock[0] += seconds
            watchdog.end()
        return watchdog

    return take


def test_the_limit_follows_the_slowest_of_the_last_steps_but_not_the_first(after_steps):
    compiles = [500] * UNWATCHED_STEPS
    assert after_steps(Watchdog("auto", 2), compiles).limit_seconds() is None
    assert after_steps(Watchdog("auto", 2), [*compiles, 0]).limit_seconds() == MIN_LIMIT_SECONDS
    slow = after_steps(Watchdog("auto", 2), [*compiles, 10, 0])
    assert slow.limit_seconds() == MAX_TIMES_THE_SLOWEST * 10
    assert after_steps(slow, [0] * 63).limit_seconds() == MIN_LIMIT_SECONDS, "64 steps later it is forgotten"
    slow.forget()
    assert slow.limit_seconds() is None


def test_one_rank_alone_is_watched_only_where_a_number_is_given(after_steps):
    steps = [0] * (UNWATCHED_STEPS + 1)
    assert after_steps(Watchdog("auto", 1), steps).limit_seconds() is None
    assert after_steps(Watchdog(None, 2), steps).limit_seconds() is None
    assert after_steps(Watchdog(7, 1), steps).limit_seconds() == 7


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
    assert "Timeout (0:00:01)!" in log
    assert "in hang_here" in log, "the stacks are there"
    assert "rank 1 of 2 fell silent 4 s ago, in step 8, computing" in first.err or "Timeout" in first.err
