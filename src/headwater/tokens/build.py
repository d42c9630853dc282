"""Encode a corpus: one store for every split and source."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.conversations import messages_of
from headwater.core.errors import StoreError
from headwater.core.files import create, digest_json, new_folder, no_check, read_manifest_or_none, write_json
from headwater.core.manifests import seal
from headwater.core.numbers import duration, plural, size
from headwater.core.task_output import begin_work, end_work
from headwater.corpus.document import Document
from headwater.corpus.engine.progress import SECONDS_BETWEEN_LINES
from headwater.corpus.load import SPLITS, list_sources, read_corpus_manifest, read_documents
from headwater.corpus.sources.settings import CONVERSATIONS, REPLAYED
from headwater.tokens.format import BLOCK_BYTES, COUNTS, MAX_SHARD_TOKENS, TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.read import open_stores
from headwater.tokens.tokenizer.conversation import render
from headwater.tokens.tokenizer.tokenizer import Tokenizer, in_groups
from headwater.tokens.work import LAYOUT, SourceWork
from headwater.tokens.write import EncodedDocument, checked, shards_of, write_manifest

_BATCH_CHARS = 4_000_000


@dataclass(frozen=True)
class Replayed:
    """The tokens of another run that are read again beside a run's own.

    By their names here: the weight of each store, and those whose text a program composed.
    """

    tokens_dir: Path
    weights: dict[str, float]
    synthetic: list[str]


def build_tokens(
    corpus_dir: Path,
    tokenizer: Tokenizer,
    out_dir: Path,
    key: str,
    say: Callable[[str], None],
    before_commit: Callable[[], None] = no_check,
    replayed: Replayed | None = None,
) -> dict[str, Any]:
    """Write the stores of every split and source of the corpus and return the manifest over all of them.

    What a build of the same key that was interrupted had encoded is not encoded again. `before_commit` may raise before
    anything is written or replaced. Stores that are `replayed` are verified and copied: a second name for a file would
    change the first one's times. Raises StoreError where they are of another tokenizer.
    """
    corpus = read_corpus_manifest(corpus_dir)
    sizes = corpus["splits"]
    every = [(split, source) for split in SPLITS for source in sorted(list_sources(corpus_dir))]
    total_bytes = sum(sizes[split][source]["bytes"] for split, source in every)
    say(f"encoding {size(total_bytes)}")
    progress = TokensProgress(total_bytes, say)
    work_dir = begin_work(out_dir, key, f"{LAYOUT}-{MAX_SHARD_TOKENS}")
    works = {(split, source): SourceWork(work_dir / split / source, before_commit) for split, source in every}
    shards = {}
    for split, source in every:
        texts = _Texts(corpus_dir, split, source, sizes[split][source])
        shards[split, source] = _encoded(texts, tokenizer, works[split, source], progress)
        of_both = sum(sizes[each][source]["documents"] for each in SPLITS)
        is_cut = split != "train" and of_both > corpus["sources"][source]["kept"]["documents"]
        say(_summary(split, source, shards[split, source], is_cut))
    for place, work in works.items():
        work.flush_shards(len(shards[place]))  # by itself: a shard that can't be flushed must not be found again
    with new_folder(out_dir, replace=True, before_commit=before_commit) as folder:
        splits: dict[str, dict[str, Any]] = {split: {} for split in SPLITS}
        for (split, source), work in works.items():
            store_dir = folder / split / source
            entries, names = shards[split, source], (tokenizer.vocab_size, tokenizer.digest)
            store = write_manifest(store_dir, entries, *names, tokenizer.markers)
            work.share_shards(len(shards[split, source]), store_dir)
            splits[split][source] = _facts(store)
        again = {} if replayed is None else _copy_replayed(replayed, tokenizer, folder, splits)
        manifest = {
            "format": TOKENS_FORMAT,
            "format_version": TOKENS_VERSION,
            "key": key,
            "digest": digest_json(splits),
            "tokenizer": tokenizer.digest,
            "vocab_size": tokenizer.vocab_size,
            "splits": splits,
            **again,
        }
        write_json(folder / "manifest.json", seal(manifest))
    end_work(out_dir)
    return manifest


def _copy_replayed(
    replayed: Replayed, tokenizer: Tokenizer, folder: Path, splits: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Copy the stores of another run and add them to `splits`; return what the manifest says of it."""
    for split in SPLITS:
        stores = open_stores(replayed.tokens_dir, split)
        for name in replayed.weights:
            store = stores.get(name.removeprefix(REPLAYED))
            if store is None:  # none of its documents is in this split
                continue
            if store.tokenizer_digest != tokenizer.digest:
                raise StoreError(f"{store.folder} is of another tokenizer, so that its text can't be replayed")
            for path in sorted(store.folder.iterdir()):
                with open(path, "rb") as file, create(folder / split / name / path.name) as copy:
                    shutil.copyfileobj(file, copy, BLOCK_BYTES)
            splits[split][name] = _facts(store.manifest)
    digest = read_manifest_or_none(replayed.tokens_dir)["digest"]
    return {"replayed": {"digest": digest, "weights": replayed.weights, "synthetic": replayed.synthetic}}


