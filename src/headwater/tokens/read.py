"""Read a token store through memory maps; one that wasn't verified before is read through when it is opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from headwater.core.errors import StoreError
from headwater.core.files import digest_bytes, json_bytes, read_manifest_or_none
from headwater.core.manifests import manifest_as_written, read_sealed_manifest, require_format
from headwater.tokens.format import (
    BLOCK_BYTES,
    REBUILD,
    STORE_FORMAT,
    STORE_VERSION,
    TARGETS_FILE,
    TOKENS_FORMAT,
    TOKENS_VERSION,
    data_files,
    manifest_digest,
    wrong_in,
)


class TokenStore:
    """The token ids of one source: `num_tokens` ids, document d in [starts[d], starts[d + 1])."""

    def __init__(self, folder: Path, listed: str | None = None) -> None:
        """Open the store and read each of its files through, once; raise StoreError that names what is damaged.

        `listed` is the digest that the manifest over all stores says of it.
        """
        self._open(folder, listed)
        self.starts = self._starts(self._verified_offsets)

    @classmethod
    def without_verifying(cls, folder: Path, listed: str | None = None) -> TokenStore:
        """Open a store that was verified before; of its files only the sizes are compared."""
        store = cls.__new__(cls)
        store._open(folder, listed)
        return store

    def _open(self, folder: Path, listed: str | None) -> None:
        self.folder = folder
        self.manifest, written = manifest_as_written(folder)
        # one that is whole but of another build would pass its own checks
        if listed not in (None, self.manifest.get("digest")):
            raise _not_listed(folder)
        require_format(self.manifest, folder, STORE_FORMAT, STORE_VERSION, StoreError)
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
        self.has_targets = any("num_targets" in shard for shard in shards)
        "Whether some of its tokens aren't learned: those of a conversation that the assistant doesn't say."
        self._targets = [self._map(shard["name"], TARGETS_FILE, np.dtype("u1")) for shard in shards if self.has_targets]
        self._shard_starts = _sums([len(tokens) for tokens in self._shards])
        self._first_documents = _sums([shard["num_documents"] for shard in shards])
        self._name_ends = dict[int, np.ndarray]()

    @property
    def num_targets(self) -> int:
        """How many tokens are predicted and learned when each is seen once."""
        if not self.has_targets:
            return self.num_tokens - self.num_documents
        return sum(shard["num_targets"] for shard in self.manifest["shards"])

    @cached_property
    def starts(self) -> np.ndarray:
        """The token at which each document starts, and the number of all tokens, (num_documents + 1,) int64."""
        return self._starts(self._offsets)

    def _starts(self, offsets_of: Callable[[dict[str, Any]], np.ndarray]) -> np.ndarray:
        places = zip(self.manifest["shards"], self._shard_starts[:-1], strict=True)
        offsets = [offsets_of(shard)[:-1] + first for shard, first in places]
        starts = np.concatenate([*offsets, [self.num_tokens]]).astype(np.int64)
        if starts[0] or np.any(starts[:-1] >= starts[1:]) or len(starts) != self.num_documents + 1:
            raise StoreError(f"the document starts of {self.folder} don't rise; {REBUILD}")
        return starts

    def _path(self, shard: dict[str, Any], kind: str) -> Path:
        return self.folder / f"{shard['name']}.{kind}"

    def _map(self, name: str, kind: str, dtype: np.dtype) -> np.ndarray:
        return np.memmap(self.folder / f"{name}.{kind}", dtype=dtype, mode="r").view(np.ndarray)

    def _check_sizes(self) -> None:
        for shard in self.manifest["shards"]:
            for kind, facts in shard["files"].items():
                path = self._path(shard, kind)
                found = path.stat().st_size if path.is_file() else None
                if found != facts["bytes"]:
                    what = "is missing" if found is None else f"has {found} bytes where {facts['bytes']} were written"
                    raise StoreError(f"{path} {what}; {REBUILD}")

    def _offsets(self, shard: dict[str, Any]) -> np.ndarray:
        return np.fromfile(self._path(shard, "off"), dtype="<u8").astype(np.int64)

    def _verified_offsets(self, shard: dict[str, Any]) -> np.ndarray:
        """Compare every block of 1 MiB of a shard with its checksum, and every id with the vocabulary."""
        sum_path = self._path(shard, "sum")
        sums = sum_path.read_bytes()
        if digest_bytes(sums) != shard["files"]["sum"]["digest"]:
            raise StoreError(f"{sum_path} is damaged: its SHA-256 is not the one in the manifest; {REBUILD}")
        expected, first = np.frombuffer(sums, dtype="<u8"), 0
        dtype, largest, offsets = np.dtype(self.manifest["dtype"]), 0, bytearray()
        for kind in data_files(shard["files"]):
            found = []
            for block in _blocks(self._path(shard, kind)):
                found.append(xxhash.xxh3_64_intdigest(block))
                if kind == "bin":
                    largest = max(largest, int(np.frombuffer(block, dtype).max()))
                elif kind == "off":
                    offsets += block
            _compare(self._path(shard, kind), found, expected[first : first + len(found)])
            first += len(found)
        if largest >= self.vocab_size:  # a store that was written wrong has right checksums
            raise StoreError(f"{self._path(shard, 'bin')} holds ids outside {self.vocab_size}; {REBUILD}")
        return np.frombuffer(offsets, dtype="<u8").astype(np.int64)

    def slice(self, start: int, stop: int) -> np.ndarray:
        """Return tokens [start, stop); they may lie in several shards."""
        return self.gather(np.arange(start, stop))

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """Return the ids at these positions as int32; raise StoreError for an id outside the vocabulary."""
        if len(self._shards) == 1:
            ids = self._shards[0][positions].astype(np.int32)
        else:
            ids = np.empty(positions.shape, dtype=np.int32)
            for shard, chosen, places in self._by_shard(positions):
                ids[chosen] = self._shards[shard][places]
        # the map shows what is on the disk now, which may have changed since it was verified
        if ids.size and not 0 <= ids.min() <= ids.max() < self.vocab_size:
            place = int(positions[(ids < 0) | (ids >= self.vocab_size)][0])
            raise StoreError(f"token {place} of {self.folder} is outside the vocabulary {self.vocab_size}; {REBUILD}")
        return ids

    def are_targets(self, positions: np.ndarray) -> np.ndarray:
        """Return, for each of these positions, whether its token is learned; of a store that `has_targets`."""
        found = np.empty(positions.shape, dtype=bool)
        for shard, chosen, places in self._by_shard(positions):
            found[chosen] = self._targets[shard][places >> 3] >> (places & 7) & 1
        return found

    def _by_shard(self, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield each shard that some positions are in, which of them those are, and their places in it."""
        shard_of = np.searchsorted(self._shard_starts, positions, side="right") - 1
        for shard in np.unique(shard_of).tolist():
            chosen = shard_of == shard
            yield shard, chosen, positions[chosen] - self._shard_starts[shard]

    def document_id(self, number: int) -> str:
        """Return the corpus id of a document; the ids of all would take many times the memory of `starts`."""
        shard_number = int(np.searchsorted(self._first_documents, number, side="right")) - 1
        shard = self.manifest["shards"][shard_number]
        lines = self._map(shard["name"], "ids", np.dtype("u1"))
        if shard_number not in self._name_ends:
            self._name_ends[shard_number] = np.concatenate([[-1], np.flatnonzero(lines == ord("\n"))])
        ends, at = self._name_ends[shard_number], number - int(self._first_documents[shard_number])
        try:
            if len(ends) == shard["num_documents"] + 1:
                name = json.loads(lines[ends[at] + 1 : ends[at + 1]].tobytes())
                if isinstance(name, str):
                    return name
        except (ValueError, RecursionError):
            pass
        path = self._path(shard, "ids")
        raise StoreError(f"{path} doesn't hold the ids of {shard['num_documents']} documents; {REBUILD}")


