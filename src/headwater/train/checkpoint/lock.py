"""One owner for a run folder: an advisory lock that dies with its process, and an epoch that outlives it.

RUN/lock is locked by its owner and names it. A lock alone doesn't stop an owner that was suspended, taken over, and
revived: so every start raises the number in RUN/epoch, and whoever finds another there than its own commits nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core import disk
from headwater.core.errors import HeadwaterError, LockedError, storage_errors
from headwater.core.files import make_folder, write_json
from headwater.core.owners import guarded

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
MAX_TRIES, TRY_SECONDS = 5, 0.02  # whoever asks whether a run has an owner holds its lock for a moment


@dataclass(frozen=True)
class Owner:
    """This process as the owner of a run folder, from when it raised its epoch."""

    run_dir: Path
    claim: dict[str, Any]

    def require(self) -> None:
        """Raise LockedError, naming the new owner, when another process has taken the run folder over."""
        found = _read(self.run_dir / "epoch")
        if found != self.claim:
            raise LockedError(
                f"{self.run_dir} has been taken over by {_name(found)}; this process (epoch {self.claim['epoch']}) "
                "writes nothing more there"
            )


def is_owned(run_dir: Path) -> bool | None:
    """Return whether a process holds a run folder's lock; None where one of another host held it last.

    A lock that is seen from here is known to be held; not every file system shows those of other machines.
    """
    claim = _read(run_dir / "lock")
    if not isinstance(claim.get("pid"), int):
        return False
    with suppress(OSError), open(run_dir / "lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False if claim.get("host") == socket.gethostname() else None


@contextmanager
def owned(run_dir: Path) -> Iterator[Owner]:
    """Hold the lock of `run_dir`; raise LockedError that names the owner when another process holds it.

    An error of an owner whose folder was taken over becomes that it was: without its lock another may start.
    """
    lock = _lock(run_dir)
    if lock is None:
        claim = _read(run_dir / "lock")
        raise LockedError(
            f"{run_dir} is in use by {_name(claim)}; wait for it, stop it, or choose another run folder; if it is "
            f"stopped, `kill -9 {claim.get('pid', 'PID')}` on its machine ends it; if its machine is lost, remove "
            f"{run_dir / 'lock'}"
        )
    try:
        owner = _claim(run_dir, lock)
        try:
            with guarded(run_dir, owner.require):
                yield owner
        except (HeadwaterError, OSError):
            # whoever took the run folder over has tidied this process's files away
            owner.require()
            _remove_unused(run_dir)
            raise
        finally:
            with suppress(OSError):  # all is done: who can't write there any more leaves its name
                if _read(run_dir / "lock") == owner.claim:
                    disk.rewrite(lock, run_dir / "lock", json.dumps({"epoch": owner.claim["epoch"]}).encode())
    finally:
        os.close(lock)


def _remove_unused(run_dir: Path) -> None:
    """Remove a run folder in which its owner wrote nothing: a run that is refused leaves nothing behind.

    The lock goes after the epoch: who finds no lock writes an epoch that stays, and then the folder isn't empty.
    """
    with suppress(OSError):
        if {path.name for path in run_dir.iterdir()} == {"lock", "epoch"}:
            disk.unlink(run_dir / "epoch")
            disk.unlink(run_dir / "lock")
            disk.remove_empty_folder(run_dir)


def _lock(run_dir: Path) -> int | None:
    """Return RUN/lock, open and locked; None when another process holds it."""
    path = run_dir / "lock"
    for _ in range(MAX_TRIES):
        make_folder(run_dir)
        with storage_errors(path):
            handle = disk.open_lock(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                return handle
            os.close(handle)  # another process put a new lock there between our opening and our locking
        except BlockingIOError:
            os.close(handle)
            time.sleep(TRY_SECONDS)
        except OSError as error:
            os.close(handle)
            if error.errno not in _NO_LOCKS:
                raise
            raise LockedError(
                f"{run_dir} is on a file system without locks (flock), which keep a run to one process; mount it with "
                "them (Lustre: -o flock), or choose another folder (runs_dir=…)"
            ) from error
    return None


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _claim(run_dir: Path, lock: int) -> Owner:
    """Raise the epoch, so that an earlier owner finds itself out, and say in the lock whose it is."""
    numbers = [found.get("epoch") for found in (_read(run_dir / "epoch"), _read(run_dir / "lock"))]
    epoch = 1 + max((number for number in numbers if isinstance(number, int)), default=0)
    # the token tells two claims apart even where a damaged file made both start from the same number
    claim = {"epoch": epoch, "pid": os.getpid(), "host": socket.gethostname(), "token": secrets.token_hex(8)}
    write_json(run_dir / "epoch", claim)
    with storage_errors(run_dir / "lock"):
        disk.rewrite(lock, run_dir / "lock", json.dumps(claim).encode())
    return Owner(run_dir, claim)


def _read(path: Path) -> dict[str, Any]:
    """Return what a claim says, {} where nothing readable is there."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _name(claim: dict[str, Any]) -> str:
    try:
        return f"process {claim['pid']} on {claim['host']}"
    except KeyError:
        return "another process"
