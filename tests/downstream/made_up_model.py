"""A tokenizer of bytes and a small model that writes any of them: short answers of random letters."""

from __future__ import annotations

from made_models import random_model

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


def letter_model(seed: int = 0) -> Transformer:
    return random_model(0.15, seed, vocab_size=LetterTokenizer.vocab_size, d_ff=48, seq_len=24)
