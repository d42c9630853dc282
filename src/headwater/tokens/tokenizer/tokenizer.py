"""Text to token ids and back: byte-level BPE, exact on every text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

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
from headwater.tokens.tokenizer.pattern import QWEN2_PATTERN, byte_of_character, cut, unlike_ours, without_twins
from headwater.tokens.tokenizer.settings import OWN_MARKERS, SPECIAL_IDS

FORMAT = "headwater-tokenizer"
FORMAT_VERSION = 1
MAX_FILE_BYTES = 256_000_000  # a vocabulary of a million takes a third; what is cut here has another digest
_GROUP_CHARS = 4_000_000
_NFC = tokenizers.normalizers.NFC()


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

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read a tokenizer folder; raise TokenizerError when it is missing, damaged or not of this project."""
        manifest = read_manifest(folder, FORMAT, FORMAT_VERSION, TokenizerError)
        if "pattern" in manifest:
            return cls._load_foreign(folder, manifest)
        path = folder / "tokenizer.json"
        data = _read(path)
        if digest_bytes(data) != manifest.get("digest"):
            raise TokenizerError(f"{path} is not the file its manifest.json describes; train the tokenizer again")
        try:
            text = data.decode()
            unlike = unlike_ours(json.loads(text, object_pairs_hook=without_twins))
            if unlike is not None:
                raise TokenizerError(f"{path} is no tokenizer of headwater's: {unlike}; train one with `headwater run`")
            model = tokenizers.Tokenizer.from_str(text)
            _check_ids(path, model, manifest)
            return cls(model, manifest)
        except (TokenizerError, KeyboardInterrupt):
            raise
        except BaseException as error:  # the library raises a bare Exception, and panics are not even that
            raise TokenizerError(f"{folder} is not a usable tokenizer ({error!r:.200}); train it again") from None

    @classmethod
    def _load_foreign(cls, folder: Path, manifest: dict[str, Any]) -> Tokenizer:
        """Read the tokenizer of a base, whose manifest follows from its files."""
        try:
            files = {name: _read(folder / name) for name in FILES if name in manifest["files"]}
            found = cls.of_files(files, manifest["vocab_size"])
            if found.manifest != {name: value for name, value in manifest.items() if name != "key"}:
                raise TokenizerError("its files are not those that its manifest.json describes")
            found.manifest = manifest
            return found
        except (TokenizerError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise TokenizerError(f"{folder}: {error}") from None
        except BaseException as error:  # as in `load`
            raise TokenizerError(f"{folder} is not a usable tokenizer ({error!r:.200}); copy it again") from None

    @classmethod
    def of_files(cls, files: Mapping[str, bytes], vocab_size: int) -> Tokenizer:
        """Return the tokenizer of a base with these files; raise TokenizerError where it isn't understood."""
        foreign = read_foreign(files, vocab_size)
        try:
            return cls(encoder_of(files, foreign), foreign_manifest(files, vocab_size, foreign), foreign)
        except (TokenizerError, KeyboardInterrupt):
            raise
        except BaseException as error:  # as in `load`
            raise TokenizerError(f"its tokenizer.json is damaged ({error!r:.200})") from None

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without begin or end; never an id of a special token."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: list[str]) -> list[list[int]]:
        return [ids.tolist() for ids in self.encode_arrays(texts)]

    def encode_arrays(self, texts: list[str]) -> list[np.ndarray]:
        """Return the ids of each text as uint32; the work is spread over the cores.

        Raises TokenizerError for a text with a lone surrogate.
        """
        lone_line_ends = self.foreign is not None and self.foreign.pattern in LONE_LINE_ENDS
        parts = [cut(self._normal(text), lone_line_ends=lone_line_ends) for text in texts]
        ids = self._encode_parts([part for each in parts for part in each])
        return [np.concatenate([np.empty(0, dtype=np.uint32), *islice(ids, len(each))]) for each in parts]

    def _normal(self, text: str) -> str:
        if self.foreign is None or not self.foreign.is_nfc or text.isascii() or not _is_unicode(text):
            return text
        return _NFC.normalize_str(text)

    def _encode_parts(self, parts: list[str]) -> Iterator[np.ndarray]:
        # in groups: the library's encoding of a text takes some 100 times the memory of its ids
        for group in _groups(parts, _GROUP_CHARS):
            if self._fast is not None:
                if any(not _is_unicode(part) for part in group):
                    raise _surrogate_error(group)
                yield from self._fast.encode(group)
                continue
            try:
                encodings = self._model.encode_batch_fast(group, add_special_tokens=False)
            except TypeError:
                raise _surrogate_error(group) from None
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
    def _fast(self) -> FastEncoder | None:
        """The faster way to the same ids; None for a vocabulary of which that isn't sure."""
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
        return FastEncoder({self._bytes_by_token[number]: number for number in ids.values()})

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


def _groups(parts: list[str], group_chars: int) -> Iterator[list[str]]:
    group: list[str] = []
    num_chars = 0
    for part in parts:
        group.append(part)
        num_chars += len(part)
        if num_chars >= group_chars:
            yield group
            group, num_chars = [], 0
    if group:
        yield group


def _check_ids(path: Path, model: tokenizers.Tokenizer, manifest: dict[str, Any]) -> None:
    vocabulary = model.get_vocab(with_added_tokens=True)
    size = manifest["vocab_size"]
    if len(vocabulary) != size or set(vocabulary.values()) != set(range(size)):
        raise TokenizerError(f"{path} doesn't number its {len(vocabulary)} tokens from 0 to {size - 1}; train it again")
    if manifest["special"] != SPECIAL_IDS or any(vocabulary.get(name) != token for name, token in SPECIAL_IDS.items()):
        raise TokenizerError(f"{path} has other special tokens than this headwater; train it again")
    bytes_of_text = byte_of_character()
    if not all(character in vocabulary for character in bytes_of_text):
        raise TokenizerError(f"{path} has no token for some byte, so that text would be lost; train it again")
    if any(not bytes_of_text.keys() >= set(token) for token in vocabulary if token not in SPECIAL_IDS):
        raise TokenizerError(f"{path} has a token that stands for no bytes; train it again")


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _surrogate_error(texts: list[str]) -> TokenizerError:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return TokenizerError(f"this text can't be encoded: {error}; it has a lone surrogate, so it isn't Unicode")
    return TokenizerError("only str can be encoded")


class FastEncoder:
    """Encodes by tiktoken, several times as fast as the tokenizers library; see `merges_agree` for when it may."""

    def __init__(self, id_of_bytes: dict[bytes, int]) -> None:
        self._encoding = tiktoken.Encoding(
            "headwater", pat_str=QWEN2_PATTERN, mergeable_ranks=id_of_bytes, special_tokens={}
        )

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text as uint32, by all cores; lone surrogates are the caller's to refuse."""
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(self._encode_one, texts))

    def _encode_one(self, text: str) -> np.ndarray:
        return self._encoding.encode_to_numpy(text, disallowed_special=())


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
