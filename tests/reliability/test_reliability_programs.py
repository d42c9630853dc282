"""Samples of the programs of benchmarks/reliability: each must find nothing wrong, and must be able to.

`make faults`, `refusals`, `corruptions` and `powercuts` run all of them. Every point of a save and of its retention is
in tests/train/checkpoint/test_save.py.

They are in one process, which is not this one: it forks, and this one has threads.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_run import environment

PROGRAMS = Path(__file__).parents[2] / "benchmarks" / "reliability"
STAGES, RANKS = "corpus, replaced;tokens;export, replaced;training", "saves of two ranks, in rank"
SAMPLES = {
    "faults": ["--sample", "1", "--saves", "6", "--target", f"save;{STAGES};{RANKS} 0;{RANKS} 1"],
    "refusals": ["--sample", "1", "--target", STAGES],
    "corruptions": ["--count", "60"],
    "powercuts": ["--cuts", "4", "--target", STAGES],
}
# the tiny runs that they begin from, and what each target does without a fault, are the same for all
PROGRAM = """
import importlib, json, sys
from contextlib import nullcontext
from targets import templates

with templates(None) as work_dir:
    for name, arguments in json.loads(sys.argv[1]).items():
        program = importlib.import_module(name)
        program.templates = lambda chosen: nullcontext(work_dir)
        print(name, program.main([*arguments, "--json", f"{name}.json"]), file=sys.stderr)
"""

pytestmark = [pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> dict[str, Any]:
    """The figures of each program; what they said is in the message where one found anything."""
    folder = tmp_path_factory.mktemp("reliability")
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(PROGRAMS)!r})\n{PROGRAM}",
        json.dumps(SAMPLES),
    ]
    done = subprocess.run(command, env=environment(), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    for name in SAMPLES:
        assert f"{name} 0\n" in done.stderr, done.stderr[-4000:]
    assert str(folder) not in done.stdout, "the pages name no file of the machine they were made on"
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in SAMPLES}


def test_a_sample_of_crash_points_is_recovered_bitwise(figures):
    targets = figures["faults"]["targets"]
    assert {target["target"] for target in targets} == {"save", *STAGES.split(";"), f"{RANKS} 0", f"{RANKS} 1"}
    for target in targets:
        assert target["tried"] == target["recovered"] == target["equal"] > 0, target


def test_a_sample_of_refusals_is_reported_and_leaves_nothing_half_made(figures):
    for target in figures["refusals"]["targets"]:
        assert target["half_made"] == 0, target
        assert target["reported"] + target["continued"] == target["tried"] == target["equal"] > 0, target


def test_a_sample_of_damage_is_caught(figures):
    for victim in figures["corruptions"]["victims"]:
        assert victim["caught"] == victim["tried"] == 30, victim
        assert not victim["silent"]


def test_a_sample_of_power_cuts_is_recovered_bitwise(figures):
    for target in figures["powercuts"]["targets"]:
        assert target["good"] == target["cuts"] > 0, target
