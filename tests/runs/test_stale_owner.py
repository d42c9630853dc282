"""A process whose run was taken over commits no stage, however far it has come with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.core.errors import LockedError
from headwater.core.files import digest_file, write_json
from headwater.page.report.page import report_stage
from headwater.runfile.run_config import RunConfig, load_run
from headwater.runs.finish import evaluate_stage, export_stage
from headwater.runs.stages import prepare_data, write_config
from headwater.train.checkpoint.lock import owned

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


def test_a_stale_owner_whose_files_were_tidied_away_says_who_did_so(tmp_path):
    with pytest.raises(LockedError, match="process 4321 on elsewhere"), owned(tmp_path):
        write_json(tmp_path / "epoch", OTHER)
        raise FileNotFoundError(tmp_path / ".tmp-corpus")


def test_what_goes_wrong_for_an_owner_is_left_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), owned(tmp_path):
        raise FileNotFoundError(tmp_path / "text")
