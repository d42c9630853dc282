"""The search for a mixture: small runs on other mixtures of a run's text, what they show, and a check of that.

RUN/mixing has `design.json` (the size of the small runs and the mixtures chosen), a folder for each small run, and
`proposal.json` when all are done. Each is trained once: the same command resumes where it was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from headwater.batches.settings import MixtureSettings
from headwater.checkpoint.lock import owned
from headwater.files import remove_leftovers, write_json
from headwater.records import read_records
from headwater.runs.ladder_design import rung_config
from headwater.runs.mixing_design import FORMAT, Mixing
from headwater.runs.mixture_shares import read_rows
from headwater.runs.paths import Say
from headwater.runs.run_config import RunConfig
from headwater.runs.small_run import begin_small_run, keep_measured, measured_before, train_small_run
from headwater.scaling.arrays import FloatArray
from headwater.scaling.mixture_law import MixtureLaw, Proposal, fit_mixture_law, propose
from headwater.train.loop import Display

MEASURED_FILE = "mixture.json"

MakeDisplay = Callable[[RunConfig], Display]


def search_mixture(mixing: Mixing, make_display: MakeDisplay, say: Say) -> dict[str, Any] | None:
    """Train what isn't trained; return what `headwater corpus mixture --search --json` prints, None after a signal."""
    config = mixing.ladder.config
    with owned(config.run_dir):
        remove_leftovers(mixing.folder)
        trainer = _Trainer(mixing, make_display, say)
        try:
            losses = [trainer.losses(f"mixture-{at}", row, config.seed) for at, row in enumerate(mixing.weights)]
            table = np.array([[loss[name] for name in mixing.sources] for loss in losses])
            law = fit_mixture_law(mixing.sources, mixing.sources, mixing.weights, table)
            chance = np.random.default_rng(config.seed)
            found = propose(law, mixing.weights[0], mixing.most, mixing.importance, chance)
            seeds = range(config.seed + 1, config.seed + 1 + mixing.options.num_checks)
            checks = [_check(mixing, trainer, found, seed) for seed in seeds]
        except _Stopped:
            return None
        result = _result(mixing, law, found, checks)
        write_json(mixing.folder / "proposal.json", {"format": FORMAT, "format_version": 1, **result})
        return result


def _check(mixing: Mixing, trainer: _Trainer, found: Proposal, seed: int) -> dict[str, Any]:
    """Train the run's own mixture and the proposal alike, with a seed that the proposal wasn't made with."""
    proposed = np.array([found.weights[name] for name in mixing.sources])
    own, new = trainer.losses(f"own-{seed}", mixing.weights[0], seed), trainer.losses(f"new-{seed}", proposed, seed)
    return {"seed": seed, "own": own, "proposed": new, "gain": _gain(mixing, own, new)}


class _Stopped(Exception):
    """A signal stopped a small run; all is saved."""


class _Trainer:
    """Trains the small runs of a search, one after another."""

    def __init__(self, mixing: Mixing, make_display: MakeDisplay, say: Say) -> None:
        self._mixing, self._make_display, self._say = mixing, make_display, say
        self._num_done = 0

    def losses(self, name: str, weights: FloatArray, seed: int) -> dict[str, float]:
        """Return the bits per byte by source of a small run, trained now or before; raise _Stopped after a signal."""
        mixing, beside = self._mixing, self._mixing.ladder.config
        config, reasons = rung_config(mixing.ladder, mixing.rung)
        chosen = dict(zip(mixing.sources, weights.tolist(), strict=True))
        mixture = MixtureSettings(weights=chosen, share_of_text=beside.mixture.share_of_text)
        changes = {"name": name, "runs_dir": str(mixing.folder), "seed": seed, "mixture": mixture}
        config = config.model_copy(update=changes)
        self._num_done += 1
        found = measured_before(beside, config, MEASURED_FILE)
        if found is None:
            shown = ", ".join(f"{source} {weight:.0%}" for source, weight in mixture.weights.items())
            self._say(f"small run {self._num_done} of {mixing.options.num_trained}: {shown}")
            begin_small_run(beside, config)
            if not train_small_run(beside.run_dir, config, reasons, self._make_display(config), self._say):
                raise _Stopped
            last = read_records(config.run_dir / "records.jsonl", "validation")[-1]
            found = {"loss": last["bits_per_byte"]}
            keep_measured(beside, config, MEASURED_FILE, found)
        return {source: float(found["loss"][source]) for source in mixing.sources}


def _gain(mixing: Mixing, own: dict[str, float], proposed: dict[str, float]) -> float:
    """Return by which part the proposal lowers the geometric mean of the losses, by importance."""
    total = sum(mixing.importance.values())
    logs = (part * math.log(proposed[name] / own[name]) for name, part in mixing.importance.items())
    return 1 - math.exp(sum(logs) / total)


def _result(mixing: Mixing, law: MixtureLaw, found: Proposal, checks: list[dict[str, Any]]) -> dict[str, Any]:
    rows, num_rows = read_rows(mixing.ladder.config), mixing.ladder.config.num_rows
    gains = [check["gain"] for check in checks]
    return {
        "name": mixing.ladder.config.name,
        "rung": asdict(mixing.rung),
        "num_runs": len(mixing.weights),
        "importance": dict(mixing.importance),
        "own": dict(zip(mixing.sources, mixing.weights[0].tolist(), strict=True)),
        "proposed": found.weights,
        "epochs": {name: found.weights[name] * num_rows / max(rows[name], 1) for name in mixing.sources},
        "forecast": {"own": found.base_losses, "proposed": found.losses, "gain": found.gain},
        "left_out_error": law.left_out_error,
        "rank": law.rank,
        "checks": checks,
        "gain": fmean(gains) if gains else None,
        "gain_least": min(gains) if gains else None,
    }
