"""Small models and tokenizers for tests that need scores, and no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer

SMALL = {"vocab_size": 320, "num_layers": 2, "d_model": 32, "d_ff": 64, "seq_len": 64}
HEADS = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 8}


def small_settings(**changed: Any) -> ModelSettings:
    heads = HEADS | ({"num_kv_heads": 4} if changed.get("family") == "gpt2" else {})
    return ModelSettings.model_validate(SMALL | heads | changed)


def random_model(std: float = 0.3, seed: int = 0, **settings: Any) -> Transformer:
    """Return a model with weights so large that every parameter, and the positions, change its scores visibly."""
    model = Transformer(small_settings(**settings))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm.weight" in name else 0.0, std, generator=generator)
    return model.eval()


def logits_of(model: Transformer, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Return the logits of rows of one document each."""
    with torch.inference_mode():
        return model.logits(model.hidden(tokens_BT, torch.zeros_like(tokens_BT)))


def trained_tokenizer(folder: Path, text: str, vocab_size: int = 320) -> Tokenizer:
    """Train a tokenizer of headwater's own on a text, into a folder that isn't there yet."""
    train_tokenizer({"text": [text]}, TokenizerSettings(vocab_size=vocab_size), folder, "key", lambda line: None)
    return Tokenizer.load(folder)
