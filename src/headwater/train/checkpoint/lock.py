"""One owner for a run folder: an advisory lock that dies with its process, and an epoch that outlives it.

RUN/lock is locked by its owner and names it. A lock alone doesn't stop an owner that was suspended, taken over, and
revived: so every start raises the number in RUN/epoch, and whoever finds another there than its own commits nothing.

Some cluster file systems have no locks (Lustre without -o flock). There the name in RUN/lock, which its owner removes
at its end, refuses a second process, and the epoch still fences: of two that start together one finds itself out.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core import disk
from headwater.core.errors import TEMPORARY_MARK, HeadwaterError, LockedError, storage_errors
from headwater.core.files import make_folder, write_json
from headwater.machine.host.facts import BEGAN, PROCESSES, stat_of

BOOT = Path("/proc/sys/kernel/random/boot_id")
NO_LOCKS_NOTE = (
    "{run_dir} lies on a file system without locks (flock): a process that was killed leaves its name in "
    "{run_dir}/lock; where that was on another machine, the next start needs --takeover"
)
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_SUSPENDED = {"T": "stopped", "t": "stopped by a debugger", "Z": "dead", "X": "dead"}


@dataclass(frozen=True)
class Owner:
    """This process as the owner of a run folder, from when it raised its epoch."""

    run_dir: Path
    claim: dict[str, Any]
    note: str = ""  # what its user must know of the lock

    def require(self) -> None:
        """Raise LockedError, naming the new owner, when another process has taken the run folder over."""
        found = _read(self.run_dir / "epoch")
        if found != self.claim:
            raise LockedError(
                f"{self.run_dir} has been taken over by {_name(found)}; this process (epoch {self.claim['epoch']}) "
                "writes nothing more there"
            )


@dataclass(frozen=True)
class _Lock:
    """The open file RUN/lock; its file system may have no locks."""

    handle: int
    is_locked: bool


def is_owned(run_dir: Path) -> bool | None:
    """Return whether the process that locked a run folder last is there; None of one on another host."""
    claim = _read(run_dir / "lock")
    if not isinstance(claim.get("pid"), int):
        return False
    if claim.get("host") != socket.gethostname():
        return None
    return _state_of(claim) not in (None, "Z", "X")


@contextmanager
def owned(run_dir: Path, if_stopped: str = "") -> Iterator[Owner]:
    """Hold the lock of `run_dir`; raise LockedError that names the owner when another process holds it.

    `if_stopped` says what to do about an owner that is stopped or lost, where the caller's verb has a way.
    """
    lock = _lock(run_dir)
    if lock is None:
        claim = _read(run_dir / "lock")
        advice = if_stopped or f"if it is stopped, `kill -9 {claim.get('pid', 'PID')}` on its machine ends it"
        raise LockedError(
            f"{run_dir} is in use by {_name(claim)}; wait for it, stop it, or choose another run folder; {advice}"
        )
    yield from _held(run_dir, lock)


@contextmanager
def taken_over(run_dir: Path) -> Iterator[Owner]:
    """Hold the lock of `run_dir`, taken from an owner that is stopped, dead or on another host.

    That owner's saves and records are refused from here on, should it come back. Raises LockedError when the owner
    runs on this host, or can't be told: two that run would both spend the work of one.
    """
    lock = _lock(run_dir)
    if lock is None:
        _require_idle(run_dir, _read(run_dir / "lock"))
        lock = _new_lock(run_dir)
    yield from _held(run_dir, lock)


def _held(run_dir: Path, lock: _Lock) -> Iterator[Owner]:
    """Yield the owner while it holds the lock; an error of a stale one becomes that it has been taken over."""
    try:
        owner = _claim(run_dir, lock)
        try:
            yield owner
        except (HeadwaterError, OSError):
            # whoever took the run folder over has tidied this process's files away
            owner.require()
            _remove_unused(run_dir)
            raise
        finally:
            if not lock.is_locked and _read(run_dir / "lock") == owner.claim:
                disk.rewrite(lock.handle, run_dir / "lock", json.dumps({"epoch": owner.claim["epoch"]}).encode())
    finally:
        os.close(lock.handle)


def _remove_unused(run_dir: Path) -> None:
    """Remove a run folder in which its owner wrote nothing: a run that is refused leaves nothing behind.

    The lock goes after the epoch: who finds no lock writes an epoch that stays, and then the folder isn't empty.
    """
    with suppress(OSError):
        if {path.name for path in run_dir.iterdir()} == {"lock", "epoch"}:
            disk.unlink(run_dir / "epoch")
            disk.unlink(run_dir / "lock")
            disk.remove_empty_folder(run_dir)


def _lock(run_dir: Path) -> _Lock | None:
    """Return RUN/lock, locked where its file system can; None when another process holds it."""
    path = run_dir / "lock"
    while True:
        make_folder(run_dir)
        with storage_errors(path):
            handle = disk.open_lock(path)
        try:
            is_locked = _flock(handle)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                return None
            raise
        if not is_locked and _names_a_process(_read(path)):
            os.close(handle)
            return None
        if _is_at(handle, path):
            return _Lock(handle, is_locked)
        os.close(handle)  # another process put a new lock there between our opening and our locking


def _flock(handle: int) -> bool:
    """Lock an open file; return False where its file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _names_a_process(claim: dict[str, Any]) -> bool:
    """Return whether a claim is of a process that may still be there: on another host it may."""
    pid, host = claim.get("pid"), claim.get("host")
    return isinstance(pid, int) and (host != socket.gethostname() or _state_of(claim) is not None)


