"""What reliability costs: steps with and without each part of it, alternately, in one process.

    python benchmarks/reliability/overhead.py [--rounds 5] [--json FILE] [--markdown FILE]

The model of first-light on made-up rows. Each round times a few steps of every variant; a variant's cost is the median
over rounds of its time over the plain one's in the same round, less 1. `save` is what training waits for a checkpoint,
over the steps between two (train.save_every by rule), with its thread's work counted in full.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import figures
from headwater.batches.assemble import Batch
from headwater.checkpoint.save import Saver
from headwater.compute import fastest_, fastest_updates, inspect_machine, set_up
from headwater.device.device import device_of
from headwater.device.facts import MachineFacts
from headwater.model.init import initialise_
from headwater.model.transformer import Transformer
from headwater.optim.optimizer import Optimizer
from headwater.parallel.data_parallel import DataParallel
from headwater.ranks.exchange import Ranks
from headwater.runs.run_config import RunConfig, load_run
from headwater.train.step import train_step

STEPS = 6  # of a variant in a round


class Trainer:
    """first-light's model with an optimizer, and its steps timed."""

    def __init__(self, config: RunConfig, facts: MachineFacts, *, exact: bool = False) -> None:
        self.facts, self.parallel = facts, DataParallel(Ranks(), device_of(facts.device), exact=exact)
        self.model = Transformer(config.model, facts.compute_dtype)
        initialise_(self.model, config.seed)
        self.optimizer = Optimizer(
            self.model.named_parameters(), config.optim, facts.compute_dtype, fastest_updates(facts)
        )
        self.fast_model = fastest_(self.model, facts)
        self._batches = made_up(config)
        self._max_grad_norm = config.optim.max_grad_norm
        self.step()

    def step(self) -> None:
        given = self.fast_model, self.optimizer, self._batches, self.parallel
        train_step(*given, lr_factor=1.0, step=0, max_grad_norm=self._max_grad_norm)

    def seconds_a_step(self, between: Callable[[], None] = lambda: None) -> float:
        started_at = time.perf_counter()
        between()
        for _ in range(STEPS):
            self.step()
        return (time.perf_counter() - started_at) / STEPS


def made_up(config: RunConfig) -> list[Batch]:
    chance, tokens = np.random.default_rng(0), config.train.microbatch_tokens
    assert isinstance(tokens, int)
    shape = (tokens // config.model.seq_len, config.model.seq_len)
    ids = [chance.integers(0, config.model.vocab_size, shape) for _ in range(config.train.batch_tokens // tokens)]
    return [
        Batch(one.astype(np.int32), np.roll(one, -1, 1), np.zeros(shape, np.int32), one.size, number)
        for number, one in enumerate(ids)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of all variants in turn (5)")
    chosen = parser.parse_args(arguments)
    config, _ = load_run("first-light", [])
    facts = inspect_machine(config.machine)
    plain, exact = Trainer(config, facts), Trainer(config, facts, exact=True)
    times: dict[str, list[float]] = {name: [] for name in ("plain", "any order", "exact", "save")}
    stalls = []
    with set_up(plain.facts), tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        saver = Saver(Path(folder), num_kept=2)
        for step in range(1, chosen.rounds + 1):
            times["plain"].append(plain.seconds_a_step())
            torch.use_deterministic_algorithms(False)
            times["any order"].append(plain.seconds_a_step())
            torch.use_deterministic_algorithms(True)
            times["exact"].append(exact.seconds_a_step())

            def begin(step: int = step) -> None:
                started_at = time.perf_counter()
                saver.begin(step, plain.model.state_dict(), plain.optimizer.state_tensors(), {})
                stalls.append(time.perf_counter() - started_at)

            times["save"].append(plain.seconds_a_step(begin))
            saver.finish()
        saver.close()
    found = figures.facts() | {"what": "costs"} | costs(times, stalls, config.train.save_every)
    figures.publish(found, section(found), chosen.json, chosen.markdown)
    return 0


def costs(times: dict[str, list[float]], stalls: list[float], save_every: int) -> dict[str, Any]:
    """Return each variant's cost as a share of a step without it."""

    def over(name: str, base: str) -> float:
        return median(a / b for a, b in zip(times[name], times[base], strict=True)) - 1

    step_seconds = median(times["plain"])
    return {
        "step_seconds": step_seconds,
        "deterministic": over("plain", "any order"),
        "exact": over("exact", "plain"),
        "save_stall": median(stalls) / (save_every * step_seconds),
        # all that a save takes, thread included, over the steps between two of them
        "save_in_all": over("save", "plain") * STEPS / save_every,
        "save_every": save_every,
    }


def section(found: dict[str, Any]) -> str:
    rows = [
        ["deterministic kernels (G1)", f"{found['deterministic']:+.2%}"],
        ["`train.exact` on one rank (G2)", f"{found['exact']:+.2%}"],
        [f"a save every {found['save_every']} steps: what training waits", f"{found['save_stall']:+.2%}"],
        ["the same, with what its thread takes from other steps", f"{found['save_in_all']:+.2%}"],
    ]
    table = figures.markdown_table(["what", "of a step"], rows)
    return f"## What it costs\n\n{figures.made(found)} A step takes {found['step_seconds']:.3f} s.\n\n{table}"


if __name__ == "__main__":
    sys.exit(main())
