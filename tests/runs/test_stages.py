"""Each stage is done when its settings or inputs changed, and by the folder's owner alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import call, final_weights, measured, prose, require_clear_error, write_run_file, write_texts

from headwater.core.errors import ConfigError, LockedError
from headwater.core.files import digest_file, write_json
from headwater.core.records import read_all, read_records
from headwater.downstream.rl import make_derived_run, save_model
from headwater.page.report.page import report_stage
from headwater.runfile.run_config import RunConfig, load_run
from headwater.runs.finish import evaluate_stage, export_stage
from headwater.runs.loading import load_model
from headwater.runs.stages import prepare_data, write_config
from headwater.train.checkpoint.lock import owned


def run_again(folder: Path, *overrides: str) -> set[str]:
    """Run again and return which of the run's files were written, but for the epoch, which every start raises."""
    run_dir = folder / "runs/mine"
    before = {path: path.stat().st_ino for path in run_dir.rglob("*") if path.is_file()}
    said = call("run", "mine.toml", *overrides, cwd=folder)
    assert said.status == 0, said
    after = {path: path.stat().st_ino for path in run_dir.rglob("*") if path.is_file()}
    return {str(path.relative_to(run_dir)) for path, inode in after.items() if before.get(path) != inode} - {"epoch"}


@pytest.mark.parametrize("name", ["report.html", "evaluation.json", "export/hf", "stages.json"])
def test_a_stage_that_was_removed_is_made_again_and_only_what_follows_from_it(finished_copy, name):
    path = finished_copy / "runs/mine" / name
    before = path.read_bytes() if path.is_file() else None
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    written = run_again(finished_copy)
    follows = {"evaluation.json", "report.html", "stages.json"}
    if name in ("evaluation.json", "stages.json"):
        follows.add("export")  # whose card has the scores
    assert {Path(file).parts[0] for file in written} <= {Path(name).parts[0]} | follows
    assert not [file for file in written if file.startswith(("data", "checkpoints"))]
    if name == "evaluation.json":
        assert path.read_bytes() == before


@pytest.mark.parametrize("stage", ["data/corpus", "data/tokens", "data"])
def test_data_that_was_removed_is_made_again_and_training_is_not(finished_copy, stage):
    run_dir = finished_copy / "runs/mine"
    weights, steps = final_weights(run_dir), len(read_all(run_dir / "records.jsonl"))
    shutil.rmtree(run_dir / stage)
    run_again(finished_copy)
    assert final_weights(run_dir) == weights
    assert not [record for record in read_all(run_dir / "records.jsonl")[steps:] if record["event"] == "step"]


@pytest.mark.parametrize(
    ("verb", "has_model"),
    [("run", False), *((verb, True) for verb in ("run", "train", "ladder", "plan", "plan --budget=2h"))],
)
def test_what_reinforcement_made_is_refused_before_anything_is_written(finished_copy, verb, has_model):
    base, made = finished_copy / "runs/mine", finished_copy / "runs/mine-rl"
    make_derived_run(base, made, 4)
    if has_model:
        save_model(made, load_model(base)[0], 4, {"start": "a digest"})
    before = set(made.rglob("*"))
    said = call(*verb.split(), "runs/mine-rl", cwd=finished_copy)
    require_clear_error(said, "made by `headwater downstream rl` or `dpo`", "give that command again", status=(1,))
    after = {path for path in made.rglob("*") if path.name not in ("epoch", "lock")}
    assert after == before


def test_a_run_killed_before_its_last_measurements_gets_them(finished_copy):
    run_dir = finished_copy / "runs/mine"
    before = measured(run_dir)
    lines = (run_dir / "records.jsonl").read_text().splitlines(keepends=True)
    last_step = max(at for at, line in enumerate(lines) if json.loads(line)["event"] == "step")
    (run_dir / "records.jsonl").write_text("".join(lines[: last_step + 1]))
    assert len(measured(run_dir)) < len(before)
    run_again(finished_copy)
    assert measured(run_dir) == before
    assert [record["step"] for record in read_records(run_dir / "records.jsonl", "finish")] == [8]


