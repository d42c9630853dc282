"""Several processes of one run on this machine, as torchrun starts them: over loopback alone."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from small_run import Said, environment, finish

JOINED = """
import json, os, sys
import torch
from headwater.ranks.place import place_of
from headwater.ranks.rendezvous import join_ranks
torch.set_num_threads(1)
ranks = join_ranks(place_of(os.environ))
"""
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


def start_each(commands: list[list[str]], cwd: Path, **of_first: str) -> list[subprocess.Popen[str]]:
    """Start one process a rank, with its own command; `of_first` are variables of the first one alone."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return [
        subprocess.Popen(  # type: ignore[call-overload]
            command, cwd=cwd, env=environment(**place, **(of_first if place["RANK"] == "0" else {})), **pipes
        )
        for command, place in zip(commands, places(len(commands)), strict=True)
    ]


def start_ranks(world_size: int, *arguments: str, cwd: Path, **of_first: str) -> list[subprocess.Popen[str]]:
    """Start headwater with the same arguments on every rank; `of_first` are variables of the first one alone."""
    return start_each([[sys.executable, "-m", "headwater", *arguments]] * world_size, cwd, **of_first)


def run_ranks(world_size: int, *arguments: str, cwd: Path) -> list[Said]:
    """Run headwater on every rank to its end; one rank is a process without a launcher."""
    return [finish(process) for process in start_ranks(world_size, *arguments, cwd=cwd)]


# a process that has imported torch and what ranks need of it, whose forks are ranks: the imports take longer than most
# of their programs
TEMPLATE = """
import json, os, sys, traceback
import torch, torch.distributed
import headwater.parallel.prepare, headwater.simulate.rank, headwater.train.step
from headwater.ranks import place, rendezvous

def become_rank(order, number):
    os.environ.clear()
    os.environ.update(order["environments"][number])
    os.chdir(order["cwd"])
    for handle, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(os.path.join(order["said"], f"{number}.{name}"), os.O_WRONLY | os.O_CREAT), handle)
    status = 1
    try:
        exec(compile(order["program"], "program", "exec"), {"__name__": "__main__"})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

for line in sys.stdin:
    order = json.loads(line)
    ranks = [os.fork() or become_rank(order, number) for number in range(len(order["environments"]))]
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) for rank in ranks]), flush=True)
"""


@cache
def template() -> subprocess.Popen[str]:
    """Return that process, which ends with this one."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    process = subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-c", TEMPLATE], env=environment(), start_new_session=True, **pipes
    )
    atexit.register(lambda: process.communicate())
    return process


def on_ranks(world_size: int, program: str, cwd: Path) -> list[Any]:
    """Return the JSON line that each rank prints; `program` finds `ranks`, joined, and torch with one thread."""
    environments = [environment(**place) for place in places(world_size)]
    with tempfile.TemporaryDirectory() as folder:
        order = {"program": JOINED + program + LEFT, "environments": environments, "cwd": str(cwd), "said": folder}
        process = template()
        try:
            print(json.dumps(order), file=process.stdin, flush=True)
            statuses = json.loads(process.stdout.readline())
        except BaseException:  # a time limit of the test: its ranks must not answer the next one
            os.killpg(process.pid, signal.SIGKILL)
            template.cache_clear()
            raise
        said = [
            Said(status, *((Path(folder) / f"{number}.{name}").read_text(encoding="utf-8") for name in ("out", "err")))
            for number, status in enumerate(statuses)
        ]
    assert all(one.status == 0 for one in said), "\n".join(map(str, said))
    return [json.loads(one.out) for one in said]
