"""Ablations: differences by hand, and a table and a JSON line from made-up runs."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import pytest
from small_run import prose

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import ablate  # noqa: E402


def runs(*values):
    return [{"bits_per_byte": value} for value in values]


def test_a_difference_is_paired_by_seed():
    # the seeds differ by 1, the pairs by 0.1 and 0.3: t(1 degree, 97.5 %) = 12.706, standard error 0.1
    mean, half = ablate.difference(runs(2.1, 3.3), runs(2.0, 3.0))
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_one_seed_has_no_interval_and_a_diverged_run_is_infinitely_worse():
    assert math.isnan(ablate.difference(runs(2.1), runs(2.0))[1])
    assert ablate.difference(runs(None), runs(2.0))[0] == math.inf


def test_a_variant_is_a_name_and_settings():
    assert ablate.variant("fast=optim.matrix_lr=0.03,train.batch_tokens=4096") == (
        "fast",
        ["optim.matrix_lr=0.03", "train.batch_tokens=4096"],
    )
    with pytest.raises(argparse.ArgumentTypeError, match="give NAME="):
        ablate.variant("optim.matrix_lr")


class MadeUpWorkers:
    """Stands for Workers: a variant that sets the matrices' rate is better by 0.1 with seed 1 and by 0.2 with seed 2."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def run(self, job: ablate.Job) -> dict:
        gain = 0.1 * job.seed if any("matrix_lr" in setting for setting in job.settings) else 0.0
        return {"bits_per_byte": 2.0 - gain, "seconds_per_step": 0.05}


@pytest.fixture
def texts(tmp_path) -> list[str]:
    (tmp_path / "train.txt").write_text(prose("train", 1200))
    (tmp_path / "held-out.txt").write_text(prose("held out", 160))
    return ["--train", str(tmp_path / "train.txt"), "--held-out", str(tmp_path / "held-out.txt")]


def test_two_texts_give_a_table_and_a_json_line(texts, monkeypatch, capsys):
    monkeypatch.setattr(ablate, "Workers", MadeUpWorkers)
    sizes = ["--shape", "1,1,16,32,300,2", "--steps", "4", "--seeds", "2", "--json"]
    assert ablate.main([*texts, *sizes, "--variant", "fast=optim.matrix_lr=0.03"]) == 0
    rules, fast = json.loads(capsys.readouterr().out.splitlines()[-1])["variants"]
    assert (rules["variant"], rules["difference"]) == ("rules", 0)
    assert (fast["variant"], fast["seeds"], fast["ms_per_step"]) == ("fast", 2, 50)
    assert fast["difference"] == pytest.approx(-0.15)
    assert fast["half_interval_95"] == pytest.approx(12.706 * 0.05, rel=1e-3)


def test_two_variants_of_one_name_are_refused_before_anything_is_trained(texts, capsys):
    assert ablate.main([*texts, "--variant", "rules=optim.matrix_lr=0.03"]) != 0
    assert "give each variant a name of its own" in capsys.readouterr().err
