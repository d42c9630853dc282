"""Threads sleep at barriers while other processes want the CPUs; nothing else about them changes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from headwater.host import waiting
from headwater.host.facts import allowed_cpus
from headwater.host.load import LoadMeter
from headwater.host.waiting import idle_team, sleep_under_load

TASKS = Path("/proc/self/task")
TIMEOUT_SECONDS = 60

pytestmark = pytest.mark.skipif(waiting._libgomp() is None, reason="no libgomp is loaded here")

ALONE = """
import sys
from headwater.host.waiting import _libgomp, idle_team
assert _libgomp() is None
with idle_team():
    pass
assert "torch" not in sys.modules
"""


def num_threads() -> int:
    return len(list(TASKS.iterdir()))


def await_threads(count: int) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while num_threads() != count:
        assert time.monotonic() < deadline, f"{num_threads()} threads, not {count}"
        time.sleep(0.005)


def test_an_idle_team_has_more_threads_than_there_are_cpus_and_leaves_none():
    before = num_threads()
    with idle_team():
        await_threads(before + 1 + len(allowed_cpus()))  # the one that holds them is of the team
    await_threads(before)


def test_the_team_is_held_while_others_want_the_cpus(monkeypatch):
    contended = threading.Event()
    monkeypatch.setattr(waiting, "PERIOD_SECONDS", 0.001)
    monkeypatch.setattr(LoadMeter, "is_contended", lambda meter, num_threads: contended.is_set())
    before = num_threads()
    with sleep_under_load(2):
        await_threads(before + 1)  # the one that watches
        for _ in range(2):
            contended.set()
            await_threads(before + 2 + len(allowed_cpus()))
            contended.clear()
            await_threads(before + 1)
        contended.set()
        await_threads(before + 2 + len(allowed_cpus()))
    await_threads(before)


def test_an_error_inside_leaves_no_thread():
    before = num_threads()
    with pytest.raises(KeyError), sleep_under_load(2):
        raise KeyError
    await_threads(before)


def test_parallel_sums_are_the_same_while_a_team_is_held():
    torch.set_num_threads(2)
    values = torch.rand(1 << 18, generator=torch.Generator().manual_seed(1))
    quiet = values.sum()
    with idle_team():
        assert torch.get_num_threads() == 2
        assert torch.equal(values.sum(), quiet)


def test_without_libgomp_nothing_is_done():
    subprocess.run([sys.executable, "-c", ALONE], check=True, timeout=60, env=os.environ)
