"""How the processes of one run meet: a launcher (torchrun) starts them and numbers them in the environment."""

from __future__ import annotations

import json
import secrets
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from headwater.errors import TrainingError
from headwater.ranks.exchange import ALONE_TIMEOUT, ManyRanks, Ranks
from headwater.ranks.heartbeat import Heartbeat
from headwater.ranks.mesh import Mesh
from headwater.ranks.place import Place
from headwater.ranks.progress import Progress

PREPARATION_TIMEOUT = timedelta(days=7)  # for the first rank, which prepares the data before it joins
POLL_SECONDS, MAX_PAUSE_SECONDS = 0.05, 1.0


def join_ranks(place: Place, mesh: Mesh | None = None, silence_seconds: float | None = 4.0) -> Ranks:
    """Return this process among those that a launcher started, on GPUs where each has one; wait until all have come.

    `mesh` says how they lie; None: all along `replicate`. A rank without a heartbeat for `silence_seconds` is lost;
    None: none is. Raises TrainingError when the others can't be reached.
    """
    if place.world_size == 1:
        return Ranks(place)
    on_gpu = torch.cuda.is_available() and torch.cuda.device_count() >= place.local_world_size
    if on_gpu:
        torch.cuda.set_device(place.local_rank)
    try:
        store, rank, world_size = next(rendezvous("env://", timeout=PREPARATION_TIMEOUT))
        fresh = dist.PrefixStore(name_of_this_start(store, rank, world_size), store)
        beats = None if silence_seconds is None else Heartbeat(fresh, place, Progress(), silence_seconds)
        backend = "nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=fresh, rank=rank, world_size=world_size, timeout=ALONE_TIMEOUT)
        return ManyRanks(place, mesh, beats)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"rank {place.rank} can't join the other {place.world_size - 1} of its run ({error}); start all of them "
            "with torchrun"
        ) from error


def name_of_this_start(store: dist.Store, rank: int, world_size: int) -> str:
    """Return a name that all ranks of this start get, and none of an earlier one had.

    A launcher's store outlives a restart and still holds the addresses of the ranks that died: torchrun's does. The
    first rank names the start once every other has acknowledged the name, and the others take it from an answer to
    what they alone could have asked.
    """
    mine = secrets.token_hex(8)
    store.set(f"start/{rank}", mine)
    _wait_for(store, ["start/answer"] if rank else [f"start/{other}" for other in range(1, world_size)])
    while rank == 0:
        names = [store.get(f"start/{other}").decode() for other in range(1, world_size)]  # perhaps by dead ones
        store.set("start/answer", json.dumps([mine, *names]))
        if store.check([f"start/{mine}/{other}" for other in range(1, world_size)]):
            return mine
        time.sleep(POLL_SECONDS)
    while True:
        answer = json.loads(store.get("start/answer"))
        if answer[rank : rank + 1] == [mine]:
            store.set(f"start/{answer[0]}/{rank}", "taken")
            return str(answer[0])
        time.sleep(POLL_SECONDS)


def _wait_for(store: dist.Store, keys: list[str]) -> None:
    """Wait until all keys are set, which may take hours; other than in the store's own wait, signals are heard."""
    pause = POLL_SECONDS
    while not store.check(keys):
        time.sleep(pause)
        pause = min(1.2 * pause, MAX_PAUSE_SECONDS)
