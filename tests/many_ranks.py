"""Several processes of one run on this machine, as torchrun starts them: over loopback alone."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
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


def on_ranks(world_size: int, program: str, cwd: Path) -> list[Any]:
    """Return the JSON line that each rank prints; `program` finds `ranks`, joined, and torch with one thread."""
    commands = [[sys.executable, "-c", JOINED + program + LEFT]] * world_size
    said = [finish(process) for process in start_each(commands, cwd)]
    assert all(one.status == 0 for one in said), "\n".join(map(str, said))
    return [json.loads(one.out) for one in said]
