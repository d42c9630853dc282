"""How much of a core's speed is left where two ranks of one core share a step, each with as many tokens as one alone.

    python benchmarks/weak_scaling.py [--pairs 5] [--layouts replicate shard] [--json FILE] [--markdown FILE]

Runs of one rank and of two take turns. Beside them, two runs of one rank at once, which exchange nothing, show what
the cores lose to each other's memory traffic. A run's speed is the median of its steps but the first.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "reliability"))

import figures
from headwater.core.records import read_records
from targets import write_run_file

TOKENS = 16_384  # a rank and step
SETTINGS = (
    "train.num_steps=4",
    f"train.microbatch_tokens={TOKENS // 4}",
    "train.save_every=100",
    "train.validate_every=100",
    "machine.num_threads=1",
    "machine.dtype=float32",
    "machine.compile=auto",
    "model.num_layers=4",
    "model.d_model=256",
    "model.seq_len=256",
)
LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")


class Runs:
    """Runs of one text and model, each in a process, or two, of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        write_run_file(folder)

    def rate(self, ranks: int, settings: Sequence[str] = (), *, at_once: int = 1) -> float:
        """Return the tokens of a second of `at_once` runs of so many ranks, all together."""
        names = [f"run-{self._number + number}" for number in range(at_once)]
        self._number += at_once
        processes = [self._start(name, core, ranks, settings) for core, name in enumerate(names)]
        statuses = [process.wait() for process in processes]
        assert not any(statuses), f"a run ended with {statuses}"
        return sum(map(self._rate_of, names))

    def _start(self, name: str, core: int, ranks: int, settings: Sequence[str]) -> subprocess.Popen[bytes]:
        cores = f"{core}" if ranks == 1 else "0,1"
        launcher = LAUNCHER if ranks == 2 else ()
        command = ["taskset", "-c", cores, sys.executable, "-m", *launcher, "headwater", "train"]
        given = [f"runs_dir={self._folder / 'runs'}", f"name={name}", f"train.batch_tokens={ranks * TOKENS}"]
        own = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "GLOO_SOCKET_IFNAME": "lo"}
        words = [*command, str(self._folder / "tiny.toml"), *SETTINGS, *given, *settings]
        return subprocess.Popen(words, env=os.environ | own, stdout=subprocess.DEVNULL)

    def _rate_of(self, name: str) -> float:
        steps = list(read_records(self._folder / "runs" / name / "records.jsonl", "step"))[1:]
        return statistics.median(step["tokens_per_second"] for step in steps)


def main() -> None:
    parser = figures.options(__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--layouts", nargs="+", choices=("replicate", "shard"), default=["replicate", "shard"])
    chosen = parser.parse_args()
    ways: dict[str, list[float]] = {name: [] for name in [*chosen.layouts, "two that exchange nothing"]}
    with figures.work_folder(chosen.work) as folder:
        runs = Runs(folder)
        runs.rate(1)  # prepares the text, compiles the kernels
        for _ in range(chosen.pairs):
            alone = runs.rate(1)
            for layout in chosen.layouts:
                ways[layout].append(runs.rate(2, [f"parallel.{layout}=2"]) / alone / 2)
            ways["two that exchange nothing"].append(runs.rate(1, at_once=2) / alone / 2)
    result = figures.facts() | {"what": "weak scaling", "tokens": TOKENS, "efficiency": ways}
    header = ["two ranks of one core", "efficiency: median", "least", "largest"]
    rows = [[name, *(f"{value:.3f}" for value in (statistics.median(f), min(f), max(f)))] for name, f in ways.items()]
    section = "\n\n".join(["## Weak scaling", figures.made(result), figures.markdown_table(header, rows)])
    figures.publish(result, section, chosen.json, chosen.markdown)


if __name__ == "__main__":
    main()