def test_an_unfinished_run_trains_on_and_train_stops_before_the_evaluation(tmp_path):
    write_texts(tmp_path / "texts", num_files=12)
    write_run_file(tmp_path / "mine.toml", train__num_steps=4, train__num_probes=0)
    assert call("train", "mine.toml", cwd=tmp_path).status == 0
    run_dir = tmp_path / "runs/mine"
    assert (run_dir / "checkpoints/step-000000004").is_dir()
    assert not (run_dir / "evaluation.json").exists()
    assert call("run", "mine.toml", cwd=tmp_path).status == 0
    assert (run_dir / "evaluation.json").exists()
    assert {record["attempt"] for record in read_all(run_dir / "records.jsonl")} == {1}


@pytest.mark.parametrize("lost", ["records.jsonl", "config.json"])
def test_a_run_that_lost_a_file_ends_whole(finished_copy, lost):
    (finished_copy / "runs/mine" / lost).unlink()
    run_again(finished_copy)
    assert (finished_copy / "runs/mine" / lost).exists()
    assert (finished_copy / "runs/mine/report.html").exists()


OTHER = {"epoch": 99, "pid": 4321, "host": "elsewhere", "token": "x"}


def rewrite_config(config: RunConfig, say: Callable[[str], None]) -> None:
    write_config(config, [])


# what is missing, what makes it, and at which line that it says the run is taken over; 0: before it begins
STAGES = {
    "corpus": (["data", "checkpoints"], prepare_data, 1),
    "tokenizer": (["data/tokenizer", "data/tokens"], prepare_data, 1),
    "tokens": (["data/tokens"], prepare_data, 1),
    "config": (["config.json"], rewrite_config, 0),
    "evaluation": (["evaluation.json"], evaluate_stage, 1),
    "export": (["export"], export_stage, 0),
    "report": (["report.html"], report_stage, 0),
}


def contents(run_dir: Path) -> dict[str, str]:
    """Return all that a run promises to be whole: not its lock, nor the parts that a corpus keeps to go on from."""
    names = {str(path.relative_to(run_dir)): path for path in run_dir.rglob("*") if path.is_file()}
    promised = {name: path for name, path in names.items() if not name.startswith(("lock", "epoch", "data/."))}
    return {name: digest_file(path) for name, path in promised.items()}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_of_a_stale_owner_commits_nothing_and_names_the_new_one(finished_run, tmp_path, name, monkeypatch):
    missing, make, when = STAGES[name]
    monkeypatch.chdir(finished_run)
    shutil.copytree(finished_run / "runs", tmp_path / "runs")
    config, _ = load_run("mine.toml", [f"runs_dir={tmp_path / 'runs'}"])
    for path in (config.run_dir / each for each in missing):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before, said = contents(config.run_dir), []

    def take_over_when_due(line: str) -> None:
        said.append(line)
        if len(said) == when:
            write_json(config.run_dir / "epoch", OTHER)

    with pytest.raises(LockedError, match="taken over by process 4321 on elsewhere"), owned(config.run_dir):
        if not when:
            write_json(config.run_dir / "epoch", OTHER)
        make(config, take_over_when_due)
    assert contents(config.run_dir) == before


def test_the_folder_of_another_run_is_left_alone(finished_copy):
    base, other = finished_copy / "runs/mine", finished_copy / "runs/other"
    other.mkdir()
    (other / "config.json").write_text('{"settings": {}}')
    with pytest.raises(ConfigError, match="the folder of another run"):
        make_derived_run(base, other, 4)
    assert [path.name for path in other.iterdir()] == ["config.json"]


def test_data_that_was_removed_and_comes_out_different_is_not_passed_off_as_the_models(finished_copy):
    shutil.rmtree(finished_copy / "runs/mine/data")
    (finished_copy / "texts/00.txt").write_text(prose("other"))
    require_clear_error(call("run", "mine.toml", cwd=finished_copy), "batches: was", status=(1,))
