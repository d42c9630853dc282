"""The mean step of a run by its records, and what runs took here as later plans of the same folder read it."""

from __future__ import annotations

import contextlib
import json
import math
import shutil

import pytest
from needs import needs_of
from small_run import quick, write_run_file, write_texts

from headwater.core.errors import LockedError, StorageError
from headwater.core.records import read_records
from headwater.machine.ranks.mesh import Place
from headwater.plan import hardware, times
from headwater.plan.hardware import RUN_TO_RUN, hardware_of
from headwater.plan.sizes import fastest
from headwater.plan.times import around_steps, keep_times, speed_here
from headwater.runfile.rules import rows_of_batch
from headwater.runfile.run_config import load_run
from headwater.runs import training
from headwater.runs.stages import open_batches, prepare_data
from headwater.runs.training import train_stage

DAY = 86400.0
GIVEN = ["machine.num_threads=1", "train.half_length_fraction=0"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with mine.toml and the run's data, ready to be trained on."""
    folder = tmp_path_factory.mktemp("prepared")
    write_texts(folder / "texts", 20)
    write_run_file(folder / "mine.toml")
    with contextlib.chdir(folder), quick():
        prepare_data(load_run("mine.toml", GIVEN)[0], print)
    return folder


@pytest.fixture
def config(prepared, tmp_path, monkeypatch):
    """A run on one thread of a processor whose rate is known; any number of steps is enough to be kept."""
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "here"))
    monkeypatch.setattr(hardware, "float32_rate_per_core", lambda: 1e11)
    return load_run("mine.toml", GIVEN)[0]


@pytest.fixture
def keeps_all(monkeypatch):
    monkeypatch.setattr(times, "MIN_TIMED_STEPS", 3)
    monkeypatch.setattr(times, "MIN_TIMED_SECONDS", 0.0)


def trained(config, display=lambda record: None, say=print):
    with quick():
        assert train_stage(config, open_batches(config), display, say)


def named(config, name, **train):
    return config.model_copy(update={"name": name, "train": config.train.model_copy(update=train)})


def took(config, step_seconds: float, day: float = 1.0, speed=None, num_steps: int = 300, peak=None) -> None:
    """Write the times of a run whose steps all took `step_seconds`."""
    config = named(config, config.name, num_steps=num_steps)
    config.run_dir.mkdir(parents=True, exist_ok=True)
    steps = [{"event": "step", "step": number, "seconds": step_seconds} for number in range(1, num_steps + 1)]
    finish = {"event": "finish", "step": num_steps, "time": day * DAY, "peak_memory_bytes": peak}
    speed = speed or speed_here("float32", 1, is_compiled=False)
    keep_times(config, [*steps, finish], speed)


def test_a_run_leaves_what_its_steps_took_and_its_peak(config, keeps_all):
    trained(config)
    value = json.loads((config.run_dir / "times.json").read_text())
    records = read_records(config.run_dir / "records.jsonl")
    steps = [record["seconds"] for record in records if record["event"] == "step"]
    assert min(steps) <= value["step_seconds"] <= max(steps)
    assert value["peak_memory_bytes"] == records[-1]["peak_memory_bytes"]
    assert needs_of(config).step_how.startswith("mean of 1 earlier run of this shape here")


def test_a_resumed_run_leaves_none_since_no_process_made_all_its_steps(config, keeps_all):
    class Killed(BaseException):
        pass

    def killed_after_a_save(record):
        if record["event"] == "checkpoint" and record["step"] > config.train.num_steps // 2:
            raise Killed

    with pytest.raises(Killed):
        trained(config, killed_after_a_save)
    trained(config)
    assert not (config.run_dir / "times.json").exists()


@pytest.mark.parametrize("error", [StorageError("disk full"), RuntimeError("what nobody thought of")])
def test_what_a_run_took_is_worth_less_than_the_run(config, keeps_all, monkeypatch, error):
    def fail(*_):
        raise error

    said = []
    monkeypatch.setattr(training, "keep_times", fail)
    trained(config, say=said.append)
    assert f"later plans won't know what this run took: {error}" in said


def test_a_run_that_was_taken_over_writes_nothing_more(config, keeps_all, monkeypatch):
    def taken_over(*_):
        raise LockedError("taken over")

    monkeypatch.setattr(training, "keep_times", taken_over)
    with pytest.raises(LockedError):
        trained(config)


def test_the_next_run_is_expected_at_the_mean_of_the_earlier_ones(config):
    usual = needs_of(config)
    want = 1.2 * usual.step.median
    for day in range(4):
        took(named(config, f"before{day}"), want, day=day + 1, num_steps=9000, peak=1e9)
    found = needs_of(config)
    assert found.step.median == pytest.approx(want, rel=0.001)
    assert found.step.log_deviation == pytest.approx(RUN_TO_RUN * math.sqrt(1 + 1 / 4))
    assert found.step_how == "mean of 4 earlier runs of this shape here"
    assert found.memory.median == 1e9
    assert "4 earlier runs" in found.memory_how
    other = needs_of(named(config, "other", batch_tokens=2 * config.train.batch_tokens))
    assert "as measured on other shapes here" in other.step_how
    deviations = [each.step.log_deviation for each in (found, other, usual)]
    assert deviations == sorted(deviations), "another shape gains less"


def searched(config, model, most_tokens, seconds):
    around = around_steps(config, float(config.train.batch_tokens))
    medians = {name: part.median for name, part in around.items()}
    return fastest(config, Place(), hardware_of(config), model, most_tokens, seconds, medians)


SEARCHED = 3600.0


def test_a_searchs_batch_is_for_the_tokens_of_the_time_as_measured(config):
    """At steps eight times as long as modelled a run has an eighth of the tokens, and the rule's batch for those."""
    took(config, 8 * hardware_of(config).modelled(config), num_steps=9000)
    assert (config.run_dir / "times.json").exists()
    long = config.model.model_copy(update={"num_layers": 2 * config.model.num_layers})  # measured is another shape
    found = searched(config, long, math.inf, SEARCHED)
    num_tokens = SEARCHED / found.seconds_per_token
    assert found.batch_tokens == rows_of_batch(num_tokens, long.seq_len) * long.seq_len
    assert found.batch_tokens < rows_of_batch(8 * num_tokens, long.seq_len) * long.seq_len


STEP, BESIDE_A_SAVE = 0.1, 0.25
