"""Write a checkpoint so that it is either complete under its name or not there at all, while training continues.

A step waits for the copy of its state, not for the disk. A thread of every rank writes that rank's pieces into one
folder of a temporary name, which the first rank's makes, and leaves a note of what they are; the first one's thread
gathers the notes, writes the manifest, flushes the folder and renames it. A rank that can't write says so in its note
where it still can, and nothing is committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.core.errors import CheckpointError, HeadwaterError, StorageError, free_bytes, megabytes, storage_errors
from headwater.core.files import (
    DigestedFile,
    commit_folder,
    digest_file_on_disk,
    flush,
    hand_over,
    json_bytes,
    make_folder,
    no_check,
    read_json,
    remove_file,
    remove_folder,
    require_writable,
    temporary_beside,
    write_json,
)
from headwater.core.manifests import seal
from headwater.core.owners import require_owner
from headwater.machine.ranks.exchange import Ranks
from headwater.train.checkpoint.layout import (
    FORMAT,
    FORMAT_VERSION,
    KINDS,
    STATE_FILE,
    checkpoint_dir,
    list_checkpoints,
    list_damaged,
    sums_file,
    tensor_file,
)
from headwater.train.checkpoint.load import put_aside
from headwater.train.checkpoint.shards import TensorChunk, merged_tables, pieces_to_write, state_digest, table_of
from headwater.train.checkpoint.tensor_file import SummedFile, write_tensors
from headwater.train.checkpoint.verify import is_whole, require_whole

SPACE_MARGIN = 1.2  # times the tensors: other writers take from the same disk meanwhile
MIN_KEPT = 2  # a damaged one leaves another
MAX_DAMAGED = 2  # folders of damaged checkpoints that stay, to be studied
# while no rank writes anything; longer than a flush of what a machine's memory holds. A rank that was killed leaves no
# word, and after the last step no exchange fails by which the others would notice
MAX_IDLE_SECONDS = 1200.0
POLL_SECONDS, LOOK_SECONDS = 0.02, 2.0


@dataclass(frozen=True)
class Saved:
    """A committed checkpoint: its size on disk, and how long writing took, beside training.

    And how long training waited for it, and the signal that requested it, if one did.
    """

    step: int
    bytes: int
    seconds: float
    waited_seconds: float = 0.0
    signal: str | None = None


class Saver:
    """Saves a run's checkpoints in the background, one at a time; all ranks call every method together."""

    def __init__(
        self,
        run_dir: Path,
        ranks: Ranks | None = None,
        num_kept: int | None = None,
        before_commit: Callable[[], None] = no_check,
        whole: Collection[int] = (),
    ) -> None:
        """Keep the newest `num_kept` after each save, or all; the checkpoints of the steps `whole` need no proof of it.

        `before_commit` is called, in the thread, before anything is written and before each commit; what is committed
        when another process has taken the run over is a LockedError.
        """
        self._run_dir = run_dir
        self._ranks = ranks or Ranks()
        self._num_kept = num_kept
        self._before_commit = before_commit
        self._whole = set(whole)
        self._given_up = threading.Event()
        self._thread: ThreadPoolExecutor | None = None
        self._running: Future[Saved | None] | None = None
        self._step: int | None = None  # of the last save
        self._signal: str | None = None
        self.waited_seconds = 0.0
        """How long the caller of `begin` waited for the last save."""

    def begin(
        self,
        step: int,
        model: Mapping[str, Tensor],
        optim: Mapping[str, Tensor],
        state: dict[str, Any],
        pinned: Callable[[], Collection[int]] = tuple,
        signal: str | None = None,
    ) -> Saved | None:
        """Copy a state and let it be written; wait for the save before it and return that one, if there was one.

        Nothing is done for the step that was saved last. Of `optim` each rank has what no other has. `state` is what is
        no tensor; readers need its `rows_consumed` and `identity`. A checkpoint of this step that is there already is
        left alone. `pinned`, called when this one is on disk, names the steps of older ones that stay besides the
        newest. What the save raises, `poll` and `finish`
        raise: StorageError, with nothing changed, when the disk refuses; LockedError when the run was taken over.
        """
        if step == self._step:
            return None
        started_at = time.perf_counter()
        before = self.finish()
        target = checkpoint_dir(self._run_dir, step)
        folder, is_there = self._ranks.from_first([str(temporary_beside(target)), self._is_saved(target)])
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        if is_there:
            self._running = self._thread.submit(lambda: Saved(step, folder_bytes(target), 0.0))
        else:
            need_bytes = sum(tensor.numel() * tensor.element_size() for tensor in (*model.values(), *optim.values()))
            pieces = [
                replace(piece, tensor=_copy(piece.tensor)) for piece in pieces_to_write(model, optim, self._ranks)
            ]
            work = _Work(step, target, Path(folder), need_bytes, self._given_up)
            self._running = self._thread.submit(self._write, work, pieces, state, pinned)
        self._step, self._signal, self.waited_seconds = step, signal, time.perf_counter() - started_at
        return before

    def _is_saved(self, target: Path) -> bool:
        """Return whether the step is on disk, whole; a damaged checkpoint of it is put aside."""
        if not self._ranks.is_first or not target.exists():
            return False
        try:
            require_whole(target)
        except CheckpointError:
            put_aside(target)
            return False
        return True

    def poll(self) -> Saved | None:
        """Return the checkpoint that was committed since the last call, if one was; raise what its save raised."""
        if self._running is None or not self._running.done():
            return None
        return self.finish()

    def finish(self) -> Saved | None:
        """Wait for the save under way and return it; None when there is none."""
        running, self._running = self._running, None
        saved = None if running is None else running.result()
        return None if saved is None else replace(saved, waited_seconds=self.waited_seconds, signal=self._signal)

    def forget(self) -> None:
        """Let the step that was saved last be saved again: the run went back to an earlier one."""
        self._step = None

    def retain(self, pinned: Callable[[], Collection[int]] = tuple) -> None:
        """Remove old checkpoints as after a save: a process that died before it did so left them."""
        if self._ranks.is_first and self._num_kept is not None:
            retain_newest(self._run_dir, self._num_kept, pinned(), self._whole)

    def close(self) -> None:
        """Let the save under way come to its end, whatever that is."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self._thread = None

    def give_up(self) -> None:
        """Wait for no other rank any more: this one has failed, or one that it waits for may have ended."""
        if self._ranks.world_size > 1:
            self._given_up.set()

    def _write(
        self, work: _Work, pieces: list[TensorChunk], state: dict[str, Any], pinned: Callable[[], Collection[int]]
    ) -> Saved | None:
        """Write this rank's pieces; on the first rank, gather what the others wrote and commit."""
        started_at = time.perf_counter()
        if not self._ranks.is_first:
            _leave_note(work, pieces, self._ranks)
            return None
        try:
            with storage_errors(work.target, work.need_bytes):
                self._before_commit()
                require_writable(work.target.parent, int(SPACE_MARGIN * work.need_bytes))
                make_folder(work.folder)
                notes = [_write_pieces(work.folder, pieces, self._ranks)]
                notes += [_others_note(work, rank) for rank in range(1, self._ranks.world_size)]
                _write_manifest(work, notes, state)
                self._before_commit()
                commit_folder(work.folder, work.target)
        except FileNotFoundError:
            require_owner(work.target)  # whoever took the run folder over has tidied this process's files away
            raise
        finally:
            with suppress(HeadwaterError, OSError):
                remove_folder(work.folder)  # renamed first: other ranks may be making files in it, by its name
        self._whole.add(work.step)
        self.retain(pinned)
        return Saved(work.step, folder_bytes(work.target), time.perf_counter() - started_at)


