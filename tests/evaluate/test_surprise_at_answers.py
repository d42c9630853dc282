"""Bits per byte of conversations are of what the assistant says, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from made_models import random_model

from headwater.evaluate.bits_per_byte import measure_surprise
from headwater.evaluate.scorer import Scorer
from headwater.tokens.batches.assemble import sequential_batches
from headwater.tokens.batches.pack import pack_source
from headwater.tokens.read import TokenStore
from headwater.tokens.write import EncodedDocument, write_store

SEQ_LEN, VOCAB_SIZE, NUM_SPECIAL = 24, 64, 32


def test_only_bytes_that_the_assistant_says_are_scored(tmp_path):
    chance = np.random.default_rng(0)
    documents = [
        EncodedDocument(chance.integers(0, VOCAB_SIZE, size), 0, str(size), chance.random(size) < 0.4)
        for size in (5, 9, 20, 23)
    ]
    write_store(tmp_path / "s", documents, VOCAB_SIZE, "t")
    model = random_model(vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN)
    token_bytes = np.where(np.arange(VOCAB_SIZE) < NUM_SPECIAL, 0, np.arange(VOCAB_SIZE) % 5 + 1)
    packed = pack_source(TokenStore(tmp_path / "s"), SEQ_LEN)
    found = measure_surprise(Scorer(model), sequential_batches(packed, 2), token_bytes)

    nats = num_bytes = 0.0
    for document in documents:
        row = [0, *np.asarray(document.ids).tolist()]
        losses = Scorer(model).target_losses(row)
        said = document.is_target & (token_bytes[document.ids] > 0)
        nats, num_bytes = nats + float(losses[said].sum()), num_bytes + int(token_bytes[document.ids][said].sum())
    assert found.num_bytes == num_bytes and found.nats == pytest.approx(nats, rel=1e-5)
