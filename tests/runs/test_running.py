"""A run in one call: its result, what it would do, and what the whole of it took."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_run import call, quick

from headwater.core.files import read_json
from headwater.core.records import memory_fields, read_all, read_records
from headwater.machine.ranks.mesh import Layout
from headwater.runfile.run_config import load_run
from headwater.runs.running import run
from headwater.runs.stages import open_batches
from headwater.runs.training import train_stage
from headwater.train.checkpoint.lock import owned


def run_in(folder, *overrides: str, **how):
    with contextlib.chdir(folder), quick():
        return run(*load_run("mine.toml", list(overrides)), **how)


def stop_at_step_3(record):
    if record["event"] == "step" and record["step"] == 3:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_result_holds_what_the_run_left_in_its_folder(finished_run):
    said: list[str] = []
    result = run_in(finished_run, say=said.append)
    run_dir = finished_run / result.folder
    assert result.evaluation == read_json(run_dir / "evaluation.json")
    assert result.bits_per_byte == result.evaluation["bits_per_byte"]["all"]
    assert result.loss == read_records(run_dir / "records.jsonl", "validation")[-1]["loss"]["all"]
    assert {outcome.quantity for outcome in result.outcomes} >= {"training time", "memory"}
    assert said == ["training is up to date: runs/mine has step 8"]


def test_a_stopped_run_says_so_and_the_same_call_resumes_it(finished_copy):
    stopped = run_in(finished_copy, "name=again", make_display=lambda config: stop_at_step_3)
    assert (stopped.status, stopped.step, stopped.evaluation) == ("stopped", 3, {})
    whole = run_in(finished_copy, "name=again")
    assert (whole.status, whole.step) == ("finished", 8)
    assert whole.evaluation["bits_per_byte"] == read_json(finished_copy / "runs/mine/evaluation.json")["bits_per_byte"]


def test_a_run_that_resumes_with_other_blocks_recomputed_keeps_its_forecast(finished_copy, monkeypatch):
    said: list[str] = []
    with monkeypatch.context() as memory:
        memory.setattr("headwater.plan.layout.layout_here", lambda *_: Layout(recompute=1.0))
        assert (
            run_in(finished_copy, "name=again", make_display=lambda config: stop_at_step_3, say=said.append).status
            == "stopped"
        )
    forecast = (finished_copy / "runs/again/forecast.json").read_bytes()
    assert run_in(finished_copy, "name=again", say=said.append).status == "finished"
    assert (finished_copy / "runs/again/forecast.json").read_bytes() == forecast, said
    starts = read_records(finished_copy / "runs/again/records.jsonl", "start")
    assert [start["recompute"] for start in starts] == [1.0, 0.0]


def test_a_checkpoint_that_another_process_puts_aside_before_the_lock_is_trained_again(finished_copy):
    @contextlib.contextmanager
    def taken_late(folder):
        (folder / "checkpoints/step-000000008").rename(folder / "aside")
        with owned(folder) as owner:
            yield owner

    said: list[str] = []
    with mock.patch("headwater.runs.running.owned", taken_late):
        result = run_in(finished_copy, say=said.append)
    assert (result.status, result.step) == ("finished", 8)
    assert (finished_copy / "runs/mine/checkpoints/step-000000008").is_dir(), said


@pytest.mark.parametrize("settings", [(), ("parallel.shard=2",)], ids=["as it was", "of two ranks"])
def test_a_stage_that_is_made_again_adds_nothing_to_the_time_of_training(finished_copy, settings):
    records = finished_copy / "runs/mine/records.jsonl"
    before = read_all(records)
    for path in (finished_copy / "runs/mine/data/tokens").rglob("manifest.json"):
        path.unlink()
    result = run_in(finished_copy, *settings)
    assert read_all(records) == before
    assert result.trained_seconds == before[-1]["seconds"]


def test_a_forecast_of_packaged_text_loads_nothing_that_builds_a_corpus_or_fits_a_law(tmp_path):
    program = (
        "import sys; sys.argv = ['headwater', 'plan', 'first-light', '--json']\n"
        "from headwater.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "files = {name: getattr(module, '__file__', None) or '' for name, module in sys.modules.items()}\n"
        "print(*(name for name, file in files.items() if name.split('.')[0] in ('headwater', 'torch')"
        " and not file.endswith('__init__.py')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    loaded = done.stderr.split()
    assert "headwater.runfile.run_config" in loaded
    builds = ("headwater.corpus.", "torch", "headwater.plan.scaling.law")
    assert not [n for n in loaded if n.startswith(builds) and not n.startswith("headwater.corpus.sources")]
    assert len([name for name in loaded if name.startswith("headwater")]) <= 62, "without the rooms and their folders"


def step(attempt: int, **fields) -> dict:
    return {"event": "step", "attempt": attempt, "step": 1, **fields}


def saved(attempt: int, peak: int | None) -> dict:
    return {"event": "checkpoint", "attempt": attempt, "step": 1, "peak_memory_bytes": peak}


@pytest.mark.parametrize(
    ("records", "peak", "found", "how"),
    [
        ([], 5, 5, "peak of the process"),
        ([], None, None, "not known of every attempt"),
        ([step(1), saved(1, 7), saved(1, 9), step(3)], 5, 9, "largest peak of the process in 2 attempts"),
        ([step(1), saved(1, 4), step(3)], 5, 5, "largest peak of the process in 2 attempts"),
        ([{"event": "start", "attempt": 1, "step": 0}, step(3)], 5, 5, "peak of the process"),
        ([step(1), step(3)], 5, None, "not known of every attempt"),
        ([step(1), saved(1, None)], 5, None, "not known of every attempt"),
        ([saved(1, 7), saved(2, 8)], None, None, "not known of every attempt"),
    ],
)
def test_the_peak_of_a_run_is_the_largest_of_its_processes_or_unknown(records, peak, found, how):
    fields = memory_fields(records, 3, peak)
    assert fields["peak_memory_bytes"] == found
    assert fields["peak_memory_how"].startswith(how)


class Killed(BaseException):
    """Nothing catches it, as nothing does SIGKILL."""


def killed_after_a_save(record: dict) -> None:
    if record["event"] == "checkpoint" and record["step"] == 8:
        raise Killed


def test_a_killed_process_counts_in_the_runs_peak(prepare, monkeypatch):
    config = prepare(name="killed", train__num_steps=12, train__save_every=4).config
    held = itertools.count(1000)
    monkeypatch.setattr("headwater.machine.host.memory.peak_bytes", lambda: next(held))
    with quick():
        with pytest.raises(Killed):
            train_stage(config, open_batches(config), killed_after_a_save, print)
        before = next(held)
        held = itertools.count(10)  # the process that goes on holds less: it has prepared nothing
        assert train_stage(config, open_batches(config), lambda record: None, print)
    (end,) = read_records(config.run_dir / "records.jsonl", "finish")
    assert 1000 < end["peak_memory_bytes"] < before
    assert end["peak_memory_how"] == "largest peak of the process in 2 attempts"


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def actions(folder: Path, *overrides: str, status: int | None = 0) -> dict[str, str]:
    """Return {stage: action} of a dry run by the command, after which everything is as it was."""
    before = contents(folder)
    said = call("run", "mine.toml", *overrides, "--dry-run", "--json", cwd=folder)
    assert status is None or said.status == status, said
    assert contents(folder) == before
    return {each["stage"]: each["action"] for each in said.json["stages"]}


DATA, AFTER = ("corpus", "tokenizer", "tokens"), ("evaluation", "export", "report")


def lost(*names: str):
    def lose(run_dir: Path) -> None:
        for path in (run_dir / name for name in names):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return lose


@pytest.mark.parametrize(
    ("damage", "overrides", "due"),
    [
        (lambda run_dir: None, [], {}),
        (lost("report.html"), [], {"report": "do"}),
        (lost("export/hf"), [], {"export": "do", "report": "do"}),
        (lost("evaluation.json"), [], dict.fromkeys(AFTER, "do")),
        (lost("checkpoints/step-000000008"), [], {"training": "resume"} | dict.fromkeys(AFTER, "do")),
        (lost("checkpoints"), [], {"training": "do"} | dict.fromkeys(AFTER, "do")),
        (lost("data/tokens"), [], {"tokens": "do", "training": "resume"} | dict.fromkeys(AFTER, "do")),
        (lambda run_dir: None, ["name=new"], dict.fromkeys((*DATA, "training", *AFTER), "do")),
    ],
)
def test_what_is_left_to_do_is_said_and_done(finished_copy, damage, overrides, due):
    damage(finished_copy / "runs/mine")
    stages = dict.fromkeys((*DATA, "training", *AFTER), "skip")
    assert actions(finished_copy, *overrides) == stages | due
    assert call("run", "mine.toml", *overrides, cwd=finished_copy).status == 0
    assert actions(finished_copy, *overrides) == stages, "nothing is left to do"


@pytest.mark.parametrize(
    ("overrides", "stage"),
    [(["optim.beta2=0.9"], "training"), (["train.num_steps=6"], "training"), (["corpus.seed=9"], "corpus")],
)
def test_what_a_run_refuses_is_refused_with_its_words(finished_copy, overrides, stage):
    assert actions(finished_copy, *overrides, status=2)[stage] == "refuse"
    refused = call("run", "mine.toml", *overrides, cwd=finished_copy)
    shown = call("run", "mine.toml", *overrides, "--dry-run", "--json", cwd=finished_copy).json["refused"]
    assert refused.status and any(why in refused.err for why in shown), (refused, shown)


@given(steps=st.integers(1, 40))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_another_number_of_steps_is_refused_where_the_run_refuses_it(finished_copy, steps):
    """What a rule made of the begun run stays, in a dry run as in a run; of more steps than it has none is trained here."""
    changed = [f"train.num_steps={steps}"]
    is_refused = actions(finished_copy, *changed, status=None).get("training") == "refuse"
    assert is_refused == (steps < 8)
