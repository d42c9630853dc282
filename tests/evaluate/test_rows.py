"""Rows of few shapes: what is asked is what was given, and the number of shapes doesn't grow with the lengths."""

from __future__ import annotations

import torch

from headwater.evaluate.scorer import LEAST_TOKENS, PADDING_DOCUMENT, padded_rows
from headwater.model.cache import rounded

CPU = torch.device("cpu")


def test_rows_are_kept_and_the_rest_is_a_document_of_its_own():
    tokens_BT, documents_BT = padded_rows([[5, 6, 7], [8], list(range(40))], 64, CPU)
    assert tokens_BT.shape == documents_BT.shape == (4, 64)
    assert tokens_BT[0, :3].tolist() == [5, 6, 7]
    assert tokens_BT[2, :40].tolist() == list(range(40))
    assert (documents_BT == 0).sum(1).tolist() == [3, 1, 40, 0]
    assert set(documents_BT.unique().tolist()) == {0, PADDING_DOCUMENT}


def test_a_row_too_long_keeps_its_end():
    tokens_BT, _ = padded_rows([list(range(50))], 48, CPU)
    assert tokens_BT.tolist() == [list(range(2, 50))]


def test_prompts_of_every_length_have_few_shapes():
    sizes = [(length, number) for length in range(1, 257) for number in (1, 3)]
    shapes = {padded_rows([[1] * length] * number, 256, CPU)[0].numel() for length, number in sizes}
    assert len(shapes) <= 8
    assert min(shapes) == LEAST_TOKENS


def test_rounding_is_to_powers_of_two():
    assert [rounded(number) for number in (1, 2, 3, 4, 5, 8, 9)] == [1, 2, 4, 4, 8, 8, 16]
    assert rounded(3, 32) == 32
