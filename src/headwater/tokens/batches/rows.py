"""The rows of a run's token stores, a stage on disk that every rank maps; a store is verified once, when it is packed.

RUN/data/rows/
    SPLIT/SOURCE/row_ptr.npy, chunk_start.npy, chunk_len.npy    the arrays of a RowIndex
    manifest.json    written last; the inode, size and times of the last changes of each file here and of each file of
                     the token stores, as they were when the stores were verified

As long as these are the same for all files, none is read again. A file that was touched, copied or put back has others:
then the stage is made again, which verifies the stores. A bit that a disk changes by itself isn't noticed until then,
unless it makes an id that the vocabulary hasn't.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap, write_array

from headwater.core.errors import StoreError
from headwater.core.files import create, new_folder, read_manifest_or_none, stage_key, write_json
from headwater.core.manifests import read_sealed_manifest, seal
from headwater.tokens.batches.pack import PACKING, PackedSource, RowIndex, pack_source
from headwater.tokens.read import open_stores, open_stores_without_verifying, read_tokens_manifest

FORMAT, FORMAT_VERSION = "headwater-rows", 1
SPLITS = ("train", "validation")
ARRAYS = ("row_ptr", "chunk_start", "chunk_len")


def rows_key(tokens_digest: str, seq_len: int) -> str:
    """Return the key of the rows of `seq_len` positions that these tokens are packed into."""
    return stage_key("rows", FORMAT_VERSION, {"seq_len": seq_len, "packing": PACKING}, {"tokens": tokens_digest})


def build_rows(tokens_dir: Path, out_dir: Path, seq_len: int, key: str) -> None:
    """Verify every store of a tokens folder and write the rows of all; raise StoreError for a damaged one."""
    files = dict(_facts_of_files(tokens_dir))
    with new_folder(out_dir, replace=True) as folder:
        for split in SPLITS:
            for name, store in open_stores(tokens_dir, split).items():
                index = pack_source(store, seq_len).index
                for array in ARRAYS:
                    with create(folder / split / name / f"{array}.npy") as file:
                        write_array(file, getattr(index, array), allow_pickle=False)
        if dict(_facts_of_files(tokens_dir)) != files:
            raise StoreError(f"{tokens_dir} was changed while it was verified; give the same command again")
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "key": key,
            "verified": {"tokens": files, "rows": dict(_facts_of_files(folder))},
        }
        write_json(folder / "manifest.json", seal(manifest))


def are_current(rows_dir: Path, tokens_dir: Path, key: str) -> bool:
    """Return whether the rows are those of this key, and all files those that were verified; none is read."""
    try:
        manifest = read_sealed_manifest(rows_dir, FORMAT, FORMAT_VERSION, StoreError)
    except StoreError:
        return False
    if manifest.get("key") != key or "verified" not in manifest:
        return False
    now = {"tokens": dict(_facts_of_files(tokens_dir)), "rows": dict(_facts_of_files(rows_dir))}
    return bool(manifest["verified"] == now)


def _facts_of_files(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield the path of each file below a folder but for its manifest, and what the system says of it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / "manifest.json":
            facts = path.stat()
            numbers = [facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
            yield path.relative_to(folder).as_posix(), numbers


def open_packed(tokens_dir: Path, rows_dir: Path, split: str, seq_len: int) -> dict[str, PackedSource]:
    """Return the rows of each source of a split: mapped where the stage is current, else verified and packed here.

    Raises StoreError for a damaged store.
    """
    manifest = read_tokens_manifest(tokens_dir)
    if not are_current(rows_dir, tokens_dir, rows_key(str(manifest["digest"]), seq_len)):
        return {name: pack_source(store, seq_len) for name, store in open_stores(tokens_dir, split, manifest).items()}
    stores = open_stores_without_verifying(tokens_dir, split, manifest)
    return {name: PackedSource(store, _mapped(rows_dir / split / name, seq_len)) for name, store in stores.items()}


def num_packed(tokens_dir: Path, rows_dir: Path, split: str, seq_len: int) -> dict[str, int]:
    """Return how many rows each source of a split is packed into; {} where the stage isn't current."""
    tokens_digest = str(read_manifest_or_none(tokens_dir).get("digest"))
    if not are_current(rows_dir, tokens_dir, rows_key(tokens_digest, seq_len)):
        return {}
    return {folder.name: _mapped(folder, seq_len).num_rows for folder in sorted((rows_dir / split).glob("*"))}


def _mapped(folder: Path, seq_len: int) -> RowIndex:
    # view: a subclass of ndarray makes every later operation slower
    return RowIndex(seq_len, *(open_memmap(folder / f"{name}.npy", mode="r").view(np.ndarray) for name in ARRAYS))