@dataclass(frozen=True)
class _Texts:
    """The documents of one split of one source; `size` is what the corpus says of them: documents and bytes."""

    corpus_dir: Path
    split: str
    source: str
    size: dict[str, int]

    def batches(self, start: int) -> Iterator[list[Document]]:
        """Yield the documents from number `start` on; where none is left nothing is read."""
        if start < self.size["documents"]:
            documents = read_documents(self.corpus_dir, self.split, self.source, start)
            yield from in_groups(documents, lambda document: len(document.text), _BATCH_CHARS)


def _encoded(texts: _Texts, tokenizer: Tokenizer, work: SourceWork, progress: TokensProgress) -> list[dict[str, Any]]:
    """Write the shards that are missing, and return the entries of all, which hold all of the texts."""
    done = work.shards()
    start = sum(shard["num_documents"] for shard in done)
    progress.was_done(sum(shard["num_bytes"] for shard in done))
    documents = _documents(texts, start, tokenizer, work, progress)
    for number, group in enumerate(shards_of(documents, MAX_SHARD_TOKENS), len(done)):
        work.write_shard(number, group, tokenizer.vocab_size, tokenizer.markers)
        start += len(group)
        del group  # it maps the pieces, whose room on the disk is free when nothing does
        work.forget_pieces(start)
    shards = work.shards()
    found = {"documents": sum(shard["num_documents"] for shard in shards), "bytes": sum(s["num_bytes"] for s in shards)}
    if found != texts.size:
        raise StoreError(
            f"of {texts.split} {texts.source} {found} were encoded, where the corpus has {texts.size}; the corpus or "
            "the work beside the tokens was changed meanwhile: give the same command again"
        )
    return shards


def _documents(
    texts: _Texts, start: int, tokenizer: Tokenizer, work: SourceWork, progress: TokensProgress
) -> Iterator[EncodedDocument]:
    """Yield the encoded documents from number `start` on; a piece is kept on disk before it is yielded."""
    for piece in work.pieces():
        if piece.first <= start < piece.end:
            documents = list(piece.documents(start))
            progress.was_done(sum(document.num_bytes for document in documents))
            yield from documents
            del documents
            start = piece.end
        # of the others, those before are in a shard, and those behind come after one that was damaged
    for batch in texts.batches(start):
        encoded = list(checked(_encode_batch(tokenizer, batch), tokenizer.vocab_size))
        piece = work.write_piece(start, encoded)
        progress.done(sum(document.num_bytes for document in encoded))
        del encoded  # what the piece gives is on the disk
        yield from piece.documents(start)
        start = piece.end


def _encode_batch(tokenizer: Tokenizer, batch: list[Document]) -> Iterator[EncodedDocument]:
    """Yield the ids of documents, of which all or none are conversations."""
    encoded: list[tuple[np.ndarray, np.ndarray | None]]
    if batch[0].kind == CONVERSATIONS:
        conversations = render(tokenizer, [messages_of(document.text) for document in batch])
        encoded = [(each.ids, each.is_target) for each in conversations]
    else:
        encoded = [(ids, None) for ids in tokenizer.encode_arrays([document.text for document in batch])]
    for document, (ids, is_target) in zip(batch, encoded, strict=True):
        yield EncodedDocument(ids, len(document.text.encode()), document.id, is_target)


def _facts(store: dict[str, Any]) -> dict[str, Any]:
    # the ids that stand for text: begin and end carry no byte
    num_text_tokens = store["num_tokens"] - 2 * store["num_documents"]
    targets = sum(shard.get("num_targets", 0) for shard in store["shards"])
    return {
        "digest": store["digest"],
        "num_documents": store["num_documents"],
        "num_tokens": store["num_tokens"],
        "num_bytes": store["num_bytes"],
        # the bytes of a conversation are those of JSON
        "bytes_per_token": round(store["num_bytes"] / num_text_tokens, 4) if num_text_tokens and not targets else None,
        **({"num_targets": targets} if targets else {}),
    }


def _summary(split: str, source: str, shards: list[dict[str, Any]], is_cut: bool) -> str:
    """Return what was encoded; `is_cut`: of a document whose beginning is in another split."""
    num_documents, num_tokens, num_bytes = (sum(shard[name] for shard in shards) for name in COUNTS)
    rate = num_bytes / max(num_tokens - 2 * num_documents, 1)
    documents = "the end of one of them" if is_cut else plural(num_documents, "document")
    return f"{split} {source}: {documents}, {num_tokens:,} tokens, {rate:.2f} bytes a token"


class TokensProgress:
    """Counts the bytes of the texts that are encoded, of `total_bytes`, and says how far it is every ten seconds."""

    def __init__(
        self, total_bytes: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total_bytes = total_bytes
        self._before = self._here = 0
        self._say, self._clock = say, clock
        self._started_at = self._last_line_at = clock()

    def was_done(self, num_bytes: int) -> None:
        """Count what an earlier process encoded."""
        self._before += num_bytes

    def done(self, num_bytes: int) -> None:
        self._here += num_bytes
        now = self._clock()
        left = self._total_bytes - self._before - self._here
        if now - self._last_line_at < SECONDS_BETWEEN_LINES or left <= 0:
            return
        self._last_line_at = now
        rate = self._here / (now - self._started_at)
        self._say(
            f"encoding: {(self._before + self._here) / 1e6:,.0f} of {self._total_bytes / 1e6:,.0f} MB, "
            f"{rate / 1e6:.1f} MB/s, {duration(left / rate)} to go"
        )
