"""Scores with kept keys and values are those of a whole pass over each row."""

from __future__ import annotations

import pytest
import torch
from made_models import random_model

from headwater.model.cache import Cache
from headwater.model.settings import RopeScaling
from headwater.model.transformer import Transformer

VOCAB_SIZE, SEQ_LEN = 31, 24
LLAMA3 = RopeScaling(rope_type="llama3", factor=4, original_max_position_embeddings=8)
YARN = RopeScaling(rope_type="yarn", factor=2, original_max_position_embeddings=16)
SHAPES = {
    "qwen3": {},
    "untied": {"tied_embeddings": False},
    "llama with biases": {"family": "llama", "attention_bias": True},
    "llama3's positions": {"family": "llama", "rope_scaling": LLAMA3},
    "yarn's positions in a window": {"family": "llama", "rope_scaling": YARN, "sliding_window": 5},
    "gpt2": {"family": "gpt2"},
}


def whole_pass(model: Transformer, row: list[int]) -> torch.Tensor:
    tokens_BT = torch.tensor([row[-SEQ_LEN:]])
    with torch.no_grad():
        return model.logits(model.hidden(tokens_BT, torch.zeros_like(tokens_BT)))[0, -1]


def random_rows(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, VOCAB_SIZE, (length,), generator=generator).tolist() for length in lengths]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_rows_of_different_lengths_grow_unevenly_and_beyond_seq_len(shape):
    model = random_model(vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN, **shape)
    cache, rows = Cache(model), random_rows(3, 7, 1)
    for number in range(SEQ_LEN + 8):
        found = cache.next_logits_of(rows)
        for index, row in enumerate(rows):
            torch.testing.assert_close(found[index], whole_pass(model, row), rtol=1e-5, atol=1e-4)
            if index != 1 or number % 3:  # one row rests at times
                row += [int(found[index].argmax())] * (1 + (number == 2))  # several tokens at once, too
