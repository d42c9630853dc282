"""From a run file to a result, as a notebook does it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_run import quick

from headwater.core.files import read_json
from headwater.core.records import read_all, read_records
from headwater.machine.ranks.mesh import Layout
from headwater.runfile.run_config import load_run
from headwater.runs.running import Call, run
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
    assert 0 < result.forecast_error < 10
    assert said == ["training is up to date: runs/mine has step 8"]


def test_the_line_of_the_readme_for_a_notebook_runs(finished_run, capsys, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (called,) = re.search(r"In a notebook[^`]*`(.*?)`", readme).groups()
    monkeypatch.chdir(finished_run)
    cell: dict[str, Any] = {}
    with quick():
        exec(f"import headwater\nresult = {called}", cell)
    assert cell["result"].status == "finished"
    assert capsys.readouterr().out == "training is up to date: runs/mine has step 8\n"


def test_a_call_with_nothing_but_a_run_prints_its_steps(finished_copy, capsys):
    with contextlib.chdir(finished_copy), quick():
        run(*load_run("mine.toml", ["name=shown", "train.log_every=3"]))
    steps = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert [line.split("  ")[0] for line in steps] == ["step 3/8", "step 6/8", "step 8/8"]
    losses = [each["loss"] for each in read_records(finished_copy / "runs/shown/records.jsonl", "step")]
    assert [line.split("  ")[1] for line in steps] == [f"loss {losses[step - 1]:.3f}" for step in (3, 6, 8)]


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
    result = run_in(finished_copy, say=said.append, call=Call(own=taken_late))
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
