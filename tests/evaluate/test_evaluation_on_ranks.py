"""Ranks divide the held-out batches, and each gets the sum that one rank alone has, to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
from many_ranks import on_ranks

PROGRAM = f"""
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import numpy as np
from headwater.evaluate.bits_per_byte import measure_surprise
from headwater.model.init import initialise_
from headwater.model.transformer import Transformer
from tiny_run import VOCAB_SIZE, MadeUpRows, plan

model = Transformer(plan().model)
initialise_(model, 5)
token_bytes = np.arange(VOCAB_SIZE) % 4  # some tokens are no bytes
computed = []

def forward(*inputs):
    computed.append(1)
    return model.hidden(*inputs)

def measure(*ranks):
    computed.clear()
    batches = (MadeUpRows().rows(3 * number, 3) for number in range(7))
    found = measure_surprise(model, batches, token_bytes, forward, *ranks)
    return [found.nats.hex(), found.num_bytes, found.num_targets], len(computed)

print(json.dumps([measure(), measure(ranks), measure_surprise(model, [], token_bytes, None, ranks).num_bytes]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_sum_over_ranks_is_that_of_one_rank_to_the_last_bit(tmp_path, world_size):
    found = on_ranks(world_size, PROGRAM, tmp_path)
    alone = found[0][0][0]
    assert all(one == [[alone, 7], [alone, number], 0] for one, number in zip(found, shares(world_size), strict=True))


def shares(world_size: int) -> list[int]:
    return [len(range(rank, 7, world_size)) for rank in range(world_size)]
