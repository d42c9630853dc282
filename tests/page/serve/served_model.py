"""A small model with weights, its engine and its application."""

from __future__ import annotations

import torch

from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer
from headwater.page.serve.engine import Engine
from headwater.tokens.tokenizer.tokenizer import Tokenizer

TEXT = "The river starts at its headwater, and the sea is where the river ends. Größe, 河, ש. "
SEQ_LEN = 64


def small_model(tokenizer: Tokenizer) -> Transformer:
    settings = ModelSettings(
        vocab_size=tokenizer.vocab_size, num_layers=2, d_model=32, d_ff=48, num_heads=4, num_kv_heads=2, head_dim=8,
        seq_len=SEQ_LEN,
    )  # fmt: skip
    model = Transformer(settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.3, generator=generator)
    return model


def num_rows(engine: Engine) -> int:
    """Return how many rows are waiting or being continued."""
    return len(engine._waiting) + len(engine._active)
