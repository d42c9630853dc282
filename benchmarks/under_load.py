"""Tokens per second of training under load, as a share of the quiet rate.

    python benchmarks/under_load.py [--shape L,H,D,T,V,B] [--rounds N] [--seconds S] [VARIANT ...]

A VARIANT is NAME or NAME:KEY=VALUE,... with environment variables of its training; SPIN=1 has its threads wait as
libgomp does by itself. Every variant trains in a process of its own, stopped while it is not measured. Each round it is
measured alone and under each load: a busy loop of this session, one of another session (Linux may divide the CPUs by
session, as between two terminals), another training like it, and that with a busy loop. Printed: the median over the
rounds, [least, most], and the share of the variant's quiet rate.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.machine.host.load import LoadMeter
from headwater.tokens.write import EncodedDocument, write_store
from job import Job, Shape
from token_stream import STORE
from worker import end_with_parent
from workers import OFFLINE

FIRST_LIGHT = Shape(4, 4, 192, 256, 6144, 16)
VARIANTS = ["headwater", "spinning:SPIN=1", "passive:SPIN=1,OMP_WAIT_POLICY=passive"]
LOADS = {"quiet": "", "loop": "l", "loop elsewhere": "e", "training": "t", "both": "lt"}
LARGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}  # as the command line sets it
SETTLE_SECONDS = 1.0  # for threads to notice the load, or that it ended
READY_STEPS = 2
DOCUMENT_TOKENS = 1 << 17  # a multiple of every sequence length, so that every row is of one document
NUM_DOCUMENTS = 8
FIRST_ID = 32  # after the special tokens


class Process:
    """A process; `send` sends it a signal."""

    def __init__(self, *arguments: str, log: Path, own_session: bool = False, **environment: str) -> None:
        command, env = [sys.executable, *arguments], os.environ | OFFLINE | LARGE_PAGES | environment
        with open(log, "ab") as out:
            self._process = subprocess.Popen(command, env=env, stdout=out, stderr=out, start_new_session=own_session)
        self.send = self._process.send_signal

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Training(Process):
    """A training that writes the time of every step's end."""

    def __init__(self, folder: Path, name: str, shape: Shape, *, own_session: bool, **environment: str) -> None:
        self._times = folder / f"{name}.times"
        arguments = (__file__, "--work", str(self._times), "--shape", str(shape))
        super().__init__(*arguments, log=folder / f"{name}.log", own_session=own_session, **environment)
        while len(self._ends()) < READY_STEPS:
            if self._process.poll() is not None:
                sys.exit(f"{name} doesn't train; the end of its log:\n{(folder / f'{name}.log').read_text()[-2000:]}")
            time.sleep(0.05)
        self.send(signal.SIGSTOP)

    def _ends(self) -> list[float]:
        return [float(line) for line in self._times.read_text().split()] if self._times.exists() else []

    def steps_per_second(self, seconds: float, loads: list[Process]) -> float:
        for process in [*loads, self]:
            process.send(signal.SIGCONT)
        time.sleep(SETTLE_SECONDS)
        begin = time.monotonic()
        time.sleep(seconds)
        for process in [self, *loads]:
            process.send(signal.SIGSTOP)
        ends = [at for at in self._ends() if begin < at < begin + seconds]
        return (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 2 else len(ends) / seconds


def train_for_ever(times: Path, shape: Shape) -> None:
    """Train on random tokens and write when each step ended."""
    end_with_parent()
    from contenders.headwater import make_plan, open_rows
    from headwater.machine import compute as machine
    from headwater.machine.device.settings import MachineSettings
    from headwater.machine.host.signals import StopRequest
    from headwater.train.loop import train
    from headwater.train.start import assemble, past_to_resume

    if os.environ.get("SPIN"):
        machine.sleep_under_load = contextlib.nullcontext  # type: ignore[misc,assignment]
    job = Job("headwater", "auto", shape, tokens_dir(times.parent, shape), times.parent)
    plan = replace(make_plan(job), machine=MachineSettings.model_validate({"dtype": os.environ.get("DTYPE", "auto")}))
    run_dir = Path(tempfile.mkdtemp(dir=times.parent))
    rows = open_rows(job, plan)
    run = assemble(run_dir, plan, rows, past_to_resume(run_dir, plan, rows, print), say=print)
    with open(times, "w", buffering=1, encoding="ascii") as file:

        def display(record: dict[str, Any]) -> None:
            if record["event"] == "step":
                print(time.monotonic(), file=file)

        train(run, None, display, StopRequest())


def tokens_dir(work_dir: Path, shape: Shape) -> Path:
    return work_dir / f"tokens-{shape.vocab_size}"


def write_random_tokens(work_dir: Path, shape: Shape) -> None:
    """Write the token store of a vocabulary, unless it is there: ids with the frequencies of Zipf's law."""
    folder = tokens_dir(work_dir, shape) / STORE
    if folder.exists():
        return
    shares = 1 / np.arange(1, shape.vocab_size - FIRST_ID + 1)
    upper = np.cumsum(shares / shares.sum())
    generator = np.random.default_rng(1)

    def document(number: int) -> EncodedDocument:
        # begin and end are added: one token less than positions, and the last one is only a target
        ids = np.searchsorted(upper, generator.random(DOCUMENT_TOKENS - 1)).clip(max=len(upper) - 1) + FIRST_ID
        return EncodedDocument(ids, 4 * len(ids), str(number))

    write_store(folder, map(document, range(NUM_DOCUMENTS)), shape.vocab_size, "random tokens")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with all that it started
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=VARIANTS, metavar="VARIANT")
    parser.add_argument("--shape", type=Shape.parse, default=FIRST_LIGHT, metavar="L,H,D,T,V,B")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # a training's own process
    options = parser.parse_args()
    if options.work:
        return train_for_ever(options.work, options.shape)
    with tempfile.TemporaryDirectory(prefix="under-load-") as temporary, contextlib.ExitStack() as processes:
        folder = Path(temporary)
        write_random_tokens(folder, options.shape)

        def started(process: Any) -> Any:
            processes.callback(process.end)
            process.send(signal.SIGSTOP)
            return process

        loop = ("-c", "while True: pass")
        loads = {key: started(Process(*loop, log=folder / "loop", own_session=key == "e")) for key in "le"}
        trainings, others = {}, {}
        for variant in options.variants:
            name, _, text = variant.partition(":")
            environment = dict(pair.split("=", 1) for pair in text.split(",") if pair)
            trainings[name] = started(Training(folder, name, options.shape, own_session=False, **environment))
            others[name] = started(Training(folder, f"{name}-2", options.shape, own_session=True, **environment))
        rates: dict[tuple[str, str], list[float]] = {}
        strangers: list[float] = []  # CPUs that none of these processes used
        for _ in range(options.rounds):
            for name, one in trainings.items():
                for load, keys in LOADS.items():
                    meter = LoadMeter()
                    beside = [others[name] if key == "t" else loads[key] for key in keys]
                    rate = one.steps_per_second(options.seconds, beside) * options.shape.batch_tokens
                    rates.setdefault((name, load), []).append(rate)
                    strangers.append(meter.others() or 0.0)
    print(f"CPUs used by anything else: {statistics.mean(strangers):.2f} on the mean, {max(strangers):.2f} at most\n")
    print("| tokens/s | " + " | ".join(LOADS) + " |\n|---|" + "--:|" * len(LOADS))
    for name in trainings:
        quiet = statistics.median(rates[name, "quiet"]) or math.inf
        cells = []
        for some in (rates[name, load] for load in LOADS):
            middle = statistics.median(some)
            cells.append(f"{middle:,.0f} [{min(some):,.0f}, {max(some):,.0f}] {middle / quiet:.0%}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
