"""Replay a run: train it again beside itself, by its log of interventions, and compare bit by bit."""

from __future__ import annotations

from headwater.runs.rows import open_batches
from headwater.runs.run_config import RunConfig
from headwater.runs.paths import Say
from headwater.runs.stages import train_plan
from headwater.records import Record
from headwater.train.interventions import read_interventions
from headwater.train.replay import Replay, replay
from headwater.train.tried_step import Display


def replay_run(config: RunConfig, display: Display, say: Say) -> tuple[Replay, list[Record]]:
    """Return the result of a replay, and the interventions that it followed; hold the run's lock."""
    found = replay(config.run_dir, train_plan(config), open_batches(config), display, say)
    return found, read_interventions(config.run_dir)
