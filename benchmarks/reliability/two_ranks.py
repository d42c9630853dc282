"""Saves in the background by two ranks, of which one meets the fault: its operations are its own and have an order.

The process of a trial is the rank that the plan of faults is for; the other is a child of it, which dies with it, as a
launcher ends all ranks when one has ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from headwater.core import disk
from headwater.core.files import remove_leftovers
from headwater.machine.ranks.exchange import ManyRanks
from headwater.machine.ranks.mesh import Place as RankPlace
from headwater.train.checkpoint.save import Saver
from targets import TARGETS, Place, Target, checkpoints_of, is_made_up_state, made_up_state, quiet, read_newest, save

WORLD_SIZE = 2
FIRST_STEP, LAST_STEP = 2, 3
MEETING = timedelta(seconds=60)
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def save_twice(place: Place, rank: int, meeting_at: Path) -> None:
    """Save two steps as one of two ranks, while what was copied changes, and keep the newest two."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", store=dist.FileStore(str(meeting_at), WORLD_SIZE), rank=rank, world_size=WORLD_SIZE, timeout=MEETING
    )
    ranks = ManyRanks(RankPlace(rank, WORLD_SIZE, rank, WORLD_SIZE))
    if ranks.is_first:
        remove_leftovers(place.run_dir / "checkpoints")
        read_newest(place.run_dir, quiet)
    saver = Saver(place.run_dir, ranks, num_kept=2)
    try:
        saver.retain()  # as a resume does
        for step in range(FIRST_STEP, LAST_STEP + 1):
            model, optim, state = made_up_state(step)
            owned = {name: each for number, (name, each) in enumerate(optim.items()) if number % WORLD_SIZE == rank}
            saver.begin(step, model, owned, state)
            for tensor in (*model.values(), *optim.values()):
                tensor.zero_()  # as the next steps would
        saver.finish()
        ranks.wait()
    except BaseException:
        saver.give_up()
        raise
    finally:
        saver.close()


@dataclass(frozen=True)
class AsRank:
    """The work of a target whose operations are those of one rank."""

    rank: int

    def __call__(self, place: Place) -> None:
        with tempfile.TemporaryDirectory(dir=place.run_file.parent) as folder:
            meeting_at = Path(folder) / "meeting"
            other = _other_rank(lambda: save_twice(place, 1 - self.rank, meeting_at))
            try:
                save_twice(place, self.rank, meeting_at)
            except BaseException:
                with suppress(ProcessLookupError):
                    os.kill(other, signal.SIGKILL)
                raise
            finally:
                _, status = os.waitpid(other, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(f"rank {1 - self.rank} ended with {os.waitstatus_to_exitcode(status)}")


def _other_rank(work: Callable[[], None]) -> int:
    """Do `work` in a child without faults, and return its number; it doesn't outlive this process."""
    child = os.fork()
    if child:
        return child
    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        disk.install(None)
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


TARGETS_OF_TWO = [
    Target(
        f"saves of two ranks, in rank {rank}",
        "empty",
        lambda place: save(place, 1),
        AsRank(rank),
        checkpoints_of,
        (),
        is_made_up_state,
    )
    for rank in range(WORLD_SIZE)
]
EVERY_TARGET = [*TARGETS, *TARGETS_OF_TWO]
