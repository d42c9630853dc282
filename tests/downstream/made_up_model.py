"""A tokenizer of bytes and a small model that writes any of them: short answers of random letters."""

from __future__ import annotations

import torch

from headwater.model.settings import ModelSettings
from headwater.model.transformer import Transformer

LETTERS = "abcdefgh. "


class LetterTokenizer:
    """Stands for a Tokenizer: ids 0 and 1 begin and end, then one for each of LETTERS."""

    begin_id, end_id, vocab_size = 0, 1, 2 + len(LETTERS)

    def encode(self, text: str) -> list[int]:
        return [2 + LETTERS.index(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(LETTERS[token - 2] for token in ids if token > 1)

    def token_bytes(self, token: int) -> bytes:
        return self.decode([token]).encode()


def random_model(seed: int = 0) -> Transformer:
    model = Transformer(
        ModelSettings(
            vocab_size=LetterTokenizer.vocab_size, num_layers=2, d_model=32, d_ff=48, num_heads=4, num_kv_heads=2,
            head_dim=8, seq_len=24,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.15, generator=generator)
    return model
