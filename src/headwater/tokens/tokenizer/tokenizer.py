"""Text to token ids and back: byte-level BPE, exact on every text."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tiktoken
import tokenizers

from headwater.core.errors import TokenizerError
from headwater.core.files import digest_bytes
from headwater.core.manifests import read_manifest
from headwater.tokens.tokenizer.foreign import (
    FILES,
    LONE_LINE_ENDS,
    Foreign,
    encoder_of,
    foreign_manifest,
    read_foreign,
)
from headwater.tokens.tokenizer.pattern import QWEN2_PATTERN, byte_of_character, cut
from headwater.tokens.tokenizer.settings import OWN_MARKERS, SPECIAL_IDS

FORMAT = "headwater-tokenizer"
FORMAT_VERSION = 1
MAX_FILE_BYTES = 256_000_000  # a vocabulary of a million takes a third; what is cut here has another digest
_GROUP_CHARS = 4_000_000
_NFC = tokenizers.normalizers.NFC()


Item = TypeVar("Item")


class Tokenizer:
    """A tokenizer; `decode(encode(text)) == text` for every str without lone surrogates.

    One of a base may bring text into Unicode's form NFC before all else, as Qwen's do: then `decode` gives that form.
    And it may have no token for some control characters (`Foreign.lost_bytes`): those are lost.
    """

    def __init__(self, model: tokenizers.Tokenizer, manifest: dict[str, Any], foreign: Foreign | None = None) -> None:
        # text that spells a special token is text: only the program may write one
        model.encode_special_tokens = True
        self._model = model
        self.manifest = manifest
        self.vocab_size: int = manifest["vocab_size"]
        self.digest: str = manifest["digest"]
        self.special: dict[str, int] = dict(manifest["special"])
        self.foreign = foreign
        self.markers = foreign.markers if foreign else OWN_MARKERS
        self.begin_id, self.end_id, self.pad_id = astuple(self.markers)
        self.num_threads = os.cpu_count() or 1

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read a tokenizer folder; raise TokenizerError when it is missing, damaged or not of this project."""
        manifest = read_manifest(folder, FORMAT, FORMAT_VERSION, TokenizerError)
        try:
            if "pattern" in manifest:  # of a base: the manifest follows from its files
                files = {name: _read(folder / name) for name in FILES if name in manifest["files"]}
                found = cls.of_files(files, manifest["vocab_size"])
                if found.manifest != {name: value for name, value in manifest.items() if name != "key"}:
                    raise TokenizerError("its files are not those that its manifest.json describes")
            else:
                data = _read(folder / "tokenizer.json")
                if digest_bytes(data) != manifest.get("digest"):
                    raise TokenizerError("tokenizer.json is not the file that its manifest.json describes")
                found = cls.of_files({"tokenizer.json": data}, manifest["vocab_size"])
                _require_own(found, manifest)
                return cls(found._model, manifest)
            found.manifest = manifest
            return found
        except (TokenizerError, LookupError, TypeError, ValueError) as error:
            again = "copy it again" if "pattern" in manifest else "train it again"
            raise TokenizerError(f"{folder} holds no usable tokenizer: {error}; {again}") from None

    @classmethod
    def of_files(cls, files: Mapping[str, bytes], vocab_size: int) -> Tokenizer:
        """Return the tokenizer of a base with these files; raise TokenizerError where it isn't understood."""
        foreign = read_foreign(files, vocab_size)
        try:
            return cls(encoder_of(files, foreign), foreign_manifest(files, vocab_size, foreign), foreign)
        except (TokenizerError, KeyboardInterrupt):
            raise
        except BaseException as error:  # the library raises a bare Exception, and panics are not even that
            raise TokenizerError(f"its tokenizer.json is damaged ({error!r:.200})") from None

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without begin or end; never an id of a special token."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        return [ids.tolist() for ids in self.encode_arrays(texts)]

    def encode_arrays(self, texts: list[str]) -> list[np.ndarray]:
        """Return the ids of each text as uint32; the work is spread over `num_threads`.

        Raises TokenizerError for a text with a lone surrogate.
        """
        _require_unicode(texts)
        lone_line_ends = self.foreign is not None and self.foreign.pattern in LONE_LINE_ENDS
        parts = [cut(self._normal(text), lone_line_ends=lone_line_ends) for text in texts]
        ids = self._encode_parts([part for each in parts for part in each])
        return [np.concatenate([np.empty(0, dtype=np.uint32), *islice(ids, len(each))]) for each in parts]

    def _normal(self, text: str) -> str:
        return _NFC.normalize_str(text) if self.foreign is not None and self.foreign.is_nfc else text

    def _encode_parts(self, parts: list[str]) -> Iterator[np.ndarray]:
        # in groups: the library's encoding of a text takes some 100 times the memory of its ids
        for group in in_groups(parts, len, _GROUP_CHARS):
            if self._fast is not None:
                encode = partial(self._fast.encode_to_numpy, disallowed_special=())
                if self.num_threads == 1:
                    yield from map(encode, group)
                    continue
                with ThreadPoolExecutor(self.num_threads) as threads:
                    yield from list(threads.map(encode, group))
            else:
                # the library has no other way to be told of one thread than one text
                for texts in [group] if self.num_threads > 1 else [[part] for part in group]:
                    encodings = self._model.encode_batch_fast(texts, add_special_tokens=False)
                    yield from [np.array(encoding.ids, dtype=np.uint32) for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`; special tokens are skipped, bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self.token_bytes(token) for token in ids)

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes a token stands for: b"" for a special token."""
        if not 0 <= token < self.vocab_size:
            raise TokenizerError(f"token id {token} is outside the vocabulary of {self.vocab_size}")
        return self._bytes_by_token[token]

    def bytes_per_token_table(self) -> np.ndarray:
        """Return int32 (vocab_size,): the bytes of each token, 0 for special tokens."""
        return np.array([len(data) for data in self._bytes_by_token], dtype=np.int32)

    @cached_property
    def _fast(self) -> tiktoken.Encoding | None:
        """The same ids several times as fast; None for a vocabulary of which that isn't sure (`merges_agree`)."""
        table = json.loads(self._model.to_str())["model"]
        merges = [
            (merge[0], merge[1]) for merge in (m.split(" ") if isinstance(m, str) else m for m in table["merges"])
        ]
        ids = {token: number for token, number in table["vocab"].items() if token not in self.special}
        has_own_ways = self.foreign and (
            self.foreign.pattern != "qwen2" or self.foreign.letters or self.foreign.ignores_merges
        )
        if has_own_ways or not merges_agree(ids, merges):
            return None
        ranks = {self._bytes_by_token[number]: number for number in ids.values()}
        return tiktoken.Encoding("headwater", pat_str=QWEN2_PATTERN, mergeable_ranks=ranks, special_tokens={})

    @cached_property
    def _bytes_by_token(self) -> list[bytes]:
        byte_of = byte_of_character()
        table = [b""] * self.vocab_size
        for text, token in self._model.get_vocab(with_added_tokens=True).items():
            if self.foreign is not None and text in self.foreign.letters:
                table[token] = text.encode()
            elif text not in self.special:
                table[token] = bytes(byte_of[character] for character in text)
        return table


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise TokenizerError(f"can't read {path}: {error.strerror}; train the tokenizer again") from None


def _require_unicode(texts: Sequence[str]) -> None:
    for text in texts:
        try:
            text.isascii() or text.encode()
        except UnicodeEncodeError as error:
            raise TokenizerError(
                f"this text can't be encoded: {error}; it has a lone surrogate, so it isn't Unicode"
            ) from None


def in_groups(items: Iterable[Item], size_of: Callable[[Item], int], size: int) -> Iterator[list[Item]]:
    """Yield items in order, each group as soon as its sizes add up to `size`."""
    group, total = list[Item](), 0
    for item in items:
        group.append(item)
        total += size_of(item)
        if total >= size:
            yield group
            group, total = [], 0
    if group:
        yield group


def _require_own(tokenizer: Tokenizer, manifest: dict[str, Any]) -> None:
    """Raise TokenizerError for a tokenizer of other tokens, or of another way to cut text, than headwater trains."""
    found = tokenizer.foreign
    if found is None or found.pattern != "qwen2" or found.is_nfc or found.ignores_merges:
        raise TokenizerError("it cuts text in another way than headwater's own")
    if not found.special == manifest["special"] == SPECIAL_IDS or found.letters:
        raise TokenizerError("it has other special tokens than this headwater")
    vocabulary, characters = tokenizer._model.get_vocab(with_added_tokens=True), byte_of_character().keys()
    if len(vocabulary) != tokenizer.vocab_size or sorted(vocabulary.values()) != [*range(len(vocabulary))]:
        raise TokenizerError(f"it doesn't number its {len(vocabulary)} tokens from 0 to {tokenizer.vocab_size - 1}")
    if not characters <= vocabulary.keys() or any(set(token) - characters for token in vocabulary.keys() - SPECIAL_IDS):
        raise TokenizerError("some byte has no token, or some token no bytes")


def merges_agree(id_of_token: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> bool:
    """Return whether tiktoken gives the ids of the tokenizers library for this vocabulary, a character a byte.

    The library merges the pairs of its list, in the list's order. tiktoken merges any two neighbours whose bytes
    together are a token, the one of the lowest id first. A pair that only tiktoken would merge into a token t stands in
    any text as it would stand in the bytes of t alone, since nothing has been merged across its ends. So when ids
    follow the order of the list, and tiktoken's way through the bytes of each token ends with the pair that the list
    has for it, there is no such pair, and both give the same ids for every text.
    """
    if len(merges) != sum(len(token) > 1 for token in id_of_token):
        return False
    last = -1
    for pair in merges:
        token = id_of_token.get("".join(pair), -1)
        if token <= last or _last_pair("".join(pair), id_of_token) != pair:
            return False
        last = token
    return True


def _last_pair(token: str, id_of_token: Mapping[str, int]) -> tuple[str, ...]:
    """Return the parts from which nothing but the whole is left to be merged, as tiktoken goes."""
    parts = list(token)
    while len(parts) > 2:
        found = [(id_of_token.get(parts[at] + parts[at + 1], -1), at) for at in range(len(parts) - 1)]
        _, at = min(((rank, at) for rank, at in found if rank >= 0), default=(-1, -1))
        if at < 0:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return tuple(parts)
