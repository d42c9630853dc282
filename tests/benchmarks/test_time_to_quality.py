"""Time to quality: what is computed from runs, by hand; a campaign of made-up runs; and one tiny real run a contender."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import prose

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import time_to_quality  # noqa: E402
from quality import worker  # noqa: E402
from quality.crossing import Point, bootstrap_interval, compare, crossing_seconds, t_interval, time_ratio  # noqa: E402
from quality.job import Job, Shape  # noqa: E402
from quality.judge import held_out_bits_per_byte  # noqa: E402
from quality.meter import Meter  # noqa: E402
from quality.texts import prepare_texts  # noqa: E402
from texts import split  # noqa: E402

CURVE = [Point(10.0, 3.0), Point(40.0, 2.0), Point(80.0, 1.5)]


def test_a_crossing_is_interpolated_in_log_time():
    # halfway in bits between runs of 10 and 40 s is the geometric mean of their times
    assert crossing_seconds(CURVE, 2.5) == pytest.approx(20.0)
    assert crossing_seconds(CURVE, 2.0) == pytest.approx(40.0)
    assert crossing_seconds(CURVE, 1.75) == pytest.approx(40 * math.sqrt(2))


def test_a_quality_outside_of_what_was_run_is_not_extrapolated():
    assert crossing_seconds(CURVE, 3.0) == 0.0
    assert crossing_seconds(CURVE, 1.4) == math.inf


def test_a_curve_that_gets_worse_again_has_crossed_only_where_all_longer_runs_are_better():
    bumpy = [Point(10.0, 2.0), Point(20.0, 2.4), Point(40.0, 1.9)]
    assert 20 < crossing_seconds(bumpy, 2.1) < 40


def test_a_run_that_diverged_gives_the_time_of_the_next_longer_one():
    assert crossing_seconds([Point(10.0, math.inf), Point(20.0, 1.0)], 1.5) == 20.0


def test_the_ratio_is_of_geometric_means_at_the_baselines_mean_quality():
    curves = [CURVE, [Point(20.0, 3.0), Point(80.0, 2.0)]]  # 2.5 bits are crossed at 20 and at 40 s
    baseline = [Point(100.0, 2.4), Point(400.0, 2.6)]
    assert time_ratio(curves, baseline) == pytest.approx(math.sqrt(20 * 40) / 200)


def test_the_intervals_hold_the_ratio_and_the_one_by_t_is_wider_for_three_seeds():
    curves = [[Point(10.0 * k, 3.0), Point(40.0 * k, 2.0)] for k in (0.9, 1.0, 1.2)]
    baseline = [Point(300.0, bits) for bits in (2.45, 2.5, 2.56)]
    ratio = time_ratio(curves, baseline)
    (low, high), (low_t, high_t) = bootstrap_interval(curves, baseline), t_interval(curves, baseline)
    assert low_t < low < ratio < high < high_t, (low_t, low, ratio, high, high_t)


def test_without_spread_the_interval_by_t_spans_the_baselines_spread_by_hand():
    curves = [[Point(10.0, 3.0), Point(40.0, 2.0)]] * 3
    baseline = [Point(100.0, bits) for bits in (2.4, 2.5, 2.6)]
    low, high = t_interval(curves, baseline)
    # slope ln 4 a bit, standard error 0.1/√3, two degrees of freedom
    half = 4.303 * math.log(4) * 0.1 / math.sqrt(3)
    assert (low, high) == pytest.approx((0.2 * math.exp(-half), 0.2 * math.exp(half)))


def test_a_limit_is_excluded_only_when_both_intervals_lie_below_it():
    curves = [[Point(10.0 * k, 3.0), Point(40.0 * k, 2.0)] for k in (0.99, 1.0, 1.01)]
    baseline = [Point(100.0, bits) for bits in (2.499, 2.5, 2.501)]  # the ratio is 0.2
    assert compare(curves, baseline, 0.25)["excludes_limit"]
    assert not compare(curves, baseline, 0.2)["excludes_limit"]
    assert not compare(curves[:1], baseline[:1], 0.25)["excludes_limit"], "one seed excludes nothing"
    beyond = compare(curves, [Point(100.0, 1.0)] * 3, 0.25)
    assert beyond["ratio"] is None
    assert beyond["bound"] == "above 0.404"


def test_a_uniform_model_has_log2_of_the_vocabulary_bits_a_token():
    token_bytes = np.array([0, 0, 1, 2, 3, 4])  # begin, end, and four tokens of text
    stream = np.array([0, 2, 3, 4, 5, 2, 2, 1, 0, 3, 3, 1], dtype=np.int32)
    num_targets, num_bytes = 8, 1 + 2 + 3 + 4 + 1 + 1 + 2 + 2
    found = held_out_bits_per_byte(lambda tokens_BT: torch.zeros(*tokens_BT.shape, 6), stream, token_bytes, 5)
    assert found == pytest.approx(math.log2(6) * num_targets / num_bytes)


def test_every_target_is_judged_once_after_the_token_before_it():
    stream = np.array([0, 2, 3, 4, 5, 2, 2], dtype=np.int32)
    token_bytes = np.array([0, 0, 1, 1, 1, 1])
    follows = dict(zip(stream[:-1].tolist(), stream[1:].tolist()))  # after 2 comes 3 at first and 2 at the end

    def logits(tokens_BT):
        next_BT = tokens_BT.clone().apply_(lambda token: follows[token])
        return 100.0 * torch.nn.functional.one_hot(next_BT, 6)

    # one of six targets is a surprise of 100 nats
    found = held_out_bits_per_byte(logits, stream, token_bytes, 4)
    assert found == pytest.approx(100 / math.log(2) / 6)


def test_seconds_divide_into_building_compiling_and_stepping():
    times = iter([0.0, 3.0, 7.0, 7.5, 8.0, 8.5, 9.0])
    meter = Meter(100.0, None, lambda: next(times))
    meter.built(compile_seconds=2.0)
    for _ in range(5):
        meter.step_done(3.0)
    found = meter.summary()
    assert found["seconds"] == 9.0
    assert (found["build_seconds"], found["compile_seconds"], found["seconds_per_step"]) == (1.0, 5.5, 0.5)


def test_a_probe_has_its_seconds_after_the_first_steps_whatever_these_took():
    times = iter([0.0, 50.0, 51.0, 52.0, 53.0, 54.5])
    meter = Meter(0.0, 2.0, lambda: next(times))
    over = []
    for _ in range(5):
        meter.step_done(3.0)
        over.append(meter.is_over)
    assert over == [False, False, False, False, True]


def test_whole_documents_are_held_out_and_none_is_on_both_sides():
    documents = [f"{number} {prose(number)}" for number in range(1200)]
    train, held_out = split([*documents, documents[0], "a crumb"])
    assert sorted(train + held_out) == sorted(document.strip() for document in documents)
    assert sum(len(text.encode()) for text in held_out) >= 300_000


@pytest.fixture(scope="module")
def two_texts(tmp_path_factory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    for name, seeds in (("train.txt", range(60)), ("held-out.txt", range(100, 106))):
        (folder / name).write_text("\n".join(prose(seed) for seed in seeds), encoding="utf-8")
    return str(folder / "train.txt"), str(folder / "held-out.txt")


class MadeUpWorkers:
    """Stands for Workers: a second to build, a tenth of one for each step, a loss that falls with the steps."""

    def __init__(self, *_: object) -> None:
        self.jobs: list[Job] = []

    def run(self, job: Job) -> dict:
        self.jobs.append(job)
        steps = 10 if job.probe_seconds is not None else job.num_steps
        speed = 2.0 if job.contender == "headwater" else 1.0
        result = {"contender": job.contender, "seed": job.seed, "lr": job.lr, "dtype": job.dtype, "steps": steps}
        result |= {"seconds": 1.0 + 0.1 * steps, "build_seconds": 1.0, "compile_seconds": 0.0, "seconds_per_step": 0.1}
        result |= {"was_cut": False, "peak_memory_mb": 100}
        return result | ({} if job.probe_seconds is not None else {"bits_per_byte": 4.0 - 0.01 * speed * steps})


def test_a_campaign_ends_with_a_table_and_a_json_line(two_texts, monkeypatch, capsys):
    monkeypatch.setattr(time_to_quality, "Workers", MadeUpWorkers)
    train, held_out = two_texts
    arguments = ["--json", "--train", train, "--held-out", held_out, "--minutes", "0.1", "--seeds", "2"]
    arguments += ["--shape", "1,2,32,32,384,4", "--lrs", "4e-3", "--dtypes", "float32", "--fractions", "0.5,1"]
    assert time_to_quality.main(arguments) == 0
    *table, last = capsys.readouterr().out.strip().splitlines()
    found = json.loads(last)
    assert table[0].split()[:3] == ["contender", "runs", "steps"]
    assert set(found["contenders"]) == {"headwater", "gpt2-adamw"}
    baseline, ours = found["contenders"]["gpt2-adamw"], found["contenders"]["headwater"]
    assert sorted(run["fraction"] for run in ours["runs"]) == [0.5, 0.5, 1.0, 1.0]
    assert [run["steps"] for run in baseline["runs"]] == [50, 50], "6 s less a second of building, 0.1 s a step"
    # 50 steps of the baseline are 25 of ours, in log time between 20 steps (3 s) and 50 steps (6 s)
    assert found["ratios"]["gpt2-adamw"]["ratio"] == pytest.approx(3 * 2 ** (1 / 6) / 6, abs=1e-6)
    assert set(found["ratios"]["gpt2-adamw"]) >= {"interval_95", "limit", "without_compilation"}


@pytest.mark.slow
def test_a_worker_trains_the_planned_steps_and_judges_the_held_out_text(two_texts, tmp_path):
    shape = Shape.parse("1,2,32,32,384,4")
    texts = prepare_texts(*map(Path, two_texts), shape, tmp_path, False, lambda line: None)
    settings = ("train.batch_tokens=256", "machine.dtype=float32", "machine.compile=off")
    job = Job("headwater", None, str(texts.folder), shape, 1, 4e-3, "float32", 4, math.inf, False, None, settings)
    result = worker.run(job)
    assert (result["steps"], result["planned_steps"], result["was_cut"]) == (4, 4, False)
    assert 0 < result["bits_per_byte"] < math.log2(384)
    parts = result["build_seconds"] + result["compile_seconds"] + 4 * result["seconds_per_step"]
    assert result["seconds"] <= parts + 1e-6


def test_held_out_tokens_stand_for_all_bytes_of_the_held_out_text(two_texts, tmp_path):
    train, held_out = map(Path, two_texts)
    texts = prepare_texts(train, held_out, Shape.parse("1,2,32,64,384,4"), tmp_path, False, lambda line: None)
    num_bytes = int(texts.token_bytes()[texts.held_out_tokens()].sum())
    assert num_bytes == held_out.stat().st_size == texts.facts["held_out_bytes"]
