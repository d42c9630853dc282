"""The first rank shows a run; what the others print goes to files in the run folder: RUN/logs/rank-3.log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.cli.terminal import say
from headwater.core import disk, files
from headwater.core.errors import HeadwaterError, LostRanksError
from headwater.machine.ranks.mesh import Place


@contextmanager
def rank_log(run_dir: Path, place: Place) -> Iterator[None]:
    """Have what another rank than the first prints, inside, appended to its file.

    An error of its own comes through; that it has lost others doesn't: the first rank says so.
    """
    folder = run_dir / "logs"
    if place.rank == 0:
        if place.world_size > 1:
            say(f"what other ranks print is in {folder}")
        yield
        return
    files.make_folder(folder)
    kept = {number: os.dup(number) for number in (1, 2)}
    with disk.open_file(folder / f"rank-{place.rank}.log", "ab") as log:
        for number in kept:
            os.dup2(log.fileno(), number)
    print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}: rank {place.rank} of {place.world_size}", flush=True)
    try:
        yield
    except HeadwaterError as error:
        print(f"headwater: {error}", file=sys.stderr)
        if isinstance(error, LostRanksError):
            raise SystemExit(error.exit_status) from error
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in kept.items():
            os.dup2(handle, number)
            os.close(handle)
