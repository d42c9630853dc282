"""The two texts as every run sees them: one tokenizer, one stream of training tokens, one held-out stream.

A text is read as headwater reads a file: a document, or sections of at most 100,000 characters cut at paragraph ends.
A stream is its documents in order, each between a begin and an end token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.batches.pack import PackedSource, pack_source
from headwater.corpus.document import Document
from headwater.corpus.read.input import InputFile, Unusable, reason_not_readable
from headwater.corpus.read.text import read_text
from headwater.errors import DataError
from headwater.files import digest_file, digest_json, is_current, read_json, write_json
from headwater.tokenizer.settings import TokenizerSettings
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokenizer.train import train_tokenizer
from headwater.tokens.read import TokenStore
from headwater.tokens.write import write_store
from job import Shape
from token_stream import encode_documents

SECTION_CHARACTERS = 100_000
MIN_HELD_OUT_WINDOWS = 8
MIN_TRAIN_STEPS = 8
MIN_LINE_CHARACTERS = 40  # shorter lines are alike by chance: `return None`, "Chapter 1"
MAX_OVERLAP = 0.3


@dataclass(frozen=True)
class Texts:
    """Prepared texts on disk."""

    folder: Path

    @property
    def facts(self) -> dict[str, Any]:
        return read_json(self.folder / "facts.json")

    def held_out_tokens(self) -> np.ndarray:
        store = TokenStore(self.folder / "held-out")
        return store.slice(0, store.num_tokens)

    def train_rows(self, seq_len: int) -> PackedSource:
        """Return the training stream as headwater packs it."""
        return pack_source(TokenStore(self.folder / "train"), seq_len)

    def token_bytes(self) -> np.ndarray:
        """Return the bytes of each token id, 0 for begin and end."""
        return Tokenizer.load(self.folder / "tokenizer").bytes_per_token_table()


def prepare_texts(train: Path, held_out: Path, shape: Shape, folder: Path, say: Callable[[str], None]) -> Texts:
    """Train the tokenizer on `train`, encode both texts, and return them; nothing is done again in the same folder.

    Raises DataError for a text that is missing, not text, too short for the shape, or that holds the other one.
    """
    for path in (train, held_out):
        if reason := reason_not_readable(path):
            raise DataError(f"{path}: {reason.replace('_', ' ')}; give a text file in UTF-8")
    digests = {"train": digest_file(train), "held_out": digest_file(held_out)}
    key = digest_json({**digests, "vocab_size": shape.vocab_size, "sections": SECTION_CHARACTERS})
    texts = Texts(folder / f"texts-{key.removeprefix('sha256:')[:16]}")
    if not is_current(texts.folder, key):
        _write(texts.folder, key, _documents(train), _documents(held_out), shape, say)
    _require_enough(texts, train, held_out, shape)
    overlap = texts.facts["overlap"]
    if overlap > MAX_OVERLAP:
        raise DataError(
            f"{overlap:.0%} of {held_out} (lines of {MIN_LINE_CHARACTERS} characters or more, by length) occurs in "
            f"{train}: what is held out must not be trained on. Split by whole documents, as benchmarks/texts.py "
            "does"
        )
    return texts


def _documents(path: Path) -> list[Document]:
    try:
        documents = list(read_text(InputFile(path, path.name, "text", "text"), SECTION_CHARACTERS))
    except Unusable as error:
        raise DataError(f"{path}: {error.reason.replace('_', ' ')}; give a text file in UTF-8") from None
    if not documents:
        raise DataError(f"{path} holds no text")
    return documents


def _write(
    folder: Path, key: str, train: list[Document], held_out: list[Document], shape: Shape, say: Callable[[str], None]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = TokenizerSettings(vocab_size=shape.vocab_size)
    texts = {"text": (document.text for document in train)}
    train_tokenizer(texts, settings, folder / "tokenizer", key, say)
    tokenizer = Tokenizer.load(folder / "tokenizer")
    facts: dict[str, Any] = {"overlap": round(overlap_fraction(train, held_out), 4)}
    for name, documents in (("train", train), ("held-out", held_out)):
        encoded = encode_documents(tokenizer, documents)
        store = write_store(folder / name, encoded, tokenizer.vocab_size, tokenizer.digest)
        short = name.replace("-", "_")
        facts |= {f"{short}_{what}": store[f"num_{what}"] for what in ("documents", "tokens", "bytes")}
    write_json(folder / "facts.json", facts)
    write_json(folder / "manifest.json", {"key": key})


def _require_enough(texts: Texts, train: Path, held_out: Path, shape: Shape) -> None:
    facts = texts.facts
    needs = (
        (train, facts["train_tokens"], MIN_TRAIN_STEPS * shape.batch_tokens, f"{MIN_TRAIN_STEPS} steps"),
        (held_out, facts["held_out_tokens"], MIN_HELD_OUT_WINDOWS * shape.seq_len, f"{MIN_HELD_OUT_WINDOWS} windows"),
    )
    for path, found, needed, what in needs:
        if found < needed:
            raise DataError(
                f"{path} is too short: {found:,} tokens, and at least {needed:,} are needed ({what} of this shape); "
                "give more text or a smaller --shape"
            )


def overlap_fraction(train: list[Document], held_out: list[Document]) -> float:
    """Return how much of the held-out text's longer lines, by characters, are lines of the training text."""
    known = {line for document in train for line in _lines(document.text)}
    lines = [line for document in held_out for line in _lines(document.text)]
    total = sum(len(line) for line in lines)
    return sum(len(line) for line in lines if line in known) / total if total else 0.0


def _lines(text: str) -> list[str]:
    return [line for line in map(str.strip, text.splitlines()) if len(line) >= MIN_LINE_CHARACTERS]
