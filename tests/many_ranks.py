"""Several processes of one run on this machine, as torchrun starts them: over loopback alone.

Most are forks of a process that has imported torch and what ranks need, which takes longer than most of what they do.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import socket
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import Any

from small_run import environment, finish

JOINED = """
import json, os, sys
import torch
from headwater.machine.ranks.mesh import place_of
from headwater.machine.ranks.rendezvous import join_ranks
torch.set_num_threads(1)
ranks = join_ranks(place_of(os.environ), device="cpu")
"""
TRAIN_TINY = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from headwater.machine import compute as machine
from headwater.machine.host.signals import StopRequest
from headwater.train.checkpoint import save
from headwater.train.loop import train
from headwater.train.start import assemble, past_to_resume
from tiny_run import CountingEvaluator, MadeUpRows, plan
machine.matmul_peaks = lambda device, dtypes: dict.fromkeys(dtypes, 1e11)

def train_tiny(evaluator, **settings):
    settings, folder, rows = plan(num_probes=0, **settings), Path("run"), MadeUpRows()
    past = past_to_resume(folder, settings, rows, print, ranks=ranks)
    run = assemble(folder, settings, rows, past, lambda line: None, ranks=ranks)
    with StopRequest() as stop:
        end = train(run, evaluator, lambda record: None, stop)
    run.records.close()
    return end.step
"""
"""After JOINED: the ranks train a tiny run in `run`, and return the step at which it ended."""

# device meshes have groups of their own, whose threads an interpreter that ends by itself doesn't always end well
LEFT = """
sys.stdout.flush()
ranks.wait()
os._exit(0)
"""


def free_port() -> int:
    """Return a port below those that the system gives to outgoing connections, so that none takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


def places(world_size: int) -> list[dict[str, str]]:
    """Return the environment of each rank."""
    shared = {
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world_size)]


def start_each(commands: list[list[str]], cwd: Path) -> list[subprocess.Popen[str]]:
    """Start one process a rank, with its own command."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return [
        subprocess.Popen(command, cwd=cwd, env=environment(**place), **pipes)  # type: ignore[call-overload]
        for command, place in zip(commands, places(len(commands)), strict=True)
    ]


def slowly(program: str, seconds: float, first: int = 1) -> str:
    """Return a program whose operations on the disk take so many seconds each, from the first of that number on."""
    return f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fault_plan import FaultPlan
from headwater.core.disk import install
install(FaultPlan.parse("delay={seconds}@{first}+"))
{program}"""


IMPORTED = [
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch.distributed",
    "torch.distributed.fsdp",
    "headwater.machine.parallel.layers",
    "headwater.machine.parallel.prepare",
    "headwater.machine.parallel.sharded",
    "headwater.machine.ranks.rendezvous",
    "headwater.runs.training",
    "headwater.train.step",
]


class Fork:
    """A process that runs a program, with what of subprocess.Popen the tests use."""

    def __init__(self, program: str, cwd: Path, env: dict[str, str]) -> None:
        self._said = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, self._said)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(IMPORTED)
        self._process = context.Process(target=_execute, args=(program, str(cwd), env, self._said), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0)
        out, err = (Path(self._said, name).read_text(encoding="utf-8") for name in ("out", "err"))
        return out, err


def _execute(program: str, cwd: str, env: dict[str, str], said: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for handle, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(os.path.join(said, name), os.O_WRONLY | os.O_CREAT), handle)
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})


def calling(*arguments: str) -> str:
    """Return a program that calls headwater's main with these arguments."""
    return f"""
import sys
from headwater.cli.main import main
from small_run import quick
sys.argv = {["headwater", *arguments]!r}
with quick():
    main()
"""


def start_programs(programs: list[str], cwd: Path) -> list[Fork]:
    """Start one process a rank, with its own program."""
    return [
        Fork(program, cwd, environment(**place)) for program, place in zip(programs, places(len(programs)), strict=True)
    ]


def start_ranks(world_size: int, *arguments: str, cwd: Path) -> list[Fork]:
    """Start headwater with the same arguments on every rank; one rank is a process without a launcher."""
    return start_programs([calling(*arguments)] * world_size, cwd)


def on_ranks(world_size: int, program: str, cwd: Path) -> list[Any]:
    """Return the JSON line that each rank prints; `program` finds `ranks`, joined, and torch with one thread."""
    processes = start_programs([JOINED + program + LEFT] * world_size, cwd)
    try:
        said = [finish(process) for process in processes]
    except BaseException:  # a time limit of the test
        for process in processes:
            process.kill()
        raise
    assert all(one.status == 0 for one in said), "\n".join(map(str, said))
    return [json.loads(one.out) for one in said]
