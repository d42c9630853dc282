"""What is exported comes back to the bit, as a folder or a GGUF file; what can't is refused and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made_models import logits_of, random_model, trained_tokenizer
from our_models import LLAMA3, QWEN3, SEQ_LEN, SHAPES, TEXTS, TOKENIZER_SIZE, VOCAB_SIZE, gguf, hf, model_like
from their_tokenizers import VOCAB_SIZE as THEIR_VOCAB_SIZE
from their_tokenizers import files_of

from headwater.core.errors import ExportError
from headwater.export.base.facts import facts_of
from headwater.export.base.tokenizer import tokenizer_of
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
WRITE = {
    "one file": (hf, {}),
    "numbered files": (hf, {"max_file_bytes": 20_000}),
    "GGUF": (gguf, {}),
}


@pytest.mark.parametrize("how", WRITE)
@pytest.mark.parametrize("name", SHAPES)
def test_what_was_exported_comes_back_to_the_bit(tokenizer_dir, tmp_path, name, how):
    write, options = WRITE[how]
    if write is gguf and name in {*NO_GGUF, *NOT_READ}:
        return
    longest = 32 * STRETCHED[name] if name in STRETCHED else 256 if name in ("llama", "gpt2") else SEQ_LEN
    model = model_like(name, max_positions=longest)
    base = facts_of(str(write(model, tokenizer_dir, tmp_path / "out", **options)))
    assert base.model == model.settings.model_copy(update={"seq_len": longest})
    state, again = model.state_dict(), model_of(base).state_dict()
    assert {key: torch.equal(again[key], value) for key, value in state.items()} == dict.fromkeys(again, True)
    own, theirs = Tokenizer.load(tokenizer_dir), tokenizer_of(base)
    assert theirs.encode_many(TEXTS) == own.encode_many(TEXTS)
    assert (theirs.markers, theirs.special) == (own.markers, own.special)
