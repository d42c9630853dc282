"""Read a token store through memory maps, checked as a whole when it is opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import StoreError
from headwater.files import digest_bytes, digest_json, json_bytes, read_manifest_or_none
from headwater.seals import read_manifest, read_sealed_manifest
from headwater.tokens.format import (
    BLOCK_BYTES,
    DATA_FILES,
    REBUILD,
    STORE_FORMAT,
    STORE_VERSION,
    TOKENS_FORMAT,
    TOKENS_UNSEALED_VERSION,
    TOKENS_VERSION,
    block_sums,
    manifest_digest,
)
from headwater.tokens.manifest import wrong_in


class TokenStore:
    """The token ids of one source: `num_tokens` ids, document d in [starts[d], starts[d + 1])."""

    def __init__(self, folder: Path) -> None:
        """Open the store and read it through; raise StoreError that names what is damaged."""
        self._open(folder)
        self.verify()
        self._check_contents()

    @classmethod
    def without_verifying(cls, folder: Path) -> TokenStore:
        """Open a store without reading it through, for one that another rank of this machine has verified."""
        store = cls.__new__(cls)
        store._open(folder)
        return store

    def _open(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder, STORE_FORMAT, STORE_VERSION, StoreError)
        written = (folder / "manifest.json").read_bytes()
        if manifest_digest(self.manifest) != self.manifest.get("digest") or written != json_bytes(self.manifest):
            raise StoreError(f"{folder / 'manifest.json'} was altered after it was written; {REBUILD}")
        wrong = wrong_in(self.manifest)
        if wrong is not None:
            raise StoreError(f"{folder / 'manifest.json'} describes no store: {wrong} can't be; {REBUILD}")
        self.digest: str = self.manifest["digest"]
        self.tokenizer_digest: str = self.manifest["tokenizer"]
        self.vocab_size: int = self.manifest["vocab_size"]
        self.pad_id: int = self.manifest["pad_id"]
        self.num_tokens: int = self.manifest["num_tokens"]
        self.num_documents: int = self.manifest["num_documents"]
        self.num_bytes: int = self.manifest["num_bytes"]
        self._check_sizes()
        shards = self.manifest["shards"]
        self._shards = [self._map(shard["name"], "bin", np.dtype(self.manifest["dtype"])) for shard in shards]
        self._shard_starts = np.concatenate([[0], np.cumsum([len(tokens) for tokens in self._shards])]).astype(np.int64)
        offsets = [self._map(shard["name"], "off", np.dtype("<u8")) for shard in shards]
        shifted = [part[:-1] + np.uint64(start) for part, start in zip(offsets, self._shard_starts[:-1], strict=True)]
        self.starts = np.concatenate([*shifted, [self.num_tokens]]).astype(np.uint64)

    def _map(self, name: str, kind: str, dtype: np.dtype) -> np.ndarray:
        return np.memmap(self.folder / f"{name}.{kind}", dtype=dtype, mode="r").view(np.ndarray)

    def _check_sizes(self) -> None:
        for path, facts in self._files():
            found = path.stat().st_size if path.is_file() else None
            if found != facts["bytes"]:
                what = "is missing" if found is None else f"has {found} bytes where {facts['bytes']} were written"
                raise StoreError(f"{path} {what}; {REBUILD}")

    def _files(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for shard in self.manifest["shards"]:
            for kind, facts in shard["files"].items():
                yield self.folder / f"{shard['name']}.{kind}", facts

    def verify(self) -> None:
        """Compare every block of 1 MiB with its checksum; raise StoreError naming the file, block and offset."""
        self._check_sizes()
        for shard in self.manifest["shards"]:
            name = shard["name"]
            sum_path = self.folder / f"{name}.sum"
            if digest_bytes(sum_path.read_bytes()) != shard["files"]["sum"]["digest"]:
                raise StoreError(f"{sum_path} is damaged: its SHA-256 is not the one in the manifest; {REBUILD}")
            expected = self._map(name, "sum", np.dtype("<u8"))
            first = 0
            for kind in DATA_FILES:
                found = block_sums(self._map(name, kind, np.dtype("u1")).data)
                _compare(self.folder / f"{name}.{kind}", found, expected[first : first + len(found)])
                first += len(found)

    def _check_contents(self) -> None:
        # a store that was written wrong has right checksums
        for shard, tokens in zip(self.manifest["shards"], self._shards, strict=True):
            if tokens.max(initial=0) >= self.vocab_size:
                raise StoreError(f"{self.folder / shard['name']}.bin holds ids outside {self.vocab_size}; {REBUILD}")
        starts = self.starts
        if starts[0] or np.any(starts[:-1] >= starts[1:]) or len(starts) != self.num_documents + 1:
            raise StoreError(f"the document starts of {self.folder} don't rise; {REBUILD}")

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Return tokens [start, stop); they may lie in several shards."""
        return self.gather(np.arange(start, stop))

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """Return the ids at these positions as int32; raise StoreError for an id outside the vocabulary."""
        if len(self._shards) == 1:
            ids = self._shards[0][positions].astype(np.int32)
        else:
            ids = np.empty(positions.shape, dtype=np.int32)
            shard_of = np.searchsorted(self._shard_starts, positions, side="right") - 1
            for shard in np.unique(shard_of):
                chosen = shard_of == shard
                ids[chosen] = self._shards[shard][positions[chosen] - self._shard_starts[shard]]
        # the map shows what is on the disk now, which may have changed since it was verified
        if ids.size and not 0 <= ids.min() <= ids.max() < self.vocab_size:
            place = int(positions[(ids < 0) | (ids >= self.vocab_size)][0])
            raise StoreError(f"token {place} of {self.folder} is outside the vocabulary {self.vocab_size}; {REBUILD}")
        return ids

    @property
    def document_lengths(self) -> np.ndarray:
        """int64 (num_documents,): tokens of each document, begin and end included."""
        return np.diff(self.starts.astype(np.int64))

    @cached_property
    def document_bytes(self) -> np.ndarray:
        """uint64 (num_documents,): UTF-8 bytes of each document's text."""
        parts = [self._map(shard["name"], "len", np.dtype("<u8")) for shard in self.manifest["shards"]]
        return np.concatenate([np.empty(0, dtype=np.uint64), *parts])

    @cached_property
    def document_ids(self) -> list[str]:
        """The corpus id of each document."""
        return [name for shard in self.manifest["shards"] for name in self._ids_of(shard)]

    def _ids_of(self, shard: dict[str, Any]) -> list[str]:
        path = self.folder / f"{shard['name']}.ids"
        try:
            names = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        except (OSError, ValueError, RecursionError):
            names = []
        if len(names) != shard["num_documents"] or not all(isinstance(name, str) for name in names):
            raise StoreError(f"{path} doesn't hold the ids of {shard['num_documents']} documents; {REBUILD}")
        return names


