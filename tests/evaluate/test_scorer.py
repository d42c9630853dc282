"""Log-probabilities of continuations, against one row at a time computed from all scores."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from made_models import logits_of, random_model

from headwater.evaluate import scorer as scorer_module
from headwater.evaluate.scorer import Scorer

VOCAB_SIZE, SEQ_LEN = 40, 16


@pytest.fixture(scope="module", params=["qwen3", "llama", "gpt2"])
def model(request):
    num_kv_heads = 4 if request.param == "gpt2" else 2
    return random_model(family=request.param, num_kv_heads=num_kv_heads, vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN)


def tokens(chance: random.Random, at_least: int, at_most: int) -> list[int]:
    return [chance.randrange(VOCAB_SIZE) for _ in range(chance.randint(at_least, at_most))]


@pytest.fixture
def pairs():
    chance = random.Random(1)
    return [(tokens(chance, 1, 8), tokens(chance, 1, 8)) for _ in range(12)]


def one_at_a_time(model, prompt: list[int], rest: list[int]) -> float:
    log_p = logits_of(model, torch.tensor([(prompt + rest)[:-1]]))[0].double().log_softmax(-1)
    places = range(len(prompt) - 1, len(prompt) + len(rest) - 1)
    return float(sum(log_p[place, token] for place, token in zip(places, rest, strict=True)))


@pytest.mark.parametrize("batch_tokens", [4096, 20])
def test_a_continuation_has_the_sum_of_its_tokens_log_probabilities(model, pairs, monkeypatch, batch_tokens):
    monkeypatch.setattr(scorer_module, "BATCH_TOKENS", batch_tokens)
    assert len(Scorer(model).loglikelihood([])) == 0
    expected = [one_at_a_time(model, *pair) for pair in pairs]
    np.testing.assert_allclose(Scorer(model).loglikelihood(pairs), expected, rtol=1e-5, atol=1e-5)


def test_next_log_probabilities_are_those_after_the_last_token(model, pairs):
    prompts = [prompt for prompt, _ in pairs]
    found = Scorer(model).next_log_probabilities(prompts, [range(VOCAB_SIZE)] * len(prompts))
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, rtol=1e-5)
    for row, prompt in zip(found, prompts, strict=True):
        for token in (0, VOCAB_SIZE - 1):
            assert row[token] == pytest.approx(one_at_a_time(model, prompt, [token]), abs=1e-4)
