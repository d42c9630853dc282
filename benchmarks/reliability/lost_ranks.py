"""A rank of 2 or 4 killed, stopped or cut off at chance moments: who is named, how soon, and are the losses the same?

    python benchmarks/reliability/lost_ranks.py [--faults 10] [--kinds kill stop cut] [--ranks 2 4] [--seed 1]
        [--starting] [--within 1e-6] [--json FILE] [--markdown FILE] [--settings SETTING=VALUE ...]

A tiny run with `train.exact` under torchrun, again and again, until so many faults have struck of each kind. Kill and
stop: one launcher. Cut: two launchers in network namespaces of their own, joined by a bridge, of which one port goes
down until training has begun again with the ranks that are left; this needs root. `--starting` strikes while ranks
start, in place of amid steps. Nobody steps in: launchers start ranks again, and every run must end with the losses of
an undisturbed run of one process, bit by bit; with `train.exact` switched off, as pipelines need it, within `--within`.
Exit status 1 where one doesn't, a lost rank isn't named, or a run needs a hand.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import figures
from headwater.records import read_all, read_records
from targets import write_run_file

KINDS = ("kill", "stop", "cut")
SETTINGS = (
    "train.exact=true",
    "train.num_steps=600",
    "train.batch_tokens=512",
    "train.microbatch_tokens=128",
    "train.save_every=50",
    "train.validate_every=300",
    "model.num_layers=2",
)
MAX_MOMENT_SECONDS = 6.0  # after the first steps of an attempt
MAX_STARTING_SECONDS = 4.0  # after all processes are there
HAND_SECONDS = 180.0  # without a step after a fault: somebody would have to step in
POLL_SECONDS = 0.02


@dataclass
class Fault:
    """What struck which rank in which step, and the seconds until another rank had ended and until the next step."""

    kind: str
    ranks: int
    rank: int
    step: int
    detected: float
    step_again: float
    named: bool


def main(arguments: Sequence[str] | None = None) -> int:
    parser = figures.options(__doc__)
    parser.add_argument("--faults", type=int, default=10, help="of each kind and number of ranks (10)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what happens to a rank (all)")
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 4], help="numbers of ranks (2 4)")
    parser.add_argument(
        "--starting", action="store_true", help="strike ranks that start: none has a heartbeat to name it"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--settings", nargs="*", default=[], help="of the run, further ones: parallel.shard=2")
    parser.add_argument("--within", type=float, default=0.0, help="how far losses may be off, relative (0: no bit)")
    chosen = parser.parse_args(arguments)
    found: list[Fault] = []
    wrong: list[str] = []
    with figures.work_folder(chosen.work) as folder:
        trials = Trials(folder, [*SETTINGS, *chosen.settings], random.Random(chosen.seed), chosen.starting)
        trials.within = chosen.within
        for ranks in chosen.ranks:
            for kind in chosen.kinds:
                faults, problems = trials.of(kind, ranks, chosen.faults)
                found, wrong = [*found, *faults], [*wrong, *problems]
    unnamed = [] if chosen.starting else [fault for fault in found if not fault.named]
    wrong += [f"{fault.kind} of rank {fault.rank} of {fault.ranks}: not named" for fault in unnamed]
    result = figures.facts() | {
        "what": "lost ranks",
        "starting": chosen.starting,
        "load": os.getloadavg(),
        "faults": [asdict(f) for f in found],
    }
    figures.publish(result | {"wrong": wrong}, section(result, found, wrong), chosen.json, chosen.markdown)
    return int(bool(wrong))


class Trials:
    """Runs of one text, and the losses that each must have."""

    within = 0.0

    def __init__(self, folder: Path, settings: list[str], chance: random.Random, is_starting: bool) -> None:
        self._folder, self._chance, self._is_starting, self._number = folder, chance, is_starting, 0
        self._settings = [f"runs_dir={folder / 'runs'}", *settings]
        write_run_file(folder)
        alone = [setting for setting in self._settings if not setting.startswith("parallel.")]
        command = ["-m", "headwater", "train", str(folder / "tiny.toml"), *alone, "name=undisturbed"]
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        self._expected = losses(folder / "runs" / "undisturbed")

    def _command(self, more: list[str]) -> list[str]:
        return ["-m", "headwater", "train", str(self._folder / "tiny.toml"), *self._settings, *more]

    def _are_expected(self, found: list[tuple[int, str]]) -> bool:
        if not self.within:
            return found == self._expected
        pairs = zip(found, self._expected, strict=False)
        far = (abs(float.fromhex(one[1]) / float.fromhex(other[1]) - 1) for one, other in pairs)
        return [step for step, _ in found] == [step for step, _ in self._expected] and max(far) <= self.within

    def of(self, kind: str, ranks: int, num_faults: int) -> tuple[list[Fault], list[str]]:
        """Return so many faults of a kind, and what was wrong with the runs that they struck."""
        faults: list[Fault] = []
        wrong: list[str] = []
        while len(faults) < num_faults and not wrong:
            self._number += 1
            name = f"trial-{self._number}"
            with network() if kind == "cut" else nothing() as net:
                trial = Trial(kind, ranks, self._folder / "runs" / name, net, self._chance, self._is_starting)
                try:
                    trial.start(self._command([f"name={name}"]))
                    while len(faults) < num_faults and (fault := trial.next_fault()) is not None:
                        faults.append(fault)
                        print(f"  {fault}", file=sys.stderr, flush=True)
                    wrong += [f"{name} ended with {status}" for status in trial.end() if status]
                except TimeoutError as problem:
                    wrong.append(f"{name}: {problem}\n{trial.said()[-3000:]}")
                finally:
                    trial.kill()
            if not wrong and not self._are_expected(losses(trial.run_dir)):
                wrong.append(f"{name} has other losses than the undisturbed run")
        return faults, wrong


class Trial:
    """One run under its launchers."""

    def __init__(
        self, kind: str, ranks: int, run_dir: Path, net: Network | None, chance: random.Random, is_starting: bool
    ) -> None:
        self._kind, self._ranks, self.run_dir, self._net, self._chance = kind, ranks, run_dir, net, chance
        self._is_starting = is_starting
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
        if not self._wait(self._is_starting_whole if self._is_starting else self._is_whole):
            return None
        longest = MAX_STARTING_SECONDS if self._is_starting else MAX_MOMENT_SECONDS
        moment = time.monotonic() + self._chance.uniform(0, longest)
        if not self._wait(lambda: time.monotonic() > moment):
            return None
        processes = rank_processes(self.run_dir.name)
        rank, before = self._chance.randrange(self._ranks), self.said()
        if self._kind == "cut":  # the machine that doesn't hold the launchers' store
            rank = next(iter(sorted(rank for rank, pid in processes.items() if self._net.node_of(pid) == 1)), -1)
        if len(processes) < self._ranks or rank < 0:
            return None if self._has_ended() else self.next_fault()
        step = max((record["step"] for record in read_all(self.run_dir / "records.jsonl")), default=0)
        at, self._struck = time.time(), set(processes.values())
        self._last = f"the {self._kind} of rank {rank} in step {step}"
        self._strike(processes[rank])
        lost = [pid for pid in processes.values() if self._kind == "cut" and self._net.node_of(pid) == 1]
        others = [pid for pid in processes.values() if pid not in (*lost, processes[rank])]
        if not self._wait(lambda: not all(is_running(pid) for pid in others)):
            raise TimeoutError("the run ended, though a rank was lost")
        detected = time.time() - at
        self._wait(lambda: self._first_step_since(at) is not None)
        again_at = self._first_step_since(at) or at
        names = rf"ranks? [\d, ]*\b{rank}\b[\d, ]* of {self._ranks} {'died' if self._kind == 'kill' else 'fell silent'}"
        named = len(re.findall(names, self.said())) > len(re.findall(names, before))
        if not named and not self._is_starting:
            print(self._logs[0].read_text(errors="replace")[-3000:], file=sys.stderr)
        if self._net is not None:
            self._net.mend()
        return Fault(self._kind, self._ranks, rank, step, detected, again_at - at, named)

    def _strike(self, pid: int) -> None:
        if self._kind == "cut":
            self._net.cut()
        else:
            os.kill(pid, signal.SIGKILL if self._kind == "kill" else signal.SIGSTOP)

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

    def end(self) -> list[int]:
        """Return the exit status of the launcher that holds the store; another one may find it gone at the end."""
        return [launcher.wait(HAND_SECONDS) for launcher in self._launchers][:1]

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


def losses(run_dir: Path) -> list[tuple[int, str]]:
    return [(record["step"], float(record["loss"]).hex()) for record in read_records(run_dir / "records.jsonl", "step")]


class Network:
    """Two network namespaces on a bridge in a third, all of this process alone."""

    def __init__(self) -> None:
        self._name = f"hw{os.getpid() % 100_000}"

    def address(self, node: int) -> str:
        return f"10.77.0.{node + 1}"

    def device(self, node: int) -> str:
        return f"{self._name}v{node}"

    def inside(self, node: int, words: list[str]) -> list[str]:
        return ["ip", "netns", "exec", f"{self._name}-{node}", *words]

    def node_of(self, pid: int) -> int:
        found = subprocess.run(["ip", "netns", "identify", str(pid)], capture_output=True, text=True)
        return int(found.stdout.strip().rpartition("-")[2] or -1)

    def make(self) -> None:
        name = self._name
        for end in ("0", "1", "bridge"):
            ip(f"netns add {name}-{end}")
        ip(f"-n {name}-bridge link add name {name}b type bridge")
        ip(f"-n {name}-bridge link set dev {name}b up")
        for node in (0, 1):
            ip(f"-n {name}-bridge link add name {name}p{node} type veth peer name {name}v{node} netns {name}-{node}")
            ip(f"-n {name}-bridge link set dev {name}p{node} master {name}b up")
            ip(f"-n {name}-{node} addr add {self.address(node)}/24 dev {name}v{node}")
            ip(f"-n {name}-{node} link set dev {name}v{node} up")
            ip(f"-n {name}-{node} link set dev lo up")

    def cut(self) -> None:
        ip(f"-n {self._name}-bridge link set dev {self._name}p1 down")

    def mend(self) -> None:
        ip(f"-n {self._name}-bridge link set dev {self._name}p1 up")

    def remove(self) -> None:
        for end in ("0", "1", "bridge"):
            subprocess.run(["ip", "netns", "del", f"{self._name}-{end}"], stderr=subprocess.DEVNULL)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


@contextmanager
def network() -> Iterator[Network]:
    net = Network()
    try:
        net.make()
        yield net
    finally:
        net.remove()


@contextmanager
def nothing() -> Iterator[None]:
    yield None


def section(result: dict[str, Any], faults: list[Fault], wrong: list[str]) -> str:
    rows = []
    for kind, ranks in dict.fromkeys((fault.kind, fault.ranks) for fault in faults):
        those = [fault for fault in faults if (fault.kind, fault.ranks) == (kind, ranks)]
        times = [[fault.detected for fault in those], [fault.step_again for fault in those]]
        cells = [f"{statistics.median(seconds):.1f} ({max(seconds):.1f})" for seconds in times]
        rows.append([kind, ranks, len(those), sum(fault.named for fault in those), *cells])
    header = [
        "fault",
        "ranks",
        "faults",
        "named",
        "another rank has ended after, s: median (largest)",
        "next step after, s",
    ]
    outcome = "Every run ended with the losses of the undisturbed run." if not wrong else "WRONG: " + "; ".join(wrong)
    load = f"Load average {result['load'][0]:.1f} at the end."
    title = "## Ranks lost while they start" if result["starting"] else "## Lost ranks"
    return "\n\n".join([title, figures.made(result), figures.markdown_table(header, rows), f"{outcome} {load}"])


if __name__ == "__main__":
    sys.exit(main())
