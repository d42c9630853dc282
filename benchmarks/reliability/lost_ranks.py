"""A rank of 2 or 4 killed, stopped or cut off at chance moments: who is named, how soon, and are the losses the same?

    python benchmarks/reliability/lost_ranks.py [--repeats 10] [--layouts replicated sharded pipelined] [--ranks 2 4]
        [--kinds kill stop cut] [--minutes 60] [--results FILE] [--seed 1] [--starting] [--json FILE] [--markdown FILE]

Tiny runs under torchrun, until so many faults have struck of each layout, kind and number of ranks, or time is up. Kill
and stop: one launcher. Cut: two launchers in network namespaces of their own, joined by a bridge, of which one port
goes down until training has begun again with the ranks that are left (of two stages, which need both machines, until
the fault is noticed). `--starting` strikes while ranks start, in place of amid steps. Nobody steps in: launchers start
ranks again, and every run must end with the losses of an undisturbed run of one process, within MAX_APART.

`--results` keeps a line of JSON a fault, written when its run has ended: the same command goes on from there. Exit
status 1 where a run has other losses or hangs, or a lost rank isn't named.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import figures
from headwater.core.records import read_all, read_records
from network import Network, network
from targets import write_run_file

KINDS = ("kill", "stop", "cut")
LAYOUTS = {
    "replicated": (),
    "sharded": ("parallel.replicate=1",),
    "pipelined": (
        "parallel.pipeline=2",
        "model.tied_embeddings=false",
    ),
}
SETTINGS = (
    # at the rules' rates a difference of rounding grows in 600 steps to some thousandths
    "optim.matrix_lr=0.001",
    "optim.embedding_lr=0.003",
    "optim.head_lr=0.0003",
    "optim.vector_lr=0.003",
    "train.num_steps=600",
    "train.batch_tokens=512",
    "train.microbatch_tokens=128",
    "train.save_every=50",
    "train.validate_every=300",
    "model.num_layers=2",
)
MAX_APART = 1e-6  # of losses, relative, where sums have other orders
FAULTS_A_RUN = 4  # so that what a run proves at its end is kept often
MAX_MOMENT_SECONDS = 6.0  # after the first steps of an attempt
MAX_STARTING_SECONDS = 4.0  # after all processes are there
HAND_SECONDS = 180.0  # without a step after a fault: somebody would have to step in
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Cell:
    """What is tried as often as any other."""

    layout: str
    ranks: int
    kind: str
    is_starting: bool  # the ranks, else they make steps

    @property
    def needs_all(self) -> bool:
        """Return whether a machine of two that is cut off leaves too few ranks to train."""
        return self.layout == "pipelined" and self.ranks == 2


@dataclass(frozen=True)
class Fault:
    """What struck which rank in which step, and the seconds until another rank had ended and until the next step.

    `problem` is what was wrong with the run afterwards.
    """

    cell: Cell
    rank: int
    step: int
    detected: float | None
    step_again: float | None
    named: bool
    problem: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="faults of each layout, kind and number of ranks (10)")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), help="what ranks hold (all)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="what happens to a rank (all)")
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4], help="numbers of ranks (2 4)")
    parser.add_argument("--starting", action="store_true", help="strike ranks that start, which nobody can name yet")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so long")
    parser.add_argument("--results", type=Path, help="the file that keeps a line a fault, and is continued")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # in order: its runs and networks end, too
    until = time.monotonic() + 60 * chosen.minutes
    cells = [Cell(*each, chosen.starting) for each in product(chosen.layouts, chosen.ranks, chosen.kinds)]
    found = known(chosen.results, cells)
    with figures.work_folder(chosen.work) as folder:
        trials = Trials(folder, random.Random(f"{chosen.seed} {len(found)}"))
        while time.monotonic() < until and (left := missing(cells, found, chosen.repeats)):
            cell = max(left, key=lambda each: left[each])  # the series is even whenever it ends
            faults = trials.of(cell, min(left[cell], FAULTS_A_RUN))
            found += faults
            if chosen.results is not None:
                with chosen.results.open("a") as file:
                    file.writelines(json.dumps(asdict(fault)) + "\n" for fault in faults)
    result = figures.facts() | {"what": "lost ranks", "starting": chosen.starting, "load": os.getloadavg()}
    section = summary(result, found)
    figures.publish(result | {"faults": [asdict(fault) for fault in found]}, section, chosen.json, chosen.markdown)
    return int(any(fault.problem or not (fault.named or chosen.starting) for fault in found))


def known(path: Path | None, cells: Sequence[Cell]) -> list[Fault]:
    """Return the faults of these cells that a file has from earlier calls."""
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    faults = [Fault(**each | {"cell": Cell(**each["cell"])}) for each in map(json.loads, lines)]
    return [fault for fault in faults if fault.cell in cells]


def missing(cells: Sequence[Cell], found: Sequence[Fault], repeats: int) -> dict[Cell, int]:
    left = {cell: repeats - sum(fault.cell == cell for fault in found) for cell in cells}
    return {cell: number for cell, number in left.items() if number > 0}


class Trials:
    """Runs of one text, and the losses that each must have."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder, self._chance, self._number = folder, chance, 0
        write_run_file(folder)
        self._expected = cache(self._undisturbed)

    def _command(self, name: str, *settings: str) -> list[str]:
        own = [f"runs_dir={self._folder / 'runs'}", f"name={name}", *SETTINGS, *settings]
        return ["-m", "headwater", "train", str(self._folder / "tiny.toml"), *own]

    def _undisturbed(self, layout: str) -> list[tuple[int, float]]:
        alone = [setting for setting in LAYOUTS[layout] if not setting.startswith("parallel.")]
        command = [sys.executable, *self._command(f"undisturbed-{layout}", *alone)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return losses(self._folder / "runs" / f"undisturbed-{layout}")

    def _problem(self, layout: str, found: list[tuple[int, float]]) -> str:
        """Return how losses differ from those of the undisturbed run, "" where they don't."""
        expected, allowed = self._expected(layout), MAX_APART
        if [step for step, _ in found] != [step for step, _ in expected]:
            return f"{len(found)} steps for {len(expected)}"
        apart = max(abs(one / other - 1) for (_, one), (_, other) in zip(found, expected, strict=True))
        return "" if apart <= allowed else f"losses differ by {apart:.1e}"

    def of(self, cell: Cell, num_faults: int) -> list[Fault]:
        """Return the faults of one run, up to so many, and what was wrong with it; it may end before the first."""
        self._expected(cell.layout)
        faults: list[Fault] = []
        self._number += 1
        with network() if cell.kind == "cut" else nothing() as net:
            run_dir = self._folder / "runs" / f"trial-{self._number}"
            trial = Trial(cell, run_dir, net, self._chance)
            try:
                trial.start(self._command(run_dir.name, *LAYOUTS[cell.layout]))
                while len(faults) < num_faults and (fault := trial.next_fault()) is not None:
                    faults.append(fault)
                    print(f"  {fault}", file=sys.stderr, flush=True)
                status = trial.end()
                problem = f"status {status}" if status else self._problem(cell.layout, losses(run_dir))
            except TimeoutError as error:
                problem = f"hang: {error}"
            finally:
                trial.kill()
        if problem:
            faults = faults or [Fault(cell, -1, 0, None, None, False)]
            print(f"{cell}: {problem}\n{trial.said()[-5000:]}", file=sys.stderr, flush=True)
        return [replace(fault, problem=problem) for fault in faults]


class Trial:
    """One run under its launchers."""

    def __init__(self, cell: Cell, run_dir: Path, net: Network | None, chance: random.Random) -> None:
        self._cell, self._ranks, self.run_dir, self._net, self._chance = cell, cell.ranks, run_dir, net, chance
        self._struck: set[int] = set()  # the processes that were there at the last fault
        self._last = "the start"
        self._launchers: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []

    def start(self, command: list[str]) -> None:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--max-restarts", "1000"]
        if self._net is None:
            words = [*launcher, "--standalone", "--nproc-per-node", str(self._ranks), *command]
            self._launch(words, "lo")
            return
        meeting = f"--nnodes=1:2 --rdzv-backend=c10d --rdzv-endpoint={self._net.address(0)}:29555 --rdzv-id=lost"
        for node in (0, 1):
            conf = f"--rdzv-conf=read_timeout=600,join_timeout=1200,last_call_timeout=3,is_host={1 - node}"
            where = [*shlex.split(meeting), conf, "--local-addr", self._net.address(node)]
            words = [*launcher, *where, "--nproc-per-node", str(self._ranks // 2), *command]
            self._launch(self._net.inside(node, words), self._net.device(node))

    def _launch(self, words: list[str], device: str) -> None:
        own = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "GLOO_SOCKET_IFNAME": device}
        log = self.run_dir.parent / f"{self.run_dir.name}-launcher-{len(self._launchers)}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as out:
            process = subprocess.Popen(words, env=os.environ | own, stdout=out, stderr=out)
        self._launchers.append(process)
        self._logs.append(log)

    def next_fault(self) -> Fault | None:
        """Strike at a chance moment after an attempt's first steps, or its start; None where the run ends before."""
        if not self._wait(self._is_starting_whole if self._cell.is_starting else self._is_whole):
            return None
        longest = MAX_STARTING_SECONDS if self._cell.is_starting else MAX_MOMENT_SECONDS
        moment = time.monotonic() + self._chance.uniform(0, longest)
        if not self._wait(lambda: time.monotonic() > moment):
            return None
        processes = rank_processes(self.run_dir.name)
        rank, before = self._chance.randrange(self._ranks), self.said()
        if self._net is not None:  # the machine that doesn't hold the launchers' store
            rank = min((rank for rank, pid in processes.items() if self._net.node_of(pid) == 1), default=-1)
        if len(processes) < self._ranks or rank < 0:
            return None if self._has_ended() else self.next_fault()
        step = max((record["step"] for record in read_all(self.run_dir / "records.jsonl")), default=0)
        at, self._struck = time.time(), set(processes.values())
        self._last = f"the {self._cell.kind} of rank {rank} in step {step}"
        self._strike(processes[rank])
        lost = [pid for pid in processes.values() if self._net is not None and self._net.node_of(pid) == 1]
        others = [pid for pid in processes.values() if pid not in (*lost, processes[rank])]
        if not self._wait(lambda: bool(self._records("finish")) or not all(is_running(pid) for pid in others)):
            raise TimeoutError("the run ended, though a rank was lost")
        if self._records("finish"):  # it struck behind the last step; a launcher would wait minutes for one cut off
            if self._net is not None:
                self._net.mend()
            return None
        detected = time.time() - at
        if self._net is not None and self._cell.needs_all:
            self._net.mend()
        self._wait(lambda: self._first_step_since(at) is not None)
        again_at = self._first_step_since(at) or at
        names = rf"ranks? [\d, ]*\b{rank}\b[\d, ]* of {self._ranks} (fell silent|ended)"
        named = len(re.findall(names, self.said())) > len(re.findall(names, before))
        if not named and not self._cell.is_starting:
            print(self._logs[0].read_text(errors="replace")[-3000:], file=sys.stderr)
        if self._net is not None:
            self._net.mend()
        return Fault(self._cell, rank, step, round(detected, 2), round(again_at - at, 2), named)

    def _strike(self, pid: int) -> None:
        if self._net is not None:
            self._net.cut()
        else:
            os.kill(pid, signal.SIGKILL if self._cell.kind == "kill" else signal.SIGSTOP)

    def _records(self, event: str) -> list[dict[str, Any]]:
        return [record for record in read_all(self.run_dir / "records.jsonl") if record["event"] == event]

    def _first_step_since(self, moment: float) -> float | None:
        """Return when an attempt that began since had made its first step, None where none has."""
        attempts = {record["attempt"] for record in self._records("start") if record["time"] > moment}
        return next((record["time"] for record in self._records("step") if record["attempt"] in attempts), None)

    def _is_whole(self) -> bool:
        """Return whether all ranks have made some steps together."""
        processes, starts = rank_processes(self.run_dir.name).values(), self._records("start")
        if len(processes) < self._ranks or not starts or any(began(pid) > starts[-1]["time"] for pid in processes):
            return False
        return sum(record["attempt"] == starts[-1]["attempt"] for record in self._records("step")) >= 3

    def _is_starting_whole(self) -> bool:
        """Return whether all ranks' processes are there, none of which saw the last fault."""
        processes = set(rank_processes(self.run_dir.name).values())
        return len(processes) == self._ranks and not processes & self._struck

    def _has_ended(self) -> bool:
        return any(launcher.poll() is not None for launcher in self._launchers)

    def _wait(self, is_true: Callable[[], bool]) -> bool:
        """Wait until something is true, and return True; False where the run ended before."""
        until = time.monotonic() + HAND_SECONDS
        while not is_true():
            if self._has_ended():
                return False
            if time.monotonic() > until:
                raise TimeoutError(f"nothing for {HAND_SECONDS:g} s after {self._last}")
            time.sleep(POLL_SECONDS)
        return True

    def said(self) -> str:
        """Return what the launchers and all ranks printed."""
        logs = [*self._logs, *sorted((self.run_dir / "logs").glob("rank-*.log"))]
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def end(self) -> int:
        """Return the exit status of the launcher that holds the store; another one may find it gone at the end."""
        launcher, made = self._launchers[0], -1
        while launcher.poll() is None:
            before, made = made, len(self._records("step"))
            if made == before:
                raise TimeoutError(f"no end, and no step for {HAND_SECONDS:g} s, after {self._last}")
            with suppress(subprocess.TimeoutExpired):
                launcher.wait(HAND_SECONDS)
        return launcher.returncode

    def kill(self) -> None:
        for pid in [launcher.pid for launcher in self._launchers if launcher.poll() is None]:
            os.kill(pid, signal.SIGKILL)
        for pid in rank_processes(self.run_dir.name).values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def rank_processes(name: str) -> dict[int, int]:
    """Return the process of each rank of a run."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if f"name={name}".encode() in words and b"torch.distributed.run" not in words and b"headwater" in words:
                given = dict(
                    word.split(b"=", 1) for word in (entry / "environ").read_bytes().split(b"\0") if b"=" in word
                )
                if is_running(int(entry.name)):
                    found[int(given[b"RANK"])] = int(entry.name)
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def began(pid: int) -> float:
    """Return when a process began; 0 where it has ended."""
    with suppress(OSError):
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    return 0.0


def losses(run_dir: Path) -> list[tuple[int, float]]:
    return [(record["step"], float(record["loss"])) for record in read_records(run_dir / "records.jsonl", "step")]


@contextmanager
def nothing() -> Iterator[None]:
    yield None


def summary(result: dict[str, Any], found: Sequence[Fault]) -> str:
    rows = []
    for cell in dict.fromkeys(fault.cell for fault in found):
        those = [fault for fault in found if fault.cell == cell]
        hangs = sum(fault.problem.startswith("hang") for fault in those)
        wrong = sum(bool(fault.problem) for fault in those) - hangs
        times = [[fault.detected for fault in those], [fault.step_again for fault in those]]
        counts = [len(those), sum(fault.named for fault in those), hangs, wrong]
        rows.append([cell.kind, cell.ranks, cell.layout, *counts, *map(spread, times)])
    header = ["fault", "ranks", "weights", "faults", "named", "hangs", "wrong runs"]
    header += ["another rank has ended after, s: median, P90, worst", "next step after, s: median, P90, worst"]
    problems = "; ".join(dict.fromkeys(f"{fault.cell}: {fault.problem}" for fault in found if fault.problem))
    outcome = f"WRONG: {problems}." if problems else "Every run ended with the losses of the undisturbed run."
    load = f"Load average {result['load'][0]:.1f} at the end."
    title = "## Ranks lost while they start" if result["starting"] else "## Lost ranks"
    return "\n\n".join([title, figures.made(result), figures.markdown_table(header, rows), f"{outcome} {load}"])


def spread(seconds: Sequence[float | None]) -> str:
    """Return the median, the 90th percentile and the largest."""
    found = sorted(value for value in seconds if value is not None)
    at = [found[max(0, math.ceil(share * len(found)) - 1)] for share in (0.5, 0.9, 1.0)] if found else []
    return ", ".join(f"{value:.1f}" for value in at)


if __name__ == "__main__":
    sys.exit(main())