def _compare(path: Path, found: np.ndarray, expected: np.ndarray) -> None:
    if len(found) != len(expected):
        raise StoreError(f"{path} has {len(found)} blocks and {len(expected)} checksums; {REBUILD}")
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        block = int(wrong[0])
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise StoreError(
            f"{path} is damaged: block {block}{more} (1 MiB at byte offset {block * BLOCK_BYTES}) doesn't match its "
            f"checksum; {REBUILD}"
        )


def open_stores(tokens_dir: Path, split: str) -> dict[str, TokenStore]:
    """Return the verified store of every source that has a document in `split` ("train" or "validation")."""
    return {name: TokenStore(folder) for name, folder in _store_folders(tokens_dir, split).items()}


def open_stores_without_verifying(tokens_dir: Path, split: str) -> dict[str, TokenStore]:
    """Return what `open_stores` does, where another rank of this machine has verified the stores."""
    return {name: TokenStore.without_verifying(folder) for name, folder in _store_folders(tokens_dir, split).items()}


def _store_folders(tokens_dir: Path, split: str) -> dict[str, Path]:
    manifest = read_sealed_manifest(tokens_dir, TOKENS_FORMAT, TOKENS_VERSION, StoreError, TOKENS_UNSEALED_VERSION)
    if digest_json(manifest.get("splits")) != manifest.get("digest"):
        raise StoreError(f"{tokens_dir / 'manifest.json'} was altered after it was written; {REBUILD}")
    folders = {}
    for name, facts in _sources(tokens_dir, manifest, split).items():
        folder = tokens_dir / split / name
        # a store that is whole but of another build would pass its own checks
        if read_manifest_or_none(folder).get("digest") != facts["digest"]:
            raise StoreError(f"{folder} is not the store that {tokens_dir / 'manifest.json'} lists; {REBUILD}")
        if facts["num_documents"]:
            folders[name] = folder
    return folders


def _sources(tokens_dir: Path, manifest: dict[str, Any], split: str) -> dict[str, Any]:
    """Return what the manifest over all stores says of each source of a split, checked."""
    splits = manifest.get("splits")
    sources = splits.get(split, {}) if isinstance(splits, dict) else None
    if not isinstance(sources, dict) or not all(_is_source(name, facts) for name, facts in sources.items()):
        raise StoreError(f"{tokens_dir / 'manifest.json'} describes no stores; {REBUILD}")
    return sources


def _is_source(name: str, facts: Any) -> bool:
    is_plain = Path(name).name == name and name not in ("", "..")  # a folder in this one, not anywhere else
    return is_plain and isinstance(facts, dict) and {"digest", "num_documents"} <= facts.keys()
