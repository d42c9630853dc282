"""Ablations and learning-rate transfer: what is computed from runs, by hand; and one tiny measurement of each."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import prose

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from ablate import difference, variant  # noqa: E402
from lr_transfer import best_factor  # noqa: E402


def runs(*values):
    return [{"bits_per_byte": value} for value in values]


def test_a_difference_is_paired_by_seed():
    # the seeds differ by 1, the pairs by 0.1 and 0.3: t(1 degree, 97.5 %) = 12.706, standard error 0.1
    mean, half = difference(runs(2.1, 3.3), runs(2.0, 3.0))
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_one_seed_has_no_interval_and_a_diverged_run_is_infinitely_worse():
    assert math.isnan(difference(runs(2.1), runs(2.0))[1])
    assert difference(runs(None), runs(2.0))[0] == math.inf


def test_a_variant_is_a_name_and_settings():
    assert variant("fast=optim.matrix_lr=0.03,train.batch_tokens=4096") == (
        "fast",
        ["optim.matrix_lr=0.03", "train.batch_tokens=4096"],
    )
    with pytest.raises(argparse.ArgumentTypeError, match="give NAME="):
        variant("optim.matrix_lr")


def test_the_best_factor_is_a_parabolas_vertex_in_log_factor():
    factors = [0.5, 0.7, 1.0, 1.5, 2.0]
    assert best_factor(factors, [math.log(factor / 1.2) ** 2 for factor in factors]) == pytest.approx(1.2)


def test_at_an_end_of_the_range_nothing_is_extrapolated():
    assert best_factor([0.5, 1.0, 2.0], [1.0, 2.0, 3.0]) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        ("ablate.py", ["--variant", "fast=optim.matrix_lr=0.03", "--seeds", "1"], {"rules", "fast"}),
        ("lr_transfer.py", ["--widths", "16", "--factors", "1,2", "--seeds", "1"], {16}),
    ],
)
def test_two_texts_give_a_table_and_a_json_line(tmp_path, program, arguments, expected):
    (tmp_path / "train.txt").write_text(prose("train", 1200))
    (tmp_path / "held-out.txt").write_text(prose("held out", 160))
    texts = ["--train", str(tmp_path / "train.txt"), "--held-out", str(tmp_path / "held-out.txt")]
    sizes = ["--shape", "1,1,16,32,300,2", "--steps", "4", "--work", str(tmp_path / "work"), "--json"]
    command = [sys.executable, str(BENCHMARKS / program), *texts, *sizes, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    if program == "ablate.py":
        assert {row["variant"] for row in found["variants"]} == expected
        assert all(row["seeds"] == 1 and row["half_interval_95"] is None for row in found["variants"])
    else:
        assert {row["width"] for row in found["widths"]} == expected
        assert found["spread"] >= 1


def test_two_variants_of_one_name_are_refused_before_anything_is_trained(tmp_path):
    twice = ["--variant", "rules=optim.matrix_lr=0.03"]
    texts = ["--train", str(tmp_path / "none.txt"), "--held-out", str(tmp_path / "none.txt")]
    command = [sys.executable, str(BENCHMARKS / "ablate.py"), *texts, *twice]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode != 0
    assert "give each variant a name of its own" in done.stderr
    assert "Traceback" not in done.stderr
