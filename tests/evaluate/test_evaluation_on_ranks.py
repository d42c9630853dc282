"""Ranks divide what is evaluated, and each gets what one rank alone has, to the last bit, by as many forward passes."""

from __future__ import annotations

from math import ceil
from pathlib import Path

from many_ranks import on_ranks

PROGRAM = f"""
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from types import SimpleNamespace
import numpy as np
import torch
from headwater.corpus.samples.almanac.probes import Choice
from headwater.evaluate import scorer as module
from headwater.evaluate.bits_per_byte import measure_surprise
from headwater.evaluate.cloze import score_choices
from headwater.evaluate.generate import generate
from headwater.evaluate.scorer import Scorer
from headwater.model.init import initialise_
from headwater.model.transformer import Transformer
from headwater.machine.ranks.exchange import Ranks
from tiny_run import VOCAB_SIZE, MadeUpRows, plan

module.BATCH_TOKENS = 32  # several batches
model = Transformer(plan().model)
initialise_(model, 5)
with torch.no_grad():
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
token_bytes = np.arange(VOCAB_SIZE) % 4  # some tokens are no bytes
computed = []

def forward(*inputs):
    computed.append(1)
    return model.hidden(*inputs)

tokenizer = SimpleNamespace(begin_id=0, end_id=1, encode=lambda text: [ord(each) % VOCAB_SIZE for each in text],
    encode_many=lambda texts: [tokenizer.encode(text) for text in texts], token_bytes=lambda token: b"%d " % token)
choices = [Choice("which" * (n % 3), ("abc", "bd", "c" * n), n % 3, "x") for n in range(1, 20)]

def surprise(scorer):
    found = measure_surprise(scorer, (MadeUpRows().rows(3 * number, 3) for number in range(7)), token_bytes)
    return [found.nats.hex(), found.num_bytes, found.num_targets]

MEASURES = [
    surprise,
    lambda scorer: score_choices(scorer, tokenizer, choices),
    lambda scorer: generate(scorer, tokenizer, "some text", 9),
    lambda scorer: measure_surprise(scorer, [], token_bytes).num_bytes,
]

def measure(of_ranks):
    found = []
    for each in MEASURES:
        computed.clear()
        found.append([each(Scorer(model, of_ranks, forward)), len(computed)])
    return found

print(json.dumps([measure(Ranks()), measure(ranks)]))
"""


def test_each_rank_gets_what_one_rank_has_to_the_last_bit_by_as_many_passes_as_the_others(tmp_path):
    """Three processes import torch and meet: that is what takes its seconds."""
    found = on_ranks(3, PROGRAM, tmp_path)
    alone = found[0][0]
    assert [each[0] for each in found] == [alone] * 3
    for of_rank in (each[1] for each in found):
        assert [value for value, _ in of_rank] == [value for value, _ in alone]
        assert [passes for _, passes in of_rank] == [passes for _, passes in found[0][1]]
    assert found[0][1][0][1] == ceil(7 / 3)
    assert found[0][1][1][1] < alone[1][1], "choices are divided"
