"""How the processes of one run meet: a launcher (torchrun) starts them and numbers them in the environment."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from headwater.core.errors import LayoutError, TrainingError
from headwater.machine.ranks.exchange import ALONE_TIMEOUT, ManyRanks, Ranks
from headwater.machine.ranks.heartbeat import Heartbeat
from headwater.machine.ranks.mesh import Mesh, Place, gpu_of, named, shared_gpus
from headwater.machine.ranks.watchdog import RESUMES, RankProgress

PREPARATION_TIMEOUT = timedelta(days=7)  # for the first rank, which prepares the data before it joins
CONNECT_TIMEOUT = timedelta(seconds=60)  # to a launcher's store, which is there before its ranks
ARRIVAL_SECONDS = 60.0  # for all others once the first one waits: launchers start them at one time
POLL_SECONDS, MAX_PAUSE_SECONDS = 0.05, 1.0


def num_visible_gpus() -> int:
    """Return how many GPUs this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_id(gpu: int) -> str:
    """Return what tells a GPU from all others, those of other machines too."""
    return str(torch.cuda.get_device_properties(gpu).uuid)


def join_ranks(
    place: Place,
    mesh: Mesh | None = None,
    silence_seconds: float | None = 30.0,
    *,
    device: str = "auto",
    num_gpus: Callable[[], int] = num_visible_gpus,
    id_of: Callable[[int], str] = gpu_id,
) -> Ranks:
    """Return this process among those that a launcher started; wait until all have come.

    On GPUs they exchange by NCCL and on processors by gloo; `device` is machine.device. `mesh` says how they lie; None:
    all along `replicate`. A rank without a heartbeat for `silence_seconds` is lost; None: none is.
    Raises ConfigError if ranks would share a GPU, and TrainingError if the others can't be reached, or don't come.
    """
    if place.world_size == 1:
        return Ranks(place)
    gpu, beats = gpu_of(place, device, num_gpus), None
    try:
        store = next(rendezvous("env://", timeout=CONNECT_TIMEOUT if place.has_store else PREPARATION_TIMEOUT))[0]
        store.set_timeout(PREPARATION_TIMEOUT)
        start = Start(store, place)
        fresh = dist.PrefixStore(start.name(), store)
        beats = None if silence_seconds is None else Heartbeat(fresh, place, RankProgress(), silence_seconds)
        if gpu is not None and fresh.add(f"gpu/{id_of(gpu)}", 1) > 1:
            fresh.set("gpu", "shared")
        start.meet()
        if fresh.check(["gpu"]):
            raise LayoutError(shared_gpus(place, num_gpus()))
        if beats is not None:
            beats.start()
        if gpu is not None:
            torch.cuda.set_device(gpu)
        backend = "gloo" if gpu is None else "nccl"
        dist.init_process_group(
            backend, store=fresh, rank=place.rank, world_size=place.world_size, timeout=ALONE_TIMEOUT
        )
        return ManyRanks(place, mesh, beats)
    except (RuntimeError, ValueError) as error:
        why = error if beats is None else beats.end_of_joining(error)
        raise TrainingError(
            f"rank {place.rank} can't join the other {place.world_size - 1} of its run ({why}); start all of "
            "them with torchrun"
        ) from error


class Start:
    """One start of all ranks, as one of them sees it: a name that no earlier one had, and the wait until all have it.

    A launcher's store outlives a restart and still holds the addresses of the ranks that died: torchrun's does. The
    first rank names the start once every other has acknowledged the name, and the others take it from an answer to
    what they alone could have asked.
    """

    def __init__(self, store: dist.Store, place: Place) -> None:
        self._store, self._place = store, place
        self._mine = self._name = secrets.token_hex(8)
        self._others = range(1, place.world_size)
        store.set(f"start/{place.rank}", self._mine)

    def name(self) -> str:
        """Return the name; all but the first rank wait until that one has prepared the data, and answers."""
        if self._place.rank:
            self._wait_until(self._is_answered, math.inf)
        return self._name

    def meet(self) -> None:
        """Return when all ranks have the name; raise TrainingError where some don't come."""
        if self._place.rank:
            self._store.set(f"start/{self._name}/{self._place.rank}", "taken")
            limit = ARRIVAL_SECONDS + 2 * MAX_PAUSE_SECONDS
            missing = [] if self._wait_until(lambda: self._store.check([f"start/{self._name}/all"]), limit) else [0]
        else:
            has_all = self._wait_until(self._has_answered_all, ARRIVAL_SECONDS)
            missing = [] if has_all else [other for other in self._others if not self._is_taken_by([other])]
            if has_all:
                self._store.set(f"start/{self._name}/all", "")
        if missing:
            who = named(missing, self._place.world_size)
            raise TrainingError(
                f"{who} fell silent before all had joined, or never came: {ARRIVAL_SECONDS:g} s. {RESUMES}"
            )

    def _is_answered(self) -> bool:
        """Take the first rank's name, where it answers this process and not a dead one of its number."""
        answer = json.loads(self._store.get("start/answer")) if self._store.check(["start/answer"]) else []
        rank = self._place.rank
        if answer[rank : rank + 1] != [self._mine]:
            return False
        self._name = str(answer[0])
        return True

    def _has_answered_all(self) -> bool:
        keys = [f"start/{other}" for other in self._others]
        if self._store.check(keys):
            names = [name.decode() for name in self._store.multi_get(keys)]  # perhaps of dead ones
            self._store.set("start/answer", json.dumps([self._mine, *names]))
        return self._is_taken_by(self._others)

    def _is_taken_by(self, ranks: Iterable[int]) -> bool:
        return bool(self._store.check([f"start/{self._name}/{rank}" for rank in ranks]))

    def _wait_until(self, is_true: Callable[[], bool], limit_seconds: float) -> bool:
        """Return whether it has become true in time; other than in the store's own wait, signals are heard."""
        waited = 0.0
        while not is_true():
            if waited > limit_seconds:
                return False
            pause = min(max(POLL_SECONDS, waited / 10), MAX_PAUSE_SECONDS)
            time.sleep(pause)
            waited += pause
        return True