@dataclass(frozen=True)
class _Work:
    """A checkpoint to be written: its final folder and the one of a temporary name."""

    step: int
    target: Path
    folder: Path
    need_bytes: int
    given_up: threading.Event

    def wait_for(self, path: Path) -> None:
        """Return once another rank has made `path`; raise StorageError when it won't come any more.

        That is after `give_up`, or when no rank has written a byte into the folder for MAX_IDLE_SECONDS.
        """
        written, wrote_at, next_look = -1, time.monotonic(), 0.0
        while not path.exists():
            if (now := time.monotonic()) >= next_look:
                next_look, found = now + LOOK_SECONDS, _bytes_in(self.folder)
                written, wrote_at = (found, now) if found != written else (written, wrote_at)
            if self.given_up.wait(POLL_SECONDS) or now - wrote_at > MAX_IDLE_SECONDS:
                raise StorageError(f"{self.target} can't be written: another rank has ended, or hangs, before its part")


def _bytes_in(folder: Path) -> int:
    """Return the size of all files of a folder that others write to; 0 while there is none."""
    try:
        return folder_bytes(folder)
    except OSError:  # a file was renamed meanwhile
        return 0


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy on the host that later updates don't change."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _write_pieces(folder: Path, pieces: list[TensorChunk], ranks: Ranks) -> dict[str, Any]:
    """Write one rank's pieces, a file a kind, and return what the manifest must say of them."""
    files: dict[str, Any] = {}
    placed = []
    for kind in KINDS:
        chosen = [piece for piece in pieces if piece.kind == kind]
        name = tensor_file(kind, ranks.rank, ranks.world_size)
        with SummedFile(folder / name) as file:
            write_tensors(file, {piece.key: piece.tensor for piece in chosen})
        with DigestedFile(sums_file(folder / name)) as sums:
            sums.write(file.sums())
        files |= {name: file.facts(), sums_file(folder / name).name: sums.facts()}
        placed += [(piece, name) for piece in chosen]
    return {"files": files, "tensors": table_of(placed)}


