"""A GGUF file to start from, as llama.cpp has them: its model's settings, its tensors, and its tokenizer's files.

Only architectures whose every key is understood. The header is read and written here: the package `gguf`, which decodes
the tensors, takes any length on trust, and a map of the file for each of 100,000 strings: eleven seconds. Nothing that
is read is believed before it is known to fit. No torch.
"""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import ValidationError

from headwater.core.errors import ConfigError
from headwater.model.names import ARCHITECTURES, CONTROL, PRE_TOKENIZERS, ROLES, UNUSED, USER_DEFINED, settings_names
from headwater.model.settings import ModelSettings
from headwater.tokens.tokenizer.foreign import table_of

MAX_STRING = 1 << 24  # bytes: a chat template has thousands
MAX_ITEMS = 8_000_000  # keys, tensors and what lists hold together: tokens, types and merges of a large vocabulary
ALIGNMENT = 32  # bytes, where no key says another
HEAD_DIM_KEYS = ("attention.value_length", "rope.dimension_count")
"Keys that say of our models what attention.key_length does."
Value = bool | int | float | str | list[int] | list[str]
_FORMS = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
_BOOL, _INT, _FLOAT, _SIGNED, _STRING, _ARRAY = 7, 4, 6, 5, 8, 9
_ALIGNMENT = "general.alignment"


@dataclass(frozen=True)
class TensorPlace:
    """A tensor of a file: its sizes, the last one first as in the file; the number of its type; its first byte."""

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True)
class Header:
    keys: dict[str, Any]
    tensors: dict[str, TensorPlace]


def read_header(path: Path) -> Header:
    """Return a file's header; raise ConfigError if it isn't GGUF's, or claims more than the file or a model has."""
    try:
        with open(path, "rb") as file:
            return _Reader(file, path.stat().st_size).header()
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, struct.error) as error:
        raise ConfigError(f"{path} is no whole GGUF file: {error}") from None


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size, self._left = file, size, MAX_ITEMS

    def header(self) -> Header:
        magic, version, num_tensors, num_keys = struct.unpack("<4sIQQ", self._file.read(24))
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("it doesn't begin as one of version 2 or 3, little-endian")
        keys: dict[str, Any] = {}
        for _ in range(self._counted(num_keys)):
            name = self._new(keys)
            (keys[name],) = self._values(self._number("I"), 1)
        places: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(self._counted(num_tensors)):
            name = self._new(places)
            num_sizes = self._counted(self._number("I"))
            shape = struct.unpack(f"<{num_sizes}Q", self._bytes(8 * num_sizes))
            places[name] = shape, self._number("I"), self._number("Q")
        step = keys.get(_ALIGNMENT, ALIGNMENT)
        if not isinstance(step, int) or step < 1:
            raise ValueError(f"its {_ALIGNMENT} is {step!r:.40}")
        first = -(-self._file.tell() // step) * step
        return Header(keys, {name: TensorPlace(sh, kind, first + start) for name, (sh, kind, start) in places.items()})

    def _new(self, known: dict[str, Any]) -> str:
        (name,) = self._values(_STRING, 1)
        if name in known:
            raise ValueError(f"it has {name!r:.100} twice")
        return str(name)

    def _values(self, kind: int, num: int, in_array: bool = False) -> list[Any]:
        if kind == _STRING:
            return [self._bytes(self._number("Q"), MAX_STRING).decode() for _ in range(num)]
        if kind == _ARRAY and not in_array:
            return [self._values(self._number("I"), self._counted(self._number("Q")), in_array=True)]
        if kind not in _FORMS:
            raise ValueError(f"a value is of kind {kind}, which isn't read")
        form = f"<{num}{_FORMS[kind]}"
        return list(struct.unpack(form, self._bytes(struct.calcsize(form))))

    def _counted(self, num: int) -> int:
        self._left -= num
        if self._left < 0:
            raise ValueError(f"keys and lists have more than {MAX_ITEMS:,} values")
        return num

    def _number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self._bytes(struct.calcsize(form)))[0])

    def _bytes(self, num: int, most: float = float("inf")) -> bytes:
        if num > most:
            raise ValueError(f"a text of {num:,} bytes is more than {most:,}")
        if self._file.tell() + num > self._size:
            raise ValueError("it ends within its header")
        return self._file.read(num)


