"""What a token's hidden state may depend on, and how positions enter it. Parity with transformers: tests/export.

B batch · T time · D model width · H heads · K head width
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import random_model, small_settings

from headwater.model.rotary import rotary_table, rotate
from headwater.model.settings import ModelSettings
from headwater.model.transformer import RMSNorm

FAMILIES = ["qwen3", "llama", "gpt2"]
VOCAB_SIZE, SEQ_LEN = 31, 24


MODELS = {family: random_model(family=family, vocab_size=VOCAB_SIZE, seq_len=SEQ_LEN) for family in FAMILIES}


@st.composite
def rows(draw):
    """Return (tokens, documents, position): a packed row and a place in it."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    documents = [number for number, length in enumerate(lengths) for _ in range(length)][:SEQ_LEN]
    tokens = draw(st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=len(documents), max_size=len(documents)))
    return tokens, documents, draw(st.integers(0, len(documents) - 1))


@pytest.mark.parametrize("family", FAMILIES)
@given(row=rows(), shift=st.integers(1, VOCAB_SIZE - 1))
@settings(max_examples=25)
def test_a_state_depends_on_earlier_tokens_of_its_document_and_on_no_other(family, row, shift):
    tokens, documents, position = row
    changed = [(token + shift) % VOCAB_SIZE if place == position else token for place, token in enumerate(tokens)]
    tokens_BT, documents_BT = torch.tensor([tokens, changed]), torch.tensor([documents, documents])
    with torch.no_grad():
        before_TD, after_TD = MODELS[family].hidden(tokens_BT, documents_BT)
    for place, document in enumerate(documents):
        same = torch.allclose(before_TD[place], after_TD[place], rtol=1e-5, atol=1e-5)
        may_see = place >= position and document == documents[position]
        assert same != may_see, (
            f"token {place} of document {document}, changed token {position} of {documents[position]}"
        )


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@given(row=rows())
@settings(max_examples=25)
def test_a_document_reads_the_same_packed_or_alone(family, row):
    """Rotary positions count within the row, yet only differences matter, so packing changes nothing."""
    tokens, documents, position = row
    here = [place for place, document in enumerate(documents) if document == documents[position]]
    with torch.no_grad():
        packed_TD = MODELS[family].hidden(torch.tensor([tokens]), torch.tensor([documents]))[0, here]
        alone_TD = MODELS[family].hidden(torch.tensor([[tokens[place] for place in here]]), torch.zeros(1, len(here)))[
            0
        ]
    torch.testing.assert_close(packed_TD, alone_TD, rtol=1e-3, atol=1e-4)


# ---- rotary positions


def table_settings(**shape) -> ModelSettings:
    return small_settings(num_heads=1, num_kv_heads=1, seq_len=9, **shape)


def test_the_rotary_table_is_cosines_and_sines_of_position_times_frequency():
    table_2TP = rotary_table(table_settings(rope_theta=500.0), 9)
    assert table_2TP.shape == (2, 9, 4)
    for position in range(9):
        for pair in range(4):
            angle = position * 500.0 ** (-2 * pair / 8)
            assert float(table_2TP[0, position, pair]) == pytest.approx(math.cos(angle), abs=1e-6)
            assert float(table_2TP[1, position, pair]) == pytest.approx(math.sin(angle), abs=1e-6)


def test_rotation_turns_channel_i_with_channel_i_plus_half():
    table_2TP = rotary_table(table_settings(), 3)
    x_BTHK = torch.zeros(1, 3, 1, 8)
    x_BTHK[..., 1] = 1.0
    turned = rotate(x_BTHK, table_2TP)[0, 2, 0]
    angle = 2 * 10000.0 ** (-2 * 1 / 8)
    expected = torch.zeros(8)
    expected[1], expected[5] = math.cos(angle), math.sin(angle)
    torch.testing.assert_close(turned, expected)


def test_rms_norm_is_torchs():
    ours, theirs = RMSNorm(16, 1e-6), torch.nn.RMSNorm(16, 1e-6)
    weight = torch.randn(16)
    with torch.no_grad():
        ours.weight.copy_(weight)
        theirs.weight.copy_(weight)
    x = 3 * torch.randn(5, 16)
    torch.testing.assert_close(ours(x), theirs(x))
