"""The soak's parts: its faults do what they say, its account follows the records, its bound is what a model gives."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from headwater.checkpoint.save import Saver
from headwater.checkpoint.verify import is_whole

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "reliability"))

from soak_account import account, efficiency
from soak_faults import Victim, corrupt, hang

SINCE_THE_START = math.inf  # after any process was started, whose start the kernel tells to 10 ms only
SLEEPING = "import sys, time; time.sleep(600)"


@pytest.fixture
def victim(tmp_path):
    """A run of two processes that only sleep, under a launcher that does, too."""
    run_dir = tmp_path / "runs" / "soak-0"
    run_dir.mkdir(parents=True)
    launcher = subprocess.Popen([sys.executable, "-c", SLEEPING])
    named = ["headwater", f"name={run_dir.name}", f"runs_dir={run_dir.parent}"]
    ranks = [subprocess.Popen([sys.executable, "-c", SLEEPING, *named]) for _ in range(2)]
    found = Victim(launcher, run_dir, None, save_every=10, num_steps=100)
    while len(found.ranks()) < 2:
        time.sleep(0.01)
    yield found
    for process in (launcher, *ranks):
        process.kill()
        process.wait()


def simulated(interval: float, pause: float, restart: float, mtbf: float, chance: random.Random) -> float:
    """Return the part of the time that lasts, over many intervals with faults as they come."""
    done, clock, next_fault = 0, 0.0, chance.expovariate(1 / mtbf)
    needed = interval + pause
    while done < 4000:
        if clock + needed <= next_fault:
            clock, done, needed = clock + needed, done + 1, interval + pause
            continue
        clock, next_fault = next_fault, next_fault + chance.expovariate(1 / mtbf)
        needed = restart + interval + pause
    return done * interval / clock


@pytest.mark.parametrize("numbers", [(6.0, 0.3, 10.0, 60.0), (20.0, 2.0, 30.0, 60.0), (5.0, 1.0, 1.0, 400.0)])
def test_the_bound_is_that_of_a_simulation(numbers):
    assert efficiency(*numbers) == pytest.approx(simulated(*numbers, random.Random(3)), rel=0.06)


def test_a_hang_stops_one_rank_and_names_the_other(victim):
    victim.step, victim.steps_of_attempt, victim.stepped_at = 25, 8, SINCE_THE_START
    found = hang(victim, random.Random(1))
    stopped = victim.ranks()[found["rank"]]
    while "T (stopped)" not in Path(f"/proc/{stopped}/status").read_text():
        time.sleep(0.01)
    assert found["watched"] in victim.ranks()
    assert found["watched"] != stopped
    assert hang(victim, random.Random(1)) is None, "never both"


def test_corruption_waits_for_a_second_checkpoint_and_leaves_that_one(victim):
    for step in (1, 2):
        assert corrupt(victim, random.Random(step)) is None
        saver = Saver(victim.run_dir)
        saver.begin(step, {"a": torch.ones(9)}, {"a": torch.ones(9)}, {"step": step})
        saver.finish()
        saver.close()
    found = corrupt(victim, random.Random(1))
    assert found["checkpoint"] == 2
    checkpoints = victim.run_dir / "checkpoints"
    assert not is_whole(checkpoints / "step-000000002")
    assert is_whole(checkpoints / "step-000000001")
    assert victim.launcher.wait() == -9


def test_the_account_adds_up():
    faults = [
        {
            "kind": kind,
            "run": 0,
            "at": 1020.0,
            "step_again_after": again,
            "overlapped": False,
            "steps_lost": 2,
            "waited": 0.0,
        }
        | {"detected_after": None}
        for kind, again in (("kill", 10.0), ("term", 8.0))
    ]
    run = {
        **{"started_at": 1000.0, "first_step_at": 1006.0, "last_step_at": 1057.0, "seconds": 60.0, "is_finished": True},
        **{"seconds_of_lasting_steps": 20.0, "seconds_of_all_steps": 24.0, "seconds_of_saves": 3.0},
        **{"step_seconds": 1.0, "saves": [[0.5, 0.5], [0.5, 0.5]]},
    }
    got = account({"runs": [run], "faults": faults, "save_every": 4})
    names = ("lasting", "again", "saves", "beginnings_and_ends", "other")
    assert sum(got[name] for name in names) == pytest.approx(1)
    assert got["goodput"] == pytest.approx(20 / (60 - 6 - 3))
    assert got["mtbf"] == 30.0
    assert got["restart_median"] == 9.0
    assert 0 < got["bound"] < 1
