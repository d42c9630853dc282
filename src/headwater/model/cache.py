"""Rows that grow token by token: keys and values of the tokens that a row has already are kept, not computed again.

B batch · T new tokens · S positions that are kept · D model width · H query heads · G key and value heads
K head width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.model.transformer import Block, Transformer

LEAST_POSITIONS = 32  # kept positions double from here on, so that attention meets few shapes


class Cache:
    """The next token's scores after rows, each computed from where the call before left off.

    Plain modules over the model's own weights compute them, whatever modules the model has: kernels that train take
    rows that begin together. A change of the weights goes unnoticed: make a cache for each text.
    """

    def __init__(self, model: Transformer) -> None:
        """`model` is whole: none of which this rank has a part alone."""
        with torch.device("meta"):
            self._model = Transformer(model.settings, model.compute_dtype)
        self._model.load_state_dict(model.state_dict(), assign=True)
        self._model.rotary_2TP = model.rotary_2TP
        for number, block in enumerate(self._model.blocks):
            cast(Block, block).attention.attend = partial(self._attend, 2 * number)
        self._rows: list[list[int]] = []
        self._kept: list[Tensor] = []  # of each block keys and values, (B, S, G, K)

    @torch.inference_mode()
    def next_logits_of(self, rows: Sequence[list[int]]) -> Tensor:
        """Return the scores (B, V) of the token after each row, in fp32.

        Of a row longer than seq_len the model sees the last seq_len ids. They have other positions than the call before
        gave them, so that everything is computed again, as it is where a row doesn't continue what it was.
        """
        settings = self._model.settings
        rows = [row[-settings.seq_len :] for row in rows]
        if len(rows) != len(self._rows) or any(new[: len(old)] != old for new, old in zip(rows, self._rows)):
            self._rows = [[]] * len(rows)
            empty = torch.zeros(len(rows), 0, settings.num_kv_heads, settings.head_dim, device=self._model.device)
            self._kept = [empty.to(self._model.compute_dtype)] * 2 * settings.num_layers
        starts = [min(len(old), len(new) - 1) for new, old in zip(rows, self._rows)]
        x_BTD = self._hidden([row[start:] for row, start in zip(rows, starts)], starts)
        self._rows = rows
        return self._model.logits(x_BTD[range(len(rows)), [len(row) - start - 1 for row, start in zip(rows, starts)]])

    def _hidden(self, new: list[list[int]], starts: list[int]) -> Tensor:
        """Return the final states (B, T, D) of ids at the positions from `starts` on, filled up at the right.

        A row's filling lies behind its tokens, none of which sees it, and is overwritten as the row grows.
        """
        model, settings = self._model, self._model.settings
        width = rounded(max(map(len, new)))
        tokens_BT = torch.tensor([ids + [0] * (width - len(ids)) for ids in new], device=model.device)
        positions_BT = torch.tensor([list(range(start, start + width)) for start in starts], device=model.device)
        missing = rounded(max(starts) + width, LEAST_POSITIONS) - self._kept[0].shape[1]
        if missing > 0:
            self._kept = [F.pad(each, (0, 0, 0, 0, 0, missing)) for each in self._kept]
        distances_BTS = positions_BT[..., None] - torch.arange(self._kept[0].shape[1], device=model.device)
        visible_BTS = (distances_BTS >= 0) & (distances_BTS < (settings.sliding_window or settings.seq_len))
        within_BT = positions_BT.clamp(max=settings.seq_len - 1)  # filling may lie beyond what the model knows
        x_BTD = model.embed(tokens_BT)
        if model.rotary_2TP is None:
            x_BTD = x_BTD + model.positions(within_BT)
        table_2BTP = None if model.rotary_2TP is None else model.rotary_2TP[:, within_BT]
        x_BTD = x_BTD.to(model.compute_dtype)
        for block in model.blocks:
            x_BTD = block(x_BTD, (positions_BT, visible_BTS), table_2BTP)
        return model.final_norm(x_BTD)

    def _attend(
        self, number: int, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, places: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Keep keys and values of the new tokens; return what these read from all that they see (B, T, H, K)."""
        positions_BT, visible_BTS = places
        k_BSGK, v_BSGK = self._kept[number : number + 2]
        rows_B1 = torch.arange(len(positions_BT), device=positions_BT.device)[:, None]
        k_BSGK[rows_B1, positions_BT], v_BSGK[rows_B1, positions_BT] = k_BTGK, v_BTGK
        q, k, v = (each.transpose(1, 2) for each in (q_BTHK, k_BSGK, v_BSGK))
        return F.scaled_dot_product_attention(q, k, v, visible_BTS[:, None], enable_gqa=True).transpose(1, 2)


def rounded(number: int, least: int = 1) -> int:
    """Return the smallest power of two that is at least `number` and `least`, itself a power of two."""
    return max(least, 1 << (number - 1).bit_length())