def written_header(keys: Mapping[str, Value], tensors: Mapping[str, tuple[tuple[int, ...], int, int]]) -> bytes:
    """Return all before the tensors, little-endian: version 3; of each tensor (sizes, number of its type, bytes)."""
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))]
    parts += [_string(key) + _typed(value) for key, value in keys.items()]
    offset = 0
    for name, (shape, kind, num_bytes) in tensors.items():
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        parts += [_string(name), sizes, struct.pack("<IQ", kind, offset)]
        offset += num_bytes + len(padding(num_bytes))
    header = b"".join(parts)
    return header + padding(len(header))


def padding(num_bytes: int) -> bytes:
    return b"\0" * (-num_bytes % ALIGNMENT)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _typed(value: Value) -> bytes:
    """Return the number of a value's type, and the value."""
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, list):
        items = [_string(item) if isinstance(item, str) else struct.pack("<i", item) for item in value]
        # whole numbers have a sign here, as types of tokens must; none but merges can be empty, and those are strings
        kind = _SIGNED if value and isinstance(value[0], int) else _STRING
        return struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)
    kind = _BOOL if isinstance(value, bool) else _INT if isinstance(value, int) else _FLOAT
    return struct.pack(f"<I{_FORMS[kind]}", kind, value)


_SIZES = ("num_layers", "d_model", "d_ff", "num_heads", "num_positions")  # which no file lacks
_PATTERN_OF = {pre: pattern for pattern, pre in PRE_TOKENIZERS.items()} | {"llama-v3": "llama3", "llama3": "llama3"}


