"""Data of a small run, prepared once, and a way to train on it in any folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_run import overrides, quick, write_run_file, write_texts

import headwater
from headwater.machine.host.load import LoadMeter
from headwater.machine.host.signals import StopRequest
from headwater.plan import run_plan as plan
from headwater.runfile.run_config import RunConfig, load_run, train_plan
from headwater.runs.finish import open_evaluator
from headwater.runs.stages import open_batches, prepare_data
from headwater.train.loop import train
from headwater.train.start import assemble, past_to_resume
from headwater.train.state import Run, RunState


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    """Notes about load would depend on what else runs here; tests of them put their own back."""
    monkeypatch.setattr(plan, "busy_now", lambda meter=None: None)
    monkeypatch.setattr(LoadMeter, "note", lambda self, num_threads=None: None)


Display = Callable[[dict[str, Any]], None]


def silent(line: object) -> None:
    pass


@dataclass(frozen=True)
class Workshop:
    """Prepared data with the settings to train on it; `begin` and `train` take the folder to train in."""

    config: RunConfig

    def begin(self, run_dir: Path, say: Callable[[str], None] = silent) -> Run:
        plan, batches = train_plan(self.config), open_batches(self.config)
        return assemble(run_dir, plan, batches, past_to_resume(run_dir, plan, batches, say), say)

    def train(self, run_dir: Path, display: Display = silent, stop: StopRequest | None = None) -> RunState:
        """Train on from what `run_dir` holds; the records begin as those of a real run do. Return the state reached."""
        with quick():
            run = self.begin(run_dir)
            try:
                step, rows = run.start.step, {"rows_consumed": run.start.rows_consumed}
                if step:
                    display(run.records.append("resume", step, **rows, **{"from": f"step-{step:09d}"}))
                display(run.records.append("start", step, **rows))
                return train(run, open_evaluator(self.config), display, stop or StopRequest())
            finally:
                run.records.close()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """A folder with mine.toml and its finished run, of 8 steps, that was made as a notebook would; don't change it."""
    folder = tmp_path_factory.mktemp("finished")
    write_texts(folder / "texts", num_files=20)
    settings = {"train__num_steps": 8, "train__save_every": 4, "train__num_probes": 2}
    write_run_file(folder / "mine.toml", **settings)
    with contextlib.chdir(folder), quick():
        result = headwater.run("mine.toml")
    assert result.status == "finished" and result.step == 8
    return folder


@pytest.fixture
def finished_copy(finished_run, tmp_path) -> Path:
    """A copy of that folder, for one test to change."""
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))


@pytest.fixture(scope="session")
def prepare(tmp_path_factory) -> Callable[..., Workshop]:
    """Return a function that makes a workshop with other settings on the same data."""
    folder = tmp_path_factory.mktemp("workshop")
    write_texts(folder / "texts", num_files=20)
    write_run_file(folder / "mine.toml", texts=str(folder / "texts"))

    def prepare(**changed: Any) -> Workshop:
        config, _ = load_run(str(folder / "mine.toml"), [*overrides(**changed), f"runs_dir={folder}/runs"])
        prepare_data(config, silent)
        return Workshop(config)

    return prepare
