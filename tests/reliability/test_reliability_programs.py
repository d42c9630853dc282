"""Samples of the programs of benchmarks/reliability: each must find nothing wrong, and must be able to.

Each is a process of its own: it forks, and this one has threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "benchmarks" / "reliability"
SOURCE = ROOT / "src"


def figures(program: str, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Run a program and return its figures; fail with what it said when it found anything."""
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(PROGRAMS / f"{program}.py"), "--json", str(tmp_path / "figures.json"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads((tmp_path / "figures.json").read_text())
    assert str(tmp_path) not in done.stdout, "the page names no file of the machine it was made on"
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sample_of_crash_points_is_recovered_bitwise(tmp_path):
    targets = figures("faults", tmp_path, "--sample", "4", "--saves", "24")["targets"]
    assert {target["target"] for target in targets} >= {"save", "retention", "corpus", "tokens", "export", "training"}
    assert sum("two ranks" in target["target"] for target in targets) == 2
    for target in targets:
        assert target["tried"] == target["recovered"] == target["equal"] > 0, target


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sample_of_refusals_is_reported_and_leaves_nothing_half_made(tmp_path):
    for target in figures("refusals", tmp_path, "--sample", "3")["targets"]:
        assert target["half_made"] == 0, target
        assert target["reported"] + target["continued"] == target["tried"] == target["equal"] > 0, target


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sample_of_damage_is_caught(tmp_path):
    for victim in figures("corruptions", tmp_path, "--count", "440")["victims"]:
        assert victim["caught"] == victim["tried"] == 220, victim
        assert not victim["silent"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_few_kills_leave_the_bits_of_a_run_that_was_never_killed(tmp_path):
    found = figures("kills", tmp_path, "--kills", "6")
    assert found["kills"] >= 6
    assert found["runs"] > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_sample_of_power_cuts_is_recovered_bitwise(tmp_path):
    for target in figures("powercuts", tmp_path, "--cuts", "25")["targets"]:
        assert target["good"] == target["cuts"] > 0, target
