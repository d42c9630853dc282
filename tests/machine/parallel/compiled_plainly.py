"""Blocks compiled as for a GPU, but with plain attention: FlexAttention has no backward pass on processors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from headwater.machine.compute import MachineFacts
from headwater.machine.device.compiled import compile_blocks_
from headwater.model.transformer import Transformer, attend, first_visible


class FirstVisible(NamedTuple):
    first_BT: Tensor


def visible(documents_BT: Tensor, window: int | None) -> FirstVisible:
    return FirstVisible(first_visible(documents_BT, window))


def attend_plainly(q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, seen: FirstVisible) -> Tensor:
    return attend(q_BTHK, k_BTGK, v_BTGK, seen.first_BT)


def compiled_where_divided_(model: Transformer, facts: MachineFacts) -> Transformer:
    """Trace and cut a model that is about to be divided, without generating code; the one rank's to compare with stays as it is."""
    if model.device.type != "meta":
        return model
    fast = compile_blocks_(model, "aot_eager")
    fast.blocks.visible = visible
    for block in model.blocks:
        block.attention.attend = attend_plainly
    return fast
