"""A GGUF file to start from, as llama.cpp has them: its model's settings, its tensors, and its tokenizer's files.

Only architectures whose every key is understood; the package `gguf` reads the file. No torch.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from headwater.core.errors import ConfigError
from headwater.export.base.gguf_header import HEAD_DIM_KEYS, TensorPlace, read_header
from headwater.model.names import (
    ARCHITECTURES,
    CONTROL,
    PRE_TOKENIZERS,
    ROLES,
    UNUSED,
    USER_DEFINED,
    settings_names,
)
from headwater.model.settings import ModelSettings
from headwater.tokens.tokenizer.foreign import table_of

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
