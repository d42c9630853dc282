"""What is exported comes back to the bit, as a folder or a GGUF file; what can't is refused and leaves nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from our_models import LLAMA3, SEQ_LEN, SHAPES, TEXTS, gguf, hf, model_like
from their_tokenizers import VOCAB_SIZE as THEIR_VOCAB_SIZE
from their_tokenizers import files_of

from headwater.core.errors import ExportError
from headwater.export.base.facts import facts_of, tokenizer_of
from headwater.export.base.weights import model_of
from headwater.tokens.tokenizer.foreign import write_foreign
from headwater.tokens.tokenizer.tokenizer import Tokenizer

pytest.importorskip("gguf", reason='needs gguf: pip install "headwater[gguf]"')
STRETCHED = {"qwen3-yarn": 4, "llama-yarn": 4, "llama-slow-yarn": 3}
"By how much their positions reach beyond those that they were trained on, which are 32."
NO_GGUF = {  # what llama.cpp computes otherwise, and a word of why
    **dict.fromkeys(("qwen3-window", "qwen2-window", "mistral"), "sliding_window="),
    "llama-slow-yarn": "betas",
    "qwen2": "d_model=32",
}
NOT_READ = {"qwen3-yarn", "llama-yarn", "llama3"}
"What llama.cpp reads (test_gguf.py), and headwater doesn't read again."
WRITE = {"one file": (hf, {}), "numbered files": (hf, {"max_file_bytes": 20_000}), "GGUF": (gguf, {})}


CASES = [(name, how) for name in SHAPES for how in WRITE if how != "GGUF" or name not in {*NO_GGUF, *NOT_READ}]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_what_was_exported_comes_back_to_the_bit(tokenizer_dir, tmp_path, name, how):
    write, options = WRITE[how]
    longest = 32 * STRETCHED[name] if name in STRETCHED else 256 if name in ("llama", "gpt2") else SEQ_LEN
    model = model_like(name, max_positions=longest)
    base = facts_of(str(write(model, tokenizer_dir, tmp_path / "out", **options)))
    assert base.model == model.settings.model_copy(update={"seq_len": longest})
    state, again = model.state_dict(), model_of(base).state_dict()
    assert {key: torch.equal(again[key], value) for key, value in state.items()} == dict.fromkeys(again, True)
    own, theirs = Tokenizer.load(tokenizer_dir), tokenizer_of(base)
    assert theirs.encode_many(TEXTS) == own.encode_many(TEXTS)
    assert (theirs.markers, theirs.special) == (own.markers, own.special)


# ---- what can't be exported


def another_file(folder: Path) -> None:
    """Change a tokenizer and not its manifest."""
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<|pad|>", "<|path|>"))


def whole_words(folder: Path) -> None:
    """Write a public tokenizer that takes words whole, of a pattern that llama.cpp has no such rule for."""
    table = json.loads(files_of("qwen2")["tokenizer.json"])
    table["model"]["ignore_merges"] = True
    shutil.rmtree(folder)
    write_foreign(files_of("qwen2") | {"tokenizer.json": json.dumps(table).encode()}, THEIR_VOCAB_SIZE, folder, "key")


KEY_NORM, UP = "blocks.1.attention.key_norm.weight", "blocks.1.mlp.up.weight"
LOST = {KEY_NORM: None, "blocks.0.mlp.bias": torch.zeros(1)}
Q8_0, F16 = {"type": "q8_0"}, {"type": "f16"}
REFUSED: list[tuple[Any, str, dict[str, Any]]] = [  # by which export, a word of why, and what is changed
    *((write, rf"missing: {KEY_NORM}.*: blocks\.0\.mlp\.bias", {"state": LOST}) for write in (hf, gguf)),
    *((write, r"up.weight is \(63, 32\) .* \(64, 32\)", {"state": {UP: torch.zeros(63, 32)}}) for write in (hf, gguf)),
    (hf, "has 310 tokens and the model has 128", {"model": {"vocab_size": 128}}),
    (hf, "is not the file ", {"tokenizer": another_file}),
    (hf, "tokenizer", {"tokenizer": shutil.rmtree}),
    *((gguf, word, {"name": name}) for name, word in NO_GGUF.items()),
    (gguf, "rope_type=llama3.*qwen3", {"model": {"rope_scaling": LLAMA3}}),
    (gguf, "token_embd.weight have 48", {"model": {"d_model": 48}, "options": Q8_0}),
    (gguf, "blk.1.ffn_up.weight holds .* 65,504", {"state": {UP: torch.full((64, 32), 1e5)}, "options": F16}),
    (gguf, "qwen2 and takes a word", {"tokenizer": whole_words, "model": {"vocab_size": THEIR_VOCAB_SIZE}}),
]


@pytest.mark.parametrize(
    ("write", "word", "change"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_cannot_be_exported_is_refused_and_an_earlier_export_stays(tokenizer_dir, tmp_path, write, word, change):
    options = change.get("options", {})
    write(model_like("qwen3"), tokenizer_dir, tmp_path / "out", **options)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    folder = Path(shutil.copytree(tokenizer_dir, tmp_path / "tokenizer"))
    change.get("tokenizer", lambda folder: None)(folder)
    model = model_like(change.get("name", "qwen3"), **change.get("model", {}))
    state = model.state_dict() | change.get("state", {})
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(ExportError, match=word):
        write(model, folder, tmp_path / "out", state=state, **options)
    shutil.rmtree(folder, ignore_errors=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