def _sums(counts: Sequence[int]) -> np.ndarray:
    """Return 0 and the sums of the first 1, 2, … counts."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _blocks(path: Path) -> Iterator[memoryview]:
    """Yield every block of 1 MiB of a file, the last one shorter; each is overwritten by the next."""
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with open(path, "rb") as file:
        while num_bytes := file.readinto(buffer):
            yield buffer[:num_bytes]


def _compare(path: Path, found: list[int], expected: np.ndarray) -> None:
    wrong = np.flatnonzero(np.array(found, dtype="<u8") != expected)
    if len(wrong):
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise StoreError(
            f"{path} is damaged: block {wrong[0]}{more} (1 MiB at byte offset {int(wrong[0]) * BLOCK_BYTES}) doesn't "
            f"match its checksum; {REBUILD}"
        )


def open_stores(tokens_dir: Path, split: str, manifest: dict[str, Any] | None = None) -> dict[str, TokenStore]:
    """Return the verified store of every source that has a document in `split` ("train" or "validation")."""
    listed = _store_folders(manifest or read_tokens_manifest(tokens_dir), tokens_dir, split)
    return {name: TokenStore(*each) for name, each in listed.items()}


def open_stores_without_verifying(
    tokens_dir: Path, split: str, manifest: dict[str, Any] | None = None
) -> dict[str, TokenStore]:
    """Return what `open_stores` does, where the stores were verified before."""
    listed = _store_folders(manifest or read_tokens_manifest(tokens_dir), tokens_dir, split)
    return {name: TokenStore.without_verifying(*each) for name, each in listed.items()}


def read_tokens_manifest(tokens_dir: Path) -> dict[str, Any]:
    """Return the manifest over all stores; raise StoreError where it isn't as it was written."""
    return read_sealed_manifest(tokens_dir, TOKENS_FORMAT, TOKENS_VERSION, StoreError)


def _store_folders(manifest: dict[str, Any], tokens_dir: Path, split: str) -> dict[str, tuple[Path, str]]:
    """Return the folder and the digest of every store that has a document, as the manifest over all lists them."""
    folders = {}
    for name, facts in _sources(tokens_dir, manifest, split).items():
        folder = tokens_dir / split / name
        if facts["num_documents"]:
            folders[name] = folder, facts["digest"]
        elif read_manifest_or_none(folder).get("digest") != facts["digest"]:
            raise _not_listed(folder)
    return folders


def _not_listed(folder: Path) -> StoreError:
    return StoreError(f"{folder} is not the store that {folder.parents[1] / 'manifest.json'} lists; {REBUILD}")


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
