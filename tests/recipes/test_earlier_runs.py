"""What runs took here, as later plans of the same folder read it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from small_run import quick, write_run_file, write_texts

from headwater.machine.load import LoadMeter
from headwater.plan.processor_memory import Around
from headwater.recipes import earlier_runs as earlier
from headwater.recipes.earlier_runs import keep_times, speed_here
from headwater.recipes.planned_device import machinery, processor_dtype
from headwater.recipes.planned_step import Probe
from headwater.recipes.run_config import load_run
from headwater.recipes.searched_processor import processor_at_hand
from headwater.recipes.stages import Timings, prepare_data
from headwater.recipes.training import train_stage
from headwater.records import read_records


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts", 20)
    return load_run(str(write_run_file(tmp_path / "mine.toml")), ["machine.num_threads=1"])[0]


def named(config, name, **train):
    return config.model_copy(update={"name": name, "train": config.train.model_copy(update=train)})


def took(config, step_seconds: float, num_steps: int = 400, at: float = 1.0, num_threads: int = 1) -> None:
    """Write the times of a run whose steps all took so long."""
    config.run_dir.mkdir(parents=True, exist_ok=True)
    steps = [
        {"event": "step", "attempt": 1, "step": number, "seconds": step_seconds} for number in range(1, num_steps + 3)
    ]
    dtype = processor_dtype(config, set())
    keep_times(config, steps, speed_here(dtype, num_threads, config.machine), at)


def test_a_run_leaves_what_its_steady_steps_took(config, monkeypatch):
    monkeypatch.setattr(earlier, "MIN_STEPS", 3)
    monkeypatch.setattr(earlier, "MIN_SECONDS", 0.0)
    with quick():
        prepare_data(config, print, Timings())
        assert train_stage(config, lambda record: None, print, {})
    value = json.loads((config.run_dir / "times.json").read_text())
    steps = [record["seconds"] for record in read_records(config.run_dir / "records.jsonl", "step")]
    assert min(steps) <= value["step_seconds"] <= max(steps)
    assert 3 <= value["num_steps"] < len(steps), "the first ones don't count"
    assert machinery(config, None).step_how.endswith("as in 1 earlier run here")


def test_a_run_beside_other_programs_leaves_none(config, monkeypatch):
    monkeypatch.setattr(earlier, "MIN_STEPS", 3)
    monkeypatch.setattr(earlier, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(LoadMeter, "note", lambda self, num_threads=None: "other programs use 1.9 of the 2 CPUs here")
    with quick():
        prepare_data(config, print, Timings())
        assert train_stage(config, lambda record: None, print, {})
    assert not (config.run_dir / "times.json").exists()


def test_few_steps_or_seconds_are_the_moments_speed(config):
    took(config, 1.0, num_steps=earlier.MIN_STEPS - 1)
    took(config, 0.001)
    assert not (config.run_dir / "times.json").exists()


def test_the_next_run_is_expected_at_what_the_earlier_ones_took(config):
    usual = machinery(config, None)
    want = 1.2 * usual.step.median
    for number in range(4):
        took(named(config, f"before{number}"), want, num_steps=math.ceil(300 / want), at=number)
    found = machinery(config, None)
    assert found.step.median == pytest.approx(want, rel=0.03)  # the rate of the moment is measured anew
    assert found.step.log_deviation < 0.3 * usual.step.log_deviation
    assert "as in 4 earlier runs here" in found.step_how
    # another shape gains from them, too, but isn't as sure
    other = machinery(named(config, "other", batch_tokens=2 * config.train.batch_tokens), None)
    assert found.step.log_deviation < other.step.log_deviation < usual.step.log_deviation


def test_a_probe_that_disagrees_leaves_them_out(config):
    usual = machinery(config, None).step.median
    for number in range(4):
        took(named(config, f"before{number}"), 40 * usual, num_steps=math.ceil(12 / usual), at=number)
    measured = Probe(2 * usual, 0.01, 40, 40.0, "float32", 1, None, "as it was measured")
    found = machinery(config, measured)
    assert found.step.median == pytest.approx(2 * usual, rel=0.05)
    assert "0 earlier runs here (4 more took another time)" in found.step_how
    agrees = machinery(config, replace(measured, step_seconds=39 * usual))
    assert agrees.step.log_deviation < found.step.log_deviation


def test_only_the_newest_count_once_the_machine_has_changed(config):
    usual = machinery(config, None).step.median
    for number in range(3):
        took(named(config, f"old{number}"), 6 * usual, num_steps=math.ceil(12 / usual), at=number)
    took(named(config, "new"), 2 * usual, num_steps=math.ceil(300 / usual), at=10.0)
    found = machinery(config, None)
    assert found.step.median == pytest.approx(2 * usual, rel=0.06)
    assert "1 earlier run here (3 more took another time)" in found.step_how


def test_runs_that_computed_otherwise_and_files_of_others_say_nothing(config):
    usual = machinery(config, None)
    took(named(config, "two-threads"), 9.0, num_threads=2)
    for name, text in {"garbage": "[1, 2]", "cut": '{"format": "headwater-times"', "empty": "{}"}.items():
        folder = config.run_dir.parent / name
        folder.mkdir(parents=True)
        (folder / "times.json").write_text(text)
    took(named(config, "odd"), 9.0)
    path = config.run_dir.parent / "odd/times.json"
    path.write_text(path.read_text().replace('"step_seconds": 9', '"step_seconds": -9'))
    found = machinery(config, None)
    assert "earlier" not in found.step_how
    assert found.step.log_deviation == pytest.approx(usual.step.log_deviation, rel=0.01)


def test_a_search_counts_them_too(config):
    def usual():
        return processor_at_hand(config, None, Around(0.0, 0.0, 0.0)).usual

    before, modelled = usual(), machinery(config, None).step.median
    took(named(config, "before"), 1.3 * modelled, num_steps=math.ceil(300 / modelled))
    assert before.median == 1.0
    assert usual().median == pytest.approx(1.3, rel=0.05)
    assert usual().log_deviation < before.log_deviation
