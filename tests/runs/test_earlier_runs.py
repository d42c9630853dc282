"""What runs took here, as later plans of the same folder read it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
from small_run import quick, write_run_file, write_texts

from headwater.errors import LockedError, StorageError
from headwater.forecast.processor_memory import Around
from headwater.machine.load import LoadMeter
from headwater.records import read_records
from headwater.runs import earlier_runs as earlier
from headwater.runs import planned_step, training
from headwater.runs.earlier_runs import MIN_STEPS, keep_times, speed_here
from headwater.runs.planned_device import machinery
from headwater.runs.planned_step import RUN_TO_RUN, Probe
from headwater.runs.run_config import load_run
from headwater.runs.searched_processor import processor_at_hand
from headwater.runs.stages import prepare_data
from headwater.runs.training import train_stage

DAY = 86400.0


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run on one thread of a processor whose rate is known; any number of steps is enough to be kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planned_step, "float32_rate_per_core", lambda: 1e11)
    write_texts(tmp_path / "texts", 20)
    given = ["machine.num_threads=1", "train.half_length_fraction=0"]
    return load_run(str(write_run_file(tmp_path / "mine.toml")), given)[0]


@pytest.fixture
def keeps_all(monkeypatch):
    monkeypatch.setattr(earlier, "MIN_STEPS", 3)
    monkeypatch.setattr(earlier, "MIN_SECONDS", 0.0)


def trained(config, display=lambda record: None, say=print):
    with quick():
        prepare_data(config, print)
        assert train_stage(config, display, say)


def named(config, name, **train):
    return config.model_copy(update={"name": name, "train": config.train.model_copy(update=train)})


def took(config, step_seconds: float, seconds: float = 300.0, day: float = 1.0, speed=None, first=1) -> None:
    """Write the times of a run whose steps all took `step_seconds`."""
    config.run_dir.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + max(MIN_STEPS, math.ceil(seconds / step_seconds)) + 2)
    steps = [
        {"event": "step", "attempt": 1, "step": number, "seconds": step_seconds, "time": day * DAY}
        for number in numbers
    ]
    keep_times(config, steps, speed or speed_here("float32", 1, is_compiled=False))


def a_probe(step_seconds: float, **changed) -> Probe:
    found = Probe(step_seconds, 0.01, 40, "float32", 1, None, "as it was measured")
    return replace(found, **changed)


def test_a_run_leaves_what_its_steady_steps_took(config, keeps_all):
    trained(config)
    value = json.loads((config.run_dir / "times.json").read_text())
    steps = [record["seconds"] for record in read_records(config.run_dir / "records.jsonl", "step")]
    assert min(steps) <= value["step_seconds"] <= max(steps)
    assert 3 <= value["num_steps"] < len(steps), "the first ones don't count"
    assert machinery(config, None).step_how.startswith("median of 1 earlier run here")


def test_a_resumed_run_says_what_its_last_process_took(config, keeps_all):
    config = named(config, "resumed", half_length_fraction=0.5)

    class Killed(BaseException):
        pass

    def killed_after_a_save(record):
        if record["event"] == "checkpoint" and record["step"] > config.train.num_steps // 2:
            raise Killed

    with pytest.raises(Killed):
        trained(config, killed_after_a_save)
    assert not (config.run_dir / "times.json").exists()
    trained(config)
    value = json.loads((config.run_dir / "times.json").read_text())
    last = [record for record in read_records(config.run_dir / "records.jsonl", "step") if record["attempt"] == 2]
    assert value["num_steps"] < len(last) < config.train.num_steps // 2
    assert value["half_length_fraction"] == 0, "the halves came before"


def test_a_run_beside_other_programs_leaves_none(config, keeps_all, monkeypatch):
    monkeypatch.setattr(LoadMeter, "note", lambda self, num_threads=None: "Other processes use 1.9 of the 2 CPUs")
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


def test_few_steps_or_seconds_are_the_moments_speed(config):
    took(config, 0.001, seconds=9.0)
    assert not (config.run_dir / "times.json").exists()
    took(config, 0.001, seconds=11.0)
    assert (config.run_dir / "times.json").exists()


def test_steps_that_were_computed_twice_dont_count(config):
    config.run_dir.mkdir(parents=True)
    steps = [
        {"event": "step", "attempt": 1, "step": number, "seconds": 2.0 if number % 5 == 0 else 1.0, "time": 1.0}
        | ({"audited": True} if number % 5 == 0 else {})
        for number in range(1, 100)
    ]
    keep_times(config, steps, speed_here("float32", 1, is_compiled=False))
    assert json.loads((config.run_dir / "times.json").read_text())["step_seconds"] == 1.0


def test_the_next_run_is_expected_at_what_the_earlier_ones_took(config):
    usual = machinery(config, None)
    want = 1.2 * usual.step.median
    for day in range(4):
        took(named(config, f"before{day}"), want, day=day + 1)
    found = machinery(config, None)
    assert found.step.median == pytest.approx(want, rel=0.01)
    assert found.step.log_deviation == pytest.approx(RUN_TO_RUN * math.sqrt(1 + 1 / 4))
    assert found.step_how.endswith("median of 4 earlier runs here")
    other = machinery(named(config, "other", batch_tokens=2 * config.train.batch_tokens), None)
    assert found.step.log_deviation < other.step.log_deviation < usual.step.log_deviation, "another shape gains less"


def test_a_run_of_full_rows_alone_says_what_halves_would_take(config):
    halved = named(config, "mine", half_length_fraction=0.5)
    usual = machinery(halved, None).step.median
    full = machinery(named(config, "full", half_length_fraction=0.0), None).step.median
    assert full > 1.002 * usual
    took(halved, full, first=halved.train.num_steps)  # it was resumed after its halves, and is as fast as forecast
    assert machinery(halved, None).step.median == pytest.approx(usual, rel=1e-6)


def test_a_ladder_counts_as_one_more_run(config):
    usual = machinery(config, None).step.median
    for day in range(2):
        took(named(config, f"before{day}"), usual, day=day + 1)
    found = machinery(config, a_probe(2 * usual))
    assert found.step_how == "as it was measured, and 2 earlier runs here"
    assert found.step.median == pytest.approx(usual, rel=0.01)
    assert found.step.log_deviation > machinery(config, None).step.log_deviation, "they disagree"


def test_a_probe_under_load_counts_only_where_there_is_no_run(config):
    usual = machinery(config, None).step.median
    busy = a_probe(3 * usual, busy="under load")
    assert machinery(config, busy).step.median == pytest.approx(3 * usual, rel=0.02)
    took(named(config, "before"), usual)
    assert machinery(config, busy).step.median == pytest.approx(usual, rel=0.02)


def test_only_the_newest_runs_count(config):
    usual = machinery(config, None).step.median
    for day in range(9):
        took(named(config, f"run{day}"), (6 if day < 6 else 2) * usual, day=day + 1)
    found = machinery(config, None)
    assert found.step.median == pytest.approx(2 * usual, rel=0.03)
    assert "median of 5 earlier runs here" in found.step_how


@pytest.mark.parametrize(
    "changed",
    [{"dtype": "int8"}, {"num_threads": 2}, {"compiled": True}, {"flags": "sha256:0"}],
    ids=lambda changed: next(iter(changed)),
)
def test_runs_that_computed_otherwise_say_nothing(config, changed):
    took(named(config, "before"), 9.0, speed=speed_here("float32", 1, is_compiled=False) | changed)
    assert "earlier" not in machinery(config, None).step_how


@pytest.mark.parametrize(
    "changed",
    [
        '"step_seconds": -9.0',
        '"step_seconds": 1e300',
        '"step_seconds": 1e-310',
        '"step_seconds": true',
        '"step_seconds": 1' + 400 * "0",
        '"step_seconds": NaN',
        '"num_steps": Infinity',
        '"num_steps": 1e300',
        '"num_steps": 2',
        '"num_steps": "many"',
        '"ended_at": NaN',
        '"half_length_fraction": 2',
        '"format_version": 7',
        '"d_model": 1' + 200 * "0",
        '"vocab_size": 1' + 320 * "0",
        '"batch_tokens": 1' + 320 * "0",
    ],
    ids=lambda changed: changed[:30],
)
def test_numbers_that_cant_be_say_nothing(config, changed):
    before = machinery(config, None).step
    took(named(config, "odd"), 9.0)
    path = config.run_dir.parent / "odd/times.json"
    name = changed.split(":")[0]
    path.write_text(re.sub(rf"{name}: [^,\n]*", changed, path.read_text()))
    assert machinery(config, None).step == before


@pytest.mark.parametrize("text", ["[1, 2]", '{"format": "headwater-times"', "{}", "null", ""])
def test_files_of_others_say_nothing(config, text):
    (config.run_dir.parent / "odd").mkdir(parents=True)
    (config.run_dir.parent / "odd/times.json").write_text(text)
    assert "earlier" not in machinery(config, None).step_how


def test_other_shapes_dont_push_out_the_runs_own(config, monkeypatch):
    monkeypatch.setattr(earlier, "MOST_RUNS", 2)
    took(named(config, "own"), 1.0, day=1)
    for day in range(5):
        took(named(config, f"other{day}", batch_tokens=2 * config.train.batch_tokens), 2.0, day=day + 2)
    found = machinery(config, None).step_how
    assert "median of 1 earlier run here" in found


def test_a_search_counts_them_and_the_drift_from_run_to_run(config):
    def processor():
        return processor_at_hand(config, None, Around(0.0, 0.0, 0.0))

    before, modelled = processor(), machinery(config, None).step.median
    took(named(config, "before"), 1.3 * modelled, day=1)
    assert before.usual.median == 1.0
    after = processor()
    assert after.usual.median == pytest.approx(1.3, rel=0.03)
    assert after.usual.log_deviation < 0.8 * before.usual.log_deviation
    (found,) = after.search(config.model, 1e6, 0.0).candidates
    assert found.hours_deviation == pytest.approx(math.hypot(after.usual.log_deviation, RUN_TO_RUN), rel=0.01)


def test_runs_far_from_what_a_processor_takes_are_named(config):
    usual = machinery(config, None).step.median
    took(named(config, "near"), 1.3 * usual)
    assert "times the model" not in machinery(config, None).step_how
    took(named(config, "near"), 10 * usual)
    assert "times the model's: see RUN/times.json" in machinery(config, None).step_how
