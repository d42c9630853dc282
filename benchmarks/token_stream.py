"""Any text to the tokens that every contender trains on: a token store, and the same ids as one flat array.

tokenizer/     byte-level BPE trained on the text
store/         headwater's token store
stream.npy     the ids of the store one after the other, uint16 or uint32: what the peers' loaders read
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import TokenizerError
from headwater.corpus.document import Document
from headwater.tokens.tokenizer.settings import MIN_VOCAB_SIZE, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer
from headwater.tokens.write import EncodedDocument, write_store

STORE = "store"
MAX_TEXT_BYTES = 12_000_000
DOCUMENTS_AT_A_TIME = 256
LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}


def read_text(path: Path | None) -> list[str]:
    """Return the documents to train on: the text of `path`, else the running Python's own library sources."""
    if path is not None:
        return [path.read_text(encoding="utf-8", errors="replace")]
    library = Path(sysconfig.get_paths()["stdlib"])
    documents, num_bytes = [], 0
    for file in sorted(library.rglob("*.py")):
        if num_bytes >= MAX_TEXT_BYTES or LEFT_OUT & set(file.relative_to(library).parts):
            continue
        documents.append(file.read_text(encoding="utf-8", errors="replace"))
        num_bytes += len(documents[-1].encode())
    return documents


def encode_documents(tokenizer: Tokenizer, documents: list[Document]) -> Iterator[EncodedDocument]:
    """Yield the encoded documents in their order, some of them encoded together so that all cores have work."""
    for first in range(0, len(documents), DOCUMENTS_AT_A_TIME):
        group = documents[first : first + DOCUMENTS_AT_A_TIME]
        encoded = tokenizer.encode_arrays([document.text for document in group])
        for document, ids in zip(group, encoded, strict=True):
            yield EncodedDocument(ids, len(document.text.encode()), document.id)


def write_tokens(texts: list[str], vocab_size: int, out_dir: Path) -> dict[str, Any]:
    """Write the folder described above, unless it is there, and return {num_tokens, vocab_size}.

    A text too short to fill `vocab_size` gets the largest half, quarter, … of it that it fills: the models keep the
    full width of their heads, and the ids above are never seen.
    """
    stream = out_dir / "stream.npy"
    if not stream.exists():
        tokenizer = _tokenizer(texts, vocab_size, out_dir / "tokenizer")
        documents = [Document(text, "text", str(number), "benchmark", "text") for number, text in enumerate(texts)]
        write_store(out_dir / STORE, encode_documents(tokenizer, documents), vocab_size, tokenizer.digest)
        shards = sorted((out_dir / STORE).glob("*.bin"))
        dtype = "<u2" if vocab_size <= 1 << 16 else "<u4"
        np.save(stream, np.concatenate([np.fromfile(shard, dtype=dtype) for shard in shards]))
    found = Tokenizer.load(out_dir / "tokenizer").vocab_size
    return {"num_tokens": len(np.load(stream, mmap_mode="r")), "vocab_size": found}


def _tokenizer(texts: list[str], vocab_size: int, out_dir: Path) -> Tokenizer:
    size = vocab_size
    while True:
        try:
            settings = TokenizerSettings(vocab_size=size)
            train_tokenizer({"text": texts}, settings, out_dir, key=f"benchmark-{size}", say=lambda line: None)
            return Tokenizer.load(out_dir)
        except TokenizerError:
            if size == MIN_VOCAB_SIZE:
                raise
            size = max(MIN_VOCAB_SIZE, size // 2)


def windows(tokens_dir: Path, rows: int, seq_len: int) -> Iterator[np.ndarray]:
    """Yield (rows, seq_len + 1) int64 windows of the stream from random places, for ever, as nanoGPT's loader does."""
    stream = np.load(tokens_dir / "stream.npy", mmap_mode="r")
    last_start = len(stream) - seq_len - 1
    if last_start < 0:
        raise ValueError(f"the text has {len(stream)} tokens and a row takes {seq_len + 1}; give more text")
    generator = np.random.default_rng(1)
    while True:
        starts = generator.integers(0, last_start + 1, size=rows)
        yield np.stack([stream[start : start + seq_len + 1] for start in starts]).astype(np.int64)