class GgufFile:
    """A GGUF file that is open: its keys and tensors."""

    def __init__(self, path: Path) -> None:
        """Raise ConfigError where the package is missing, or the file is none of these."""
        self.path = path
        try:
            self._library: Any = importlib.import_module("gguf")
        except ImportError:
            raise ConfigError(f'reading {path.name} needs the package gguf: pip install "headwater[gguf]"') from None
        header = read_header(path)
        self.keys, self.tensors = header.keys, header.tensors

    def get(self, key: str, default: Any = None) -> Any:
        return self.keys.get(key, default)

    def _required(self, key: str) -> Any:
        if (value := self.get(key)) is None:
            raise ConfigError(f"{self.path}: {key} is missing; a whole tokenizer has it")
        return value

    @cached_property
    def settings(self) -> ModelSettings:
        """The model's settings; raises ConfigError that names every key that isn't understood."""
        name = self.get("general.architecture")
        if name not in ARCHITECTURES:
            raise ConfigError(
                f"{self.path}: architecture {name!r} can't be imported; those that can are {', '.join(ARCHITECTURES)}"
            )
        found = {key.removeprefix(f"{name}."): self.get(key) for key in self.keys if key.startswith(f"{name}.")}
        # some writers give GPT-2 the keys of other families, too
        theirs = settings_names("llama.cpp", "llama") | settings_names("llama.cpp", ARCHITECTURES[name])
        known = {*theirs.values(), *HEAD_DIM_KEYS}
        problems = [f"{name}.{key}={found[key]!r:.60} isn't understood" for key in sorted(found.keys() - known)]
        problems += [f"{name}.{theirs[ours]} is missing" for ours in _SIZES if theirs[ours] not in found]
        if (self.get("split.count") or 1) > 1:
            problems.append("it is one of several files; join them with llama-gguf-split --merge")
        if "rope_freqs.weight" in self.tensors:
            problems.append("rope_freqs.weight stretches its positions by a table; start from its Hugging Face folder")
        if "token_embd.weight" not in self.tensors:
            problems.append("token_embd.weight is missing")
        if problems:
            raise ConfigError(f"{self.path} can't be imported, or it would be another model: {'; '.join(problems)}")
        try:
            return self._settings(name, {ours: found[key] for ours, key in theirs.items() if key in found}, found)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise ConfigError(f"{self.path} can't be imported: {'; '.join(problems)}") from None

    def _settings(self, name: str, ours: dict[str, Any], found: Mapping[str, Any]) -> ModelSettings:
        num_positions = ours.pop("num_positions")
        head_dim = ours.setdefault("head_dim", ours["d_model"] // max(1, ours["num_heads"]))
        ours["vocab_size"] = vocab_size = int(self.tensors["token_embd.weight"].shape[1])
        for key, expected in {**dict.fromkeys(HEAD_DIM_KEYS, head_dim), "vocab_size": vocab_size}.items():
            if found.get(key, expected) != expected:
                raise ConfigError(f"{self.path}: {name}.{key}={found[key]}, where {expected} is understood")
        usual = {"rope_theta": 10_000.0, "norm_eps": 1e-6}
        rounded = {each: _shortest(ours.get(each, value)) for each, value in usual.items()}
        return ModelSettings(
            family=ARCHITECTURES[name],
            **{"num_kv_heads": ours["num_heads"], **ours, **rounded},
            seq_len=num_positions,
            max_positions=num_positions,
            attention_bias="blk.0.attn_q.bias" in self.tensors,
            tied_embeddings="output.weight" not in self.tensors,
        )

    def dequantized(self, name: str, rows: slice) -> np.ndarray:
        """Return rows of a tensor in float32; raise ConfigError if the file ends before it or its type isn't known."""
        place = self.tensors[name]
        try:
            kind = self._library.GGMLQuantizationType(place.kind)
            if kind.name == "F32":
                return np.array(self._stored(place, np.float32, 1, 1)[rows])
            if kind.name == "F16":
                return self._stored(place, np.float16, 1, 1)[rows].astype(np.float32)
            stored = self._stored(place, np.uint8, *self._library.GGML_QUANT_SIZES[kind])
            return np.array(self._library.quants.dequantize(stored[rows], kind), dtype=np.float32)
        except (NotImplementedError, OverflowError, ValueError) as error:
            why = f"of type {place.kind}, which the package gguf can't read" if not str(error) else str(error)
            raise ConfigError(f"{self.path}: {name} is damaged or not known: {why:.200}") from None

    def _stored(self, place: TensorPlace, dtype: Any, block_size: int, values_of_block: int) -> np.ndarray:
        *outer, inner = reversed(place.shape)
        if inner % block_size:
            raise ValueError(f"its rows of {inner} aren't whole blocks of {block_size}")
        shape = (*outer, inner // block_size * values_of_block)
        return np.memmap(self.path, dtype, "r", place.start, shape).view(np.ndarray)

    def tokenizer_files(self) -> dict[str, bytes]:
        """Return the tokenizer as files of Hugging Face; raise ConfigError where it is none that is understood."""
        kind, pre = self.get("tokenizer.ggml.model"), self.get("tokenizer.ggml.pre")
        pattern = _PATTERN_OF.get(str(pre))
        if kind != "gpt2" or pattern is None:
            raise ConfigError(
                f"{self.path}: its tokenizer is of kind {kind!r} with pattern {pre!r}; those understood are of kind "
                f"'gpt2' with one of {', '.join(sorted(_PATTERN_OF))}"
            )
        tokens, types, merges = (
            self._required(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type", "merges")
        )
        used = {token: id for id, (token, type) in enumerate(zip(tokens, types, strict=True)) if type != UNUSED}
        added = {token: types[id] for token, id in used.items() if types[id] in (CONTROL, USER_DEFINED)}
        table = table_of(
            used,
            merges,
            {token: kind == CONTROL for token, kind in added.items()},
            pattern,
            ignores_merges=pattern == "llama3",
        )
        ids = {role: self.get(f"tokenizer.ggml.{name}_token_id") for role, name in ROLES.items()}
        config = {role: tokens[id] for role, id in ids.items() if id is not None and 0 <= id < len(tokens)}
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        config |= {"add_bos_token": bool(self.get("tokenizer.ggml.add_bos_token", False))}
        if (template := self.get("tokenizer.chat_template")) is not None:
            config["chat_template"] = template
        files = {"tokenizer.json": table, "tokenizer_config.json": config}
        return {name: json.dumps(content, ensure_ascii=False).encode() for name, content in files.items()}


def _shortest(value: float) -> float:
    """Return the number that was meant: the file holds it rounded to 32 bits."""
    return float(str(np.float32(value)))
