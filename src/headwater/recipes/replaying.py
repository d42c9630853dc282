"""Replay a run: train it anew beside itself, by its log of interventions, and compare bit by bit."""

from __future__ import annotations

from headwater.recipes.rows import open_batches
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import Say, train_plan
from headwater.records import Record
from headwater.train.attempt import Display
from headwater.train.interventions import read_interventions
from headwater.train.replay import Replay, replay


def replay_run(config: RunConfig, display: Display, say: Say) -> tuple[Replay, list[Record]]:
    """Return what came of a replay, and the interventions that it followed; hold the run's lock."""
    found = replay(config.run_dir, train_plan(config), open_batches(config), display, say)
    return found, read_interventions(config.run_dir)
