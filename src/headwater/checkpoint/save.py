"""Write a checkpoint so that it is either complete under its name or not there at all, while training goes on.

A step waits for the copy of its state alone. A thread of every rank writes that rank's pieces into one folder of a
temporary name and leaves a note of what they are; the first rank's thread gathers the notes, writes the manifest,
flushes the folder and renames it. A rank that can't write says so in its note, and nothing is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_safetensors
from torch import Tensor

from headwater.checkpoint.layout import (
    FORMAT,
    FORMAT_VERSION,
    KINDS,
    STATE_FILE,
    checkpoint_dir,
    list_checkpoints,
    tensor_file,
)
from headwater.checkpoint.shards import Piece, merged_tables, pieces_to_write, state_digest, table_of
from headwater.errors import HeadwaterError, StorageError
from headwater.files import (
    commit_folder,
    digest_bytes,
    digest_json,
    read_json,
    remove_folder,
    require_writable,
    shared_folder,
    shared_folder_of,
    write_bytes,
    write_json,
)
from headwater.machine.ranks import Ranks

NOTE_SECONDS = 1800.0  # how long the first rank waits for the others' notes
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Saved:
    """A committed checkpoint: its size on disk, and how long it took beside the training that went on."""

    step: int
    bytes: int
    seconds: float


class Saver:
    """Saves a run's checkpoints in the background, one at a time; all ranks call every method together."""

    def __init__(
        self,
        run_dir: Path,
        ranks: Ranks | None = None,
        num_kept: int | None = None,
        require_ours: Callable[[], None] | None = None,
    ) -> None:
        """Keep the newest `num_kept` after each save, or all.

        `require_ours` is called before each commit and raises when another process has taken the run over.
        """
        self._run_dir = run_dir
        self._ranks = ranks or Ranks()
        self._num_kept = num_kept
        self._require_ours = require_ours or (lambda: None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._running: Future[Saved | None] | None = None

    def begin(
        self, step: int, model: Mapping[str, Tensor], optim: Mapping[str, Tensor], state: dict[str, Any]
    ) -> Saved | None:
        """Copy a state and let it be written; wait for the save before it and return that one, if there was one.

        A checkpoint of this step that is there already is left alone. Raises StorageError, with nothing changed, when
        the disk refuses.
        """
        before = self.finish()
        target = checkpoint_dir(self._run_dir, step)
        named = {f"model.{name}": tensor for name, tensor in model.items()}
        named |= {f"optim.{name}": tensor for name, tensor in optim.items()}
        if self._is_there(target, named):
            self._running = self._thread.submit(lambda: Saved(step, folder_bytes(target), 0.0))
            return before
        pieces = [replace(piece, tensor=_copy(piece.tensor)) for piece in pieces_to_write(named, self._ranks)]
        self._running = self._thread.submit(self._write, step, target, pieces, state)
        return before

    def _is_there(self, target: Path, named: Mapping[str, Tensor]) -> bool:
        """Return whether this step is saved; make the folder to write into where it isn't. The first rank decides."""
        answer: dict[str, Any] = {}
        if self._ranks.is_first:
            try:
                answer["there"] = target.exists()
                if not answer["there"]:
                    need_bytes = sum(tensor.numel() * tensor.element_size() for tensor in named.values())
                    # a fifth more than the tensors: other writers take from the same disk meanwhile
                    require_writable(target.parent, int(1.2 * need_bytes))
                    shared_folder(target)
            except HeadwaterError as error:
                answer["error"] = str(error)
        answer = self._ranks.from_first(answer)
        if "error" in answer:
            raise StorageError(answer["error"])
        return bool(answer["there"])

    def poll(self) -> Saved | None:
        """Return the checkpoint that was committed since the last call, if one was; raise what its save raised."""
        if self._running is None or not self._running.done():
            return None
        return self.finish()

    def finish(self) -> Saved | None:
        """Wait for the save under way and return it; None when there is none."""
        running, self._running = self._running, None
        return None if running is None else running.result()

    def close(self) -> None:
        """Let the save under way come to its end, whatever that is."""
        self._thread.shutdown(wait=True)

    def _write(self, step: int, target: Path, pieces: list[Piece], state: dict[str, Any]) -> Saved | None:
        """Write this rank's pieces; on the first rank, gather what the others wrote and commit."""
        started_at = time.perf_counter()
        folder = shared_folder_of(target)
        if not self._ranks.is_first:
            _leave_note(folder, pieces, self._ranks)
            return None
        try:
            notes = [_write_pieces(folder, pieces, self._ranks)]
            notes += [_wait_for_note(folder / _note_name(rank)) for rank in range(1, self._ranks.world_size)]
            _write_manifest(folder, notes, step, state)
            self._require_ours()
            commit_folder(folder, target)
        finally:
            remove_folder(folder)
        if self._num_kept is not None:
            retain_newest(self._run_dir, self._num_kept)
        return Saved(step, folder_bytes(target), time.perf_counter() - started_at)


def _copy(tensor: Tensor) -> Tensor:
    """Return a copy on the host that later updates don't change."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _write_pieces(folder: Path, pieces: list[Piece], ranks: Ranks) -> dict[str, Any]:
    """Write one rank's pieces, a file a kind, and return what the manifest must say of them."""
    files, placed = {}, []
    for kind in KINDS:
        chosen = [piece for piece in pieces if piece.kind == kind]
        name = tensor_file(kind, ranks.rank, ranks.world_size)
        data = to_safetensors({piece.key: piece.tensor for piece in chosen})
        write_bytes(folder / name, data)
        files[name] = {"bytes": len(data), "digest": digest_bytes(data)}
        placed += [(piece, name) for piece in chosen]
    return {"files": files, "tensors": table_of(placed)}


def _note_name(rank: int) -> str:
    return f"note-{rank:05d}.json"


def _leave_note(folder: Path, pieces: list[Piece], ranks: Ranks) -> None:
    note = folder / _note_name(ranks.rank)
    try:
        write_json(note, _write_pieces(folder, pieces, ranks))
    except HeadwaterError as error:
        write_json(note, {"error": str(error)})
        raise


def _wait_for_note(path: Path) -> dict[str, Any]:
    """Return another rank's note and take it away; raise StorageError where it says that it couldn't write."""
    deadline = time.monotonic() + NOTE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise StorageError(f"{path} didn't come in {NOTE_SECONDS:.0f} s: another rank hangs; start the run again")
        time.sleep(POLL_SECONDS)
    note: dict[str, Any] = read_json(path)
    path.unlink()
    if "error" in note:
        raise StorageError(str(note["error"]))
    return note


def _write_manifest(folder: Path, notes: list[dict[str, Any]], step: int, state: dict[str, Any]) -> None:
    write_json(folder / STATE_FILE, state)
    data = (folder / STATE_FILE).read_bytes()
    tensors = merged_tables(note["tensors"] for note in notes)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "step": step,
        "world_size": len(notes),
        "files": {name: facts for note in notes for name, facts in note["files"].items()}
        | {STATE_FILE: {"bytes": len(data), "digest": digest_bytes(data)}},
        "tensors": tensors,
        "state_digest": state_digest(tensors),
    }
    write_json(folder / "manifest.json", manifest | {"digest": digest_json(manifest)})


def save_checkpoint(
    run_dir: Path, step: int, model: Mapping[str, Tensor], optim: Mapping[str, Tensor], state: dict[str, Any]
) -> int:
    """Commit the checkpoint of `step` by one rank, wait for it, and return its size; see `Saver.begin`."""
    saver = Saver(run_dir)
    try:
        saver.begin(step, model, optim, state)
        saved = saver.finish()
    finally:
        saver.close()
    assert saved is not None
    return saved.bytes


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def retain_newest(run_dir: Path, num_kept: int) -> None:
    """Remove all but the newest `num_kept` checkpoints, at least two, so that a damaged one leaves another."""
    for _, path in list_checkpoints(run_dir)[max(2, num_kept) :]:
        remove_folder(path)