def _note_name(rank: int) -> str:
    return f"note-{rank:05d}.json"


def _leave_note(work: _Work, pieces: list[TensorChunk], ranks: Ranks) -> None:
    path = work.folder / _note_name(ranks.rank)
    try:
        with storage_errors(work.target, work.need_bytes):
            work.wait_for(work.folder)
            note = _write_pieces(work.folder, pieces, ranks)
            flush(work.folder / name for name in note["files"])
        hand_over(path, json_bytes(note))
    except Exception as error:
        is_gone = isinstance(error, FileNotFoundError) or not work.folder.exists()
        with suppress(HeadwaterError, OSError):  # on a full disk; the other ranks then learn of it as this one ends
            hand_over(path, json_bytes({"error": str(error)}))
        if is_gone:
            raise StorageError(f"{work.target} can't be written: the first rank gave it up and says why") from error
        raise


def _others_note(work: _Work, rank: int) -> dict[str, Any]:
    """Return another rank's note and take it away; raise StorageError where it says that it couldn't write."""
    path = work.folder / _note_name(rank)
    work.wait_for(path)
    note: dict[str, Any] = read_json(path)
    remove_file(path)
    if "error" in note:
        raise StorageError(str(note["error"]))
    return note


def _write_manifest(work: _Work, notes: list[dict[str, Any]], state: dict[str, Any]) -> None:
    with DigestedFile(work.folder / STATE_FILE) as file:
        file.write(json_bytes(state))
    files = {name: facts for note in notes for name, facts in note["files"].items()}
    tensors = merged_tables(note["tensors"] for note in notes)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "step": work.step,
        "world_size": len(notes),
        "files": files | {STATE_FILE: file.facts()},
        "tensors": tensors,
        "state_digest": state_digest(tensors),
    }
    write_json(work.folder / "manifest.json", seal(manifest))


def require_space(run_dir: Path, num_bytes: int, num_kept: int, num_saves: int, num_lasting: int = 0) -> None:
    """Raise StorageError unless the disk holds the checkpoints that a run keeps and one that is being written.

    Each has `num_bytes` of tensors; `num_saves` are still to come. `num_lasting` stay besides the newest. What is there
    already needs no more room.
    """
    num_bytes = int(SPACE_MARGIN * num_bytes)
    there = len(list_checkpoints(run_dir))
    num_more = min(num_saves, max(1, max(MIN_KEPT, num_kept) + num_lasting + 1 - there))
    free = free_bytes(run_dir)
    if num_saves and free is not None and free < num_more * num_bytes:
        has, needs, each = megabytes(free, num_more * num_bytes, num_bytes)
        raise StorageError(
            f"{run_dir} has {has} MB free and its checkpoints need {needs} MB: {num_more} more of {each} MB each "
            f"(train.keep_checkpoints={num_kept}, {num_lasting} from before the decay, one that is being written, "
            f"{there} there now); free some space, keep fewer (2 at least), or choose another folder with runs_dir"
        )


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def retain_newest(run_dir: Path, num_kept: int, pinned: Collection[int] = (), whole: Collection[int] = ()) -> None:
    """Remove what is older than the newest `num_kept` checkpoints, at least two, that are whole.

    Those of the steps `whole` were written or loaded by this process. Any other is read again from the disk first,
    every byte of it: a checkpoint that is damaged or that the disk never got counts for nothing, and as long as fewer
    than that are whole, nothing is removed. Those of the steps `pinned` stay, too. Of those that were found damaged at
    earlier starts the newest MAX_DAMAGED stay.
    """
    checkpoints = list_checkpoints(run_dir)
    wanted = max(MIN_KEPT, num_kept)
    if len(checkpoints) <= wanted:
        return
    num_whole = 0
    for step, path in checkpoints:
        if num_whole < wanted:
            num_whole += step in whole or is_whole(path, digest_file_on_disk)
        elif step not in pinned:
            remove_folder(path)
    if num_whole == wanted:
        for path in list_damaged(run_dir)[:-MAX_DAMAGED]:
            remove_folder(path)
