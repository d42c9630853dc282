"""Data of a small run, prepared once, and a way to train on it in any folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_run import overrides, quick, write_run_file, write_texts

from headwater.machine.load import LoadMeter
from headwater.machine.signals import StopRequest
from headwater.runs import busy
from headwater.runs.open import open_evaluator
from headwater.runs.rows import open_batches
from headwater.runs.run_config import RunConfig, load_run
from headwater.runs.stages import Timings, prepare_data, train_plan
from headwater.train.assemble import Run, assemble
from headwater.train.loop import train


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch):
    """Notes about load would depend on what else runs here; tests of them put their own back."""
    monkeypatch.setattr(busy, "busy_now", lambda: None)
    monkeypatch.setattr(LoadMeter, "note", lambda self, num_threads=None: None)


Display = Callable[[dict[str, Any]], None]


def silent(line: object) -> None:
    pass


@dataclass(frozen=True)
class Workshop:
    """Prepared data with the settings to train on it; `begin` and `train` take the folder to train in."""

    config: RunConfig

    def begin(self, run_dir: Path, say: Callable[[str], None] = silent) -> Run:
        return assemble(run_dir, train_plan(self.config), open_batches(self.config), say)

    def train(self, run_dir: Path, display: Display = silent, stop: StopRequest | None = None) -> Run:
        """Train on from what `run_dir` holds; the records begin as those of a real run do."""
        with quick():
            run = self.begin(run_dir)
            try:
                rows = {"rows_consumed": run.rows_consumed}
                if run.step:
                    display(run.records.append("resume", run.step, **rows, **{"from": f"step-{run.step:09d}"}))
                display(run.records.append("start", run.step, **rows))
                train(run, open_evaluator(self.config), display, stop or StopRequest())
            finally:
                run.records.close()
        return run


@pytest.fixture(scope="session")
def prepare(tmp_path_factory) -> Callable[..., Workshop]:
    """Return a function that makes a workshop with other settings on the same data."""
    folder = tmp_path_factory.mktemp("workshop")
    write_texts(folder / "texts", num_files=20)
    write_run_file(folder / "mine.toml", texts=str(folder / "texts"))

    def prepare(**changed: Any) -> Workshop:
        config, _ = load_run(str(folder / "mine.toml"), [*overrides(**changed), f"runs_dir={folder}/runs"])
        prepare_data(config, silent, Timings())
        return Workshop(config)

    return prepare
