"""Rows cut into two sequences in the first part of a run."""

from __future__ import annotations

import numpy as np
import torch
from tiny_run import SEQ_LEN, MadeUpRows, plan, train_here

from headwater.core.records import read_records
from headwater.model.count import flops_per_token
from headwater.model.init import initialise_
from headwater.model.transformer import Transformer
from headwater.tokens.batches.assemble import Batch


def losses(folder) -> list[float]:
    return [record["loss"] for record in read_records(folder / "records.jsonl", "step")]


class ApartAtTheMiddle(MadeUpRows):
    """The same rows, each with other documents from its middle on: what two sequences are to a relative position."""

    def rows(self, first_row: int, num_rows: int) -> Batch:
        batch = super().rows(first_row, num_rows)
        batch.documents_BT[:, SEQ_LEN // 2 :] += 1000
        return batch


def summed_loss(batch: Batch) -> torch.Tensor:
    model = Transformer(plan().model, torch.float32)
    initialise_(model, 5)
    with torch.no_grad():  # outputs start at 0, and would hide attention
        for block in model.blocks:
            block.attention.out.weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    arrays = batch.tokens_BT, batch.documents_BT, batch.targets_BT
    tokens_BT, documents_BT, targets_BT = (torch.from_numpy(array.copy()).long() for array in arrays)
    return model(tokens_BT, documents_BT, targets_BT).detach()


def test_a_row_is_cut_into_its_two_halves_and_nothing_is_lost():
    whole = MadeUpRows().rows(3, 2)
    cut = whole.cut(2)
    for name in ("tokens_BT", "targets_BT", "documents_BT"):
        before, after = getattr(whole, name), getattr(cut, name)
        assert after.shape == (4, SEQ_LEN // 2)
        np.testing.assert_array_equal(after[2], before[1, : SEQ_LEN // 2])
        np.testing.assert_array_equal(after[3], before[1, SEQ_LEN // 2 :])
    assert (cut.num_targets, cut.first_row) == (whole.num_targets, whole.first_row)


def test_a_half_sees_nothing_of_the_other():
    apart = summed_loss(ApartAtTheMiddle().rows(0, 4))
    torch.testing.assert_close(summed_loss(MadeUpRows().rows(0, 4).cut(2)), apart, rtol=1e-5, atol=0)
    assert abs(float(summed_loss(MadeUpRows().rows(0, 4)) - apart)) > 1e-3 * float(apart)


def test_rows_are_cut_as_long_as_is_said(tmp_path):
    for name, fraction in (("half", 0.5), ("always", 1.0)):
        train_here(tmp_path / name, plan(num_steps=4, half_length_fraction=fraction))
    half, always = losses(tmp_path / "half"), losses(tmp_path / "always")
    assert half[:2] == always[:2] and half[2] != always[2], "the same weights, other rows"


def test_flops_of_half_length_are_those_of_a_model_of_half_the_length():
    model = plan().model
    half = model.model_copy(update={"seq_len": SEQ_LEN // 2})
    assert flops_per_token(model, 1.0) == flops_per_token(half)
    assert flops_per_token(model, 0.5) == (flops_per_token(model) + flops_per_token(half)) / 2