def _new_lock(run_dir: Path) -> _Lock:
    """Put a new lock, held by this process, in the place of one that another still holds."""
    path = run_dir / "lock"
    fresh = path.with_name(f"{TEMPORARY_MARK}lock-{os.getpid()}-{secrets.token_hex(4)}")
    with storage_errors(path):
        handle = disk.open_lock(fresh)
        lock = _Lock(handle, _flock(handle))
        disk.rename(fresh, path)
    return lock


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _claim(run_dir: Path, lock: _Lock) -> Owner:
    """Raise the epoch, so that an earlier owner finds itself out, and say in the lock whose it is."""
    numbers = [found.get("epoch") for found in (_read(run_dir / "epoch"), _read(run_dir / "lock"))]
    epoch = 1 + max((number for number in numbers if isinstance(number, int)), default=0)
    # the token tells two claims apart even where a damaged file made both start from the same number
    claim = {"epoch": epoch, "pid": os.getpid(), "host": socket.gethostname(), "token": secrets.token_hex(8)}
    claim["began"] = _began(os.getpid())
    write_json(run_dir / "epoch", claim)
    with storage_errors(run_dir / "lock"):
        disk.rewrite(lock.handle, run_dir / "lock", json.dumps(claim).encode())
    return Owner(run_dir, claim, "" if lock.is_locked else NO_LOCKS_NOTE.format(run_dir=run_dir))


def _require_idle(run_dir: Path, owner: dict[str, Any]) -> None:
    pid, host = owner.get("pid"), owner.get("host")
    if not isinstance(pid, int) or not isinstance(host, str):
        raise LockedError(f"{run_dir} is in use by a process that {run_dir / 'lock'} doesn't name; end it first")
    if host != socket.gethostname():
        return
    state = _state_of(owner)
    if state is not None and state not in _SUSPENDED:
        raise LockedError(
            f"{run_dir} is in use by {_name(owner)}, which is running; --takeover is for an owner that is stopped or "
            f"on another host; end this one with `kill {pid}` (it saves) and start again"
        )


def _state_of(claim: dict[str, Any]) -> str | None:
    """Return the state of the process that a claim of this host names; None where another has its number now.

    Numbers come again: in a container, or after the machine was restarted, the same program often has the same one.
    """
    began = claim.get("began")
    if began is not None and began != _began(claim["pid"]):
        return None
    return _state(claim["pid"])


def _began(pid: int) -> str | None:
    """Return what tells a process from a later one of the same number: the machine's start and its own after that."""
    try:
        return f"{BOOT.read_text().strip()} {stat_of(pid)[BEGAN]}"
    except (OSError, IndexError):
        return None


def _state(pid: int) -> str | None:
    """Return the letter of a process's state, "?" where the system doesn't say, or None when there is none."""
    return next(iter(stat_of(pid)), None) if (PROCESSES / "self").exists() else "?"


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
