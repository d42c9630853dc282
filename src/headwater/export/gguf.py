"""A GGUF file, as llama.cpp and the programs around it open: weights, tokenizer, chat template and ends in one.

Written here and not by the package `gguf`, which opens the file itself: so it is committed like every other, and an
export needs no package. What llama.cpp would compute otherwise is refused in words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.core import files
from headwater.core.errors import ExportError
from headwater.core.files import read_json
from headwater.export.base.gguf import HEAD_DIM_KEYS, Value, padding, written_header
from headwater.export.hf import (
    CHAT_TEMPLATE,
    load_tokenizer,
    made_of,
    parameters_of,
    require_ours,
    template_beginning_with,
)
from headwater.model.names import (
    CONTROL,
    NORMAL,
    PRE_TOKENIZERS,
    UNUSED,
    USER_DEFINED,
    architecture,
    rules,
    settings_names,
    their_shapes,
)
from headwater.model.rotary import attention_factor, frequencies
from headwater.model.settings import ModelSettings, RopeScaling
from headwater.tokens.tokenizer.conversation import END
from headwater.tokens.tokenizer.foreign import chat_template
from headwater.tokens.tokenizer.tokenizer import Tokenizer

BLOCK = 32
_Q8_0 = np.dtype([("scale", "<f2"), ("values", "i1", BLOCK)])
_Q4_0 = np.dtype([("scale", "<f2"), ("pairs", "u1", BLOCK // 2)])
FORMAT, FORMAT_VERSION = "headwater-export-gguf", 1
ROWS_AT_A_TIME = 4096
MAX_F16, MAX_F32 = 65504.0, 3.3e38
FREQUENCIES = "rope_freqs.weight"
_YARN_READ = {"rope_type", "factor", "original_max_position_embeddings"}
_MAX_NAMED = 4


def q8_0(rows: np.ndarray) -> np.ndarray:
    """Return float32 rows, whose length is a multiple of 32, in 8 bits a value; the largest of a block becomes 127."""
    blocks = rows.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1) / np.float32(127)
    scaled = blocks * _inverse(scale)[:, None]
    whole = np.trunc(scaled)
    found = np.empty(len(blocks), dtype=_Q8_0)
    found["scale"] = scale
    found["values"] = whole + np.trunc(2 * (scaled - whole))  # halves away from 0, as C rounds
    return found


def q4_0(rows: np.ndarray) -> np.ndarray:
    """Return float32 rows, whose length is a multiple of 32, in 4 bits a value; the furthest from 0 becomes -8."""
    blocks = rows.reshape(-1, BLOCK)
    furthest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)[:, 0]
    scale = furthest / np.float32(-8)
    values = np.minimum(blocks * _inverse(scale)[:, None] + np.float32(8.5), 15).astype(np.uint8)
    found = np.empty(len(blocks), dtype=_Q4_0)
    found["scale"] = scale
    found["pairs"] = values[:, : BLOCK // 2] | values[:, BLOCK // 2 :] << 4  # the second half in the high bits
    return found


def _inverse(scale: np.ndarray) -> np.ndarray:
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)


@dataclass(frozen=True)
class NumberFormat:
    """How a matrix is written: its number, that of files that mostly have it, its blocks, and the most it can hold."""

    number: int
    file_type: int
    block_values: int
    block_bytes: int
    max_value: float
    encode: Callable[[Tensor], Any]

    def num_bytes(self, shape: tuple[int, ...]) -> int:
        return prod(shape) // self.block_values * self.block_bytes


FORMATS = {
    "f32": NumberFormat(0, 0, 1, 4, MAX_F32, lambda rows: rows.numpy()),
    "f16": NumberFormat(1, 1, 1, 2, MAX_F16, lambda rows: rows.half().numpy()),
    "bf16": NumberFormat(30, 32, 1, 2, MAX_F32, lambda rows: rows.bfloat16().view(torch.int16).numpy()),
    "q8_0": NumberFormat(8, 7, BLOCK, 34, 127 * MAX_F16, lambda rows: q8_0(rows.numpy())),
    "q4_0": NumberFormat(2, 2, BLOCK, 18, 8 * MAX_F16, lambda rows: q4_0(rows.numpy())),
}


def export_gguf(
    state: Mapping[str, Tensor],
    model: ModelSettings,
    tokenizer_dir: Path,
    out_dir: Path,
    *,
    type: str,
    name: str,
    key: str = "",
    is_tuned: bool = False,
) -> None:
    """Write NAME-TYPE.gguf, with matrices in number format `type`, and a Modelfile for ollama into a folder.

    `state` has every parameter, looked up once, when it is written. Norms, biases, positions and rope's factors are
    in float32. The folder appears complete or not at all, and replaces an earlier export only.
    Raises ExportError where llama.cpp would compute something else, and as `export_hf` does.
    """
    require_ours(out_dir, FORMAT)
    rule_of = {rule.theirs: rule for rule in rules(model, "llama.cpp")}
    parameter = parameters_of(state, model, rule_of.values())
    shapes = their_shapes(model, rule_of.values()) | _frequency_shape(model)
    formats = {each: FORMATS[type if _is_matrix(each, shape) else "f32"] for each, shape in shapes.items()}
    _require_exact(model, type, {each: shapes[each] for each, format in formats.items() if format == FORMATS[type]})
    tokenizer = tokenizer_keys(tokenizer_dir, model.vocab_size, is_tuned)
    keys = {"general.name": name, "general.file_type": FORMATS[type].file_type, **_keys(model), **tokenizer}
    with files.new_folder(out_dir, replace=True) as folder:
        path = folder / f"{name}-{type}.gguf"
        with files.DigestedFile(path) as file:
            tensors = {
                each: (shapes[each], format.number, format.num_bytes(shapes[each])) for each, format in formats.items()
            }
            file.write(written_header(keys, tensors))
            for each, format in formats.items():
                # without a name, so that one tensor is in memory at a time
                _write_tensor(
                    file, each, _factors(model) if each == FREQUENCIES else made_of(rule_of[each], parameter), format
                )
        files.write_text(folder / "Modelfile", modelfile(path.name, model, tokenizer, is_tuned))
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "key": key, "files": {path.name: file.digest}}
        files.write_json(folder / "manifest.json", manifest)


def _is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and not name.startswith("position_embd.")


def _write_tensor(file: files.DigestedFile, name: str, value: Tensor, format: NumberFormat) -> None:
    start = file.num_bytes
    for rows in value.float().contiguous().split(ROWS_AT_A_TIME):
        if not rows.abs().max() <= format.max_value:
            raise ExportError(f"{name} holds NaN or numbers above {format.max_value:,.0f}, which its format can't")
        file.write(memoryview(format.encode(rows)).cast("B"))
    file.write(padding(file.num_bytes - start))


def _require_exact(model: ModelSettings, type: str, matrices: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ExportError that says what llama.cpp would compute otherwise, or can't read."""
    theirs, scaling, problems = architecture(model), model.rope_scaling, list[str]()
    if model.sliding_window is not None and model.sliding_window < model.num_positions:
        problems.append(f"sliding_window={model.sliding_window}, and llama.cpp's {theirs} sees all tokens")
    if theirs == "qwen2" and model.num_heads * model.head_dim != model.d_model:
        problems.append(f"num_heads × head_dim must be d_model={model.d_model} in llama.cpp's qwen2")
    if scaling is not None and scaling.rope_type == "llama3" and theirs != "llama":
        problems.append(f"rope_scaling.rope_type=llama3, which llama.cpp's {theirs} has no table for")
    if scaling is not None and scaling.rope_type == "yarn":
        usual = RopeScaling.model_validate(scaling.model_dump(include=_YARN_READ))
        same = model.model_copy(update={"rope_scaling": usual})
        if not torch.allclose(frequencies(model), frequencies(same), rtol=1e-6, atol=0):
            problems.append("rope_scaling has betas, or limits between pairs, that llama.cpp doesn't read")
    size = FORMATS[type].block_values
    problems += [f"rows of {name} have {shape[-1]} values" for name, shape in matrices.items() if shape[-1] % size]
    if problems:
        more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        multiple = f" (rows are multiples of {size} there)" if size > 1 else ""
        raise ExportError(f"this model can't be a {type} file{multiple}: {'; '.join(problems[:_MAX_NAMED])}{more}")


