"""Threads sleep at barriers while they have to wait for CPUs; nothing else about them changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
import torch

from headwater.machine.host import waiting
from headwater.machine.host.facts import allowed_cpus
from headwater.machine.host.waiting import idle_team, sleep_under_load, waited

TASKS = Path("/proc/self/task")
TIMEOUT_SECONDS = 60

needs_libgomp = pytest.mark.skipif(waiting._libgomp() is None, reason="no libgomp is loaded here")

ALONE = """
import sys
from headwater.machine.host.waiting import _libgomp, idle_team
assert _libgomp() is None
with idle_team():
    pass
assert "torch" not in sys.modules
"""

# on a CPU with another busy loop; what a loop doesn't compute by the clock it waits for
BESIDE = """
import os, subprocess, sys, time
from headwater.machine.host.waiting import waited
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
try:
    before, began_at, cpu = waited(), time.perf_counter(), time.process_time()
    while time.perf_counter() < began_at + 0.5:
        pass
    print((waited() - before).total() / 1e9, time.perf_counter() - began_at - time.process_time() + cpu)
finally:
    other.kill()
"""


def num_threads() -> int:
    return len(list(TASKS.iterdir()))


def await_threads(count: int) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while num_threads() != count:
        assert time.monotonic() < deadline, f"{num_threads()} threads, not {count}"
        time.sleep(0.005)


@needs_libgomp
def test_an_idle_team_has_more_threads_than_there_are_cpus_and_leaves_none():
    before = num_threads()
    with idle_team():
        await_threads(before + 1 + len(allowed_cpus()))  # the one that holds them is of the team
    await_threads(before)


@needs_libgomp
def test_the_team_is_held_while_threads_wait_for_cpus(monkeypatch):
    contended, times = threading.Event(), count()
    monkeypatch.setattr(waiting, "PERIOD_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "waited", lambda: Counter(main=next(times) * 10**15 * contended.is_set()))
    before = num_threads()
    with pytest.raises(KeyError), sleep_under_load():
        await_threads(before + 1)  # the one that watches
        for _ in range(2):
            contended.set()
            await_threads(before + 2 + len(allowed_cpus()))
            contended.clear()
            await_threads(before + 1)
        contended.set()
        await_threads(before + 2 + len(allowed_cpus()))
        raise KeyError
    await_threads(before)


def test_threads_that_end_and_files_of_another_kind_count_nothing(tmp_path):
    for thread, text in {"7": "100 5000 3", "8": "900 800 9", "9": "", "10": "a b c"}.items():
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(text)
    before = waited(tmp_path)
    assert before == {"7": 5000, "8": 800}
    (tmp_path / "7" / "schedstat").unlink()
    (tmp_path / "8" / "schedstat").write_text("950 830 10")
    assert (waited(tmp_path) - before).total() == 30
    assert not waited(tmp_path / "none"), "where Linux doesn't say, threads wait as libgomp has them"


@pytest.mark.skipif(not waited(), reason="the system doesn't say how long threads wait")
def test_what_a_busy_loop_waited_is_what_it_did_not_compute():
    result = subprocess.run([sys.executable, "-c", BESIDE], check=True, timeout=60, capture_output=True, text=True)
    counted, not_computed = map(float, result.stdout.split())
    assert not_computed > 0.1, "two busy loops share a CPU"
    assert counted == pytest.approx(not_computed, rel=0.1), f"{counted} s, {not_computed} s"


@needs_libgomp
def test_parallel_sums_are_the_same_while_a_team_is_held():
    torch.set_num_threads(2)
    values = torch.rand(1 << 18, generator=torch.Generator().manual_seed(1))
    quiet = values.sum()
    with idle_team():
        assert torch.get_num_threads() == 2
        assert torch.equal(values.sum(), quiet)


def test_without_libgomp_nothing_is_done():
    subprocess.run([sys.executable, "-c", ALONE], check=True, timeout=60, env=os.environ)
