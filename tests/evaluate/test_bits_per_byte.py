"""Bits per byte, against a count by hand: over made-up rows, and over the text of a real run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_models import random_model

from headwater.evaluate.bits_per_byte import Surprise, measure_surprise
from headwater.evaluate.scorer import Scorer
from headwater.runs.library.shift import batches_of
from headwater.tokens.batches.assemble import Batch

VOCAB_SIZE, SEQ_LEN = 20, 8
TOKEN_BYTES = np.array([0, 0] + [1 + token % 3 for token in range(18)])  # the first two are special


@pytest.fixture(scope="module")
def model():
    return random_model(std=0.5, vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN)


def batch(*, num_rows: int = 4, seed: int = 0) -> Batch:
    """Return rows of two documents each, with special tokens as targets and padding at the end."""
    random = np.random.default_rng(seed)
    tokens_BT = random.integers(0, VOCAB_SIZE, (num_rows, SEQ_LEN), dtype=np.int32)
    targets_BT = random.integers(0, VOCAB_SIZE, (num_rows, SEQ_LEN)).astype(np.int64)
    targets_BT[:, -2:] = -1
    documents_BT = np.repeat([[0, 0, 0, 1, 1, 1, 2, 2]], num_rows, axis=0).astype(np.int32)
    return Batch(tokens_BT, targets_BT, documents_BT, int((targets_BT >= 0).sum()), 0)


@torch.inference_mode()
def by_hand(model, batches: list[Batch]) -> tuple[float, int, int]:
    """Return nats, bytes and targets, one document of one row at a time."""
    nats, num_bytes, num_targets = 0.0, 0, 0
    for one in batches:
        for tokens_T, targets_T, documents_T in zip(one.tokens_BT, one.targets_BT, one.documents_BT, strict=True):
            for document in np.unique(documents_T):
                here = documents_T == document
                ids = torch.from_numpy(tokens_T[here].astype(np.int64))[None]
                logits = model.logits(model.hidden(ids, torch.zeros_like(ids))[0])
                log_p = torch.log_softmax(logits.double(), dim=-1)
                for place, target in enumerate(targets_T[here]):
                    if target >= 0 and TOKEN_BYTES[target] > 0:
                        nats -= float(log_p[place, target])
                        num_bytes += int(TOKEN_BYTES[target])
                        num_targets += 1
    return nats, num_bytes, num_targets


def test_surprise_is_that_of_a_count_by_hand(model):
    batches = [batch(seed=0), batch(seed=1, num_rows=2)]
    found = measure_surprise(Scorer(model), batches, TOKEN_BYTES)
    nats, num_bytes, num_targets = by_hand(model, batches)
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert (found.num_bytes, found.num_targets) == (num_bytes, num_targets)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)
    assert found.loss == pytest.approx(nats / num_targets, rel=1e-5)


@torch.inference_mode()
def test_the_evaluation_of_a_run_is_a_count_by_hand_over_its_held_out_text(finished):
    """From the text alone: no token store, no packing, no padding, no batches."""
    from headwater.corpus.load import read_documents
    from headwater.runfile.run_config import config_of_run
    from headwater.runs.loading import load_model

    model, tokenizer = load_model(finished.run_dir)
    nats, num_bytes, seq_len = 0.0, 0, config_of_run(finished.run_dir).model.seq_len
    for document in read_documents(finished.run_dir / "data/corpus", "validation", "mine"):
        num_bytes += len(document.text.encode())
        ids = [tokenizer.begin_id, *tokenizer.encode(document.text)]
        # a long document is read in chunks of seq_len, each without what came before it
        for start in range(0, len(ids) - 1, seq_len):
            row = torch.tensor([ids[start : start + seq_len + 1]])
            x_BTD = model.hidden(row[:, :-1], torch.zeros_like(row[:, :-1]))
            log_p = torch.log_softmax(model.logits(x_BTD[0]).double(), dim=-1)
            nats -= float(log_p.gather(1, row[0, 1:, None]).sum())
    kept = json.loads((finished.run_dir / "evaluation.json").read_text())
    assert kept["bits_per_byte"]["all"] == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)
    assert kept["bits_per_byte_real_text"] == kept["bits_per_byte"]["all"]


@given(st.lists(st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=2 * SEQ_LEN), min_size=1, max_size=90))
def test_the_distance_of_a_text_from_a_base_is_that_of_its_rows_one_by_one(model, rows):
    scorer, expected = Scorer(model), Surprise()
    for row in (row[:SEQ_LEN] for row in rows if len(row) > 1):
        num_bytes = TOKEN_BYTES[row[1:]]
        nats = scorer.target_losses(row)[num_bytes > 0].sum()
        expected += Surprise(nats, int(num_bytes.sum()), int((num_bytes > 0).sum()))
    found = measure_surprise(scorer, batches_of(scorer, rows, TOKEN_BYTES), TOKEN_BYTES)
    assert (found.num_bytes, found.num_targets) == (expected.num_bytes, expected.num_targets)
    assert found.nats == pytest.approx(expected.nats, rel=1e-5)