def _keys(model: ModelSettings) -> dict[str, Value]:
    """Return what llama.cpp has to know of the model's shape."""
    its: dict[str, Value] = {}
    for ours, key in settings_names("llama.cpp", model.family).items():
        its |= dict.fromkeys([key, *HEAD_DIM_KEYS] if ours == "head_dim" else [key], getattr(model, ours))
    if model.rope_scaling is not None and model.rope_scaling.rope_type == "yarn":
        its |= _yarn_keys(model.rope_scaling)
    general: dict[str, Value] = {"general.architecture": architecture(model), "general.type": "model"}
    general["general.quantization_version"] = 2
    return {**general, **{f"{architecture(model)}.{key}": value for key, value in its.items()}}


def _yarn_keys(scaling: RopeScaling) -> dict[str, Value]:
    usual = attention_factor(scaling.model_copy(update={"attention_factor": None}))
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": scaling.factor,
        "rope.scaling.original_context_length": scaling.original_max_position_embeddings,
        "rope.scaling.attn_factor": attention_factor(scaling) / usual,  # multiplies the usual one there
    }


def _frequency_shape(model: ModelSettings) -> dict[str, tuple[int, ...]]:
    is_llama3 = model.rope_scaling is not None and model.rope_scaling.rope_type == "llama3"
    return {FREQUENCIES: (model.head_dim // 2,)} if is_llama3 else {}


def _factors(model: ModelSettings) -> Tensor:
    """Return what llama.cpp divides the plain frequencies by."""
    return frequencies(model.model_copy(update={"rope_scaling": None})) / frequencies(model)


_CHATML = """\
{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
_PLAIN = "{{ .Prompt }}"
_MODELFILE = '''\
# ollama create {name} -f Modelfile
FROM ./{file}
PARAMETER num_ctx {context}
{stops}TEMPLATE """{template}"""
'''


def tokenizer_keys(folder: Path, vocab_size: int, is_tuned: bool) -> dict[str, Any]:
    """Return the keys of a GGUF file that make llama.cpp read text as this tokenizer does, from the begin token on.

    Raises ExportError where it can't, or where the tokenizer has ids that the model has no row for.
    """
    tokenizer = load_tokenizer(folder, vocab_size)
    pattern = tokenizer.foreign.pattern if tokenizer.foreign else "qwen2"
    ignores_merges = tokenizer.foreign is not None and tokenizer.foreign.ignores_merges
    if ignores_merges != (pattern == "llama3"):
        does = "takes a word that is a token whole" if ignores_merges else "merges also a word that is a token"
        raise ExportError(f"{folder} cuts text as {pattern} and {does}; llama.cpp has no such tokenizer")
    table = read_json(folder / "tokenizer.json")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in table["model"]["merges"]]
    tokens, types = [f"[PAD{id}]" for id in range(vocab_size)], [UNUSED] * vocab_size
    for token, id in table["model"]["vocab"].items():
        tokens[id], types[id] = token, NORMAL
    for added in table["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], CONTROL if added["special"] else USER_DEFINED
    begin, end, pad = tokenizer.begin_id, tokenizer.end_id, tokenizer.pad_id
    ids = {"bos": begin, "eos": end, "padding": pad, "eot": _end_of_turn(tokenizer)}
    template = _template(tokenizer, folder, tokens[begin], is_tuned)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": PRE_TOKENIZERS[pattern],
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
        **{f"tokenizer.ggml.{name}_token_id": id for name, id in ids.items() if id is not None},
        "tokenizer.ggml.add_bos_token": True,  # as in training
        **({} if template is None else {"tokenizer.chat_template": template}),
    }


def _end_of_turn(tokenizer: Tokenizer) -> int | None:
    roles = tokenizer.foreign.roles if tokenizer.foreign else {}
    return tokenizer.special.get(END, roles.get("eos_token"))


def _template(tokenizer: Tokenizer, folder: Path, begin: str, is_tuned: bool) -> str | None:
    """Return the template of the export for transformers, without its marks of what is learned, unknown elsewhere.

    None for a model that was tuned on no conversations, nor came from one with a template: readers take it for a chat.
    """
    if is_tuned:
        template = CHAT_TEMPLATE if tokenizer.foreign is None else template_beginning_with(begin)
        return template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    if tokenizer.foreign is None:
        return None
    return chat_template({path.name: path.read_bytes() for path in folder.iterdir()}) or None


def modelfile(file_name: str, model: ModelSettings, tokenizer: Mapping[str, Any], is_tuned: bool) -> str:
    """Return a Modelfile: the context, what ends an answer, and the template; a base's own is for ollama to know."""
    tokens = tokenizer["tokenizer.ggml.tokens"]
    ids = [tokenizer.get(f"tokenizer.ggml.{name}_token_id") for name in ("eot", "eos")]
    stops = "".join(f"PARAMETER stop {json.dumps(tokens[id])}\n" for id in dict.fromkeys(ids) if id is not None)
    template = _CHATML if is_tuned else _PLAIN
    name = file_name.removesuffix(".gguf").lower()
    return _MODELFILE.format(name=name, file=file_name, context=model.num_positions, stops=stops, template=template)
