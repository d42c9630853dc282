"""Rows that grow token by token: keys and values of the tokens that a row has already are kept, not computed again.

B batch · N any number of states · T new tokens · S positions that are kept · D model width · H query heads
G key and value heads · K head width · V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.model.transformer import Transformer, TransformerBlock

LEAST_POSITIONS = 32  # kept positions double from here on, so that attention meets few shapes
LEAST_ROWS = 4  # of a matrix product: with fewer it may add in another order
PASS_TOKENS = 4096  # of one pass over rows that are new


class Cache:
    """The next token's scores after rows, each computed from where the call before left off.

    Plain modules over the model's own weights compute them, whatever modules the model has: kernels that train take
    rows that begin together. A change of the weights goes unnoticed: make a cache for each text.

    In float32 on a processor a row's bits don't depend on the rows beside it, as long as the library's products don't
    on the number of their rows: MKL's do below LEAST_ROWS (docs/decisions/0064).
    """

    def __init__(self, model: Transformer) -> None:
        """`model` is whole: none of which this rank has a part alone."""
        settings = model.settings
        with torch.device("meta"):
            self._model = Transformer(settings, model.compute_dtype)
        self._model.load_state_dict(model.state_dict(), assign=True)
        self._model.rotary_2TP = model.rotary_2TP
        for number, block in enumerate(self._model.blocks):
            cast(TransformerBlock, block).attention.attend = partial(self._attend, 2 * number)
        self._rows: list[list[int]] = []
        # keys and values of each block, (2 · blocks, B, G, S, K): attention reads a head's positions in their order
        empty = torch.zeros(2 * settings.num_layers, 0, settings.num_kv_heads, 0, settings.head_dim)
        self._kept = empty.to(model.device, model.compute_dtype)

    @torch.inference_mode()
    def keep(self, numbers: Sequence[int]) -> None:
        """Forget all rows but these, numbered 0, 1, … from now on; one must not come from a place filled before it."""
        for number, before in enumerate(numbers):
            if number != before:
                length = len(self._rows[before])
                self._kept[:, number, :, :length] = self._kept[:, before, :, :length]
        self._rows = [self._rows[number] for number in numbers]

    def next_logits_of(self, rows: Sequence[list[int]]) -> Tensor:
        """Return the scores (B, V) of the token after each row, in fp32; rows past those of before are new ones."""
        return self.logits(torch.stack([states_TD[-1] for states_TD in self.states_of(rows)]))

    @torch.inference_mode()
    def logits(self, states_ND: Tensor) -> Tensor:
        """Return the scores (N, V) of the token after each of these states."""
        missing = rounded(len(states_ND), LEAST_ROWS) - len(states_ND)
        return self._model.logits(F.pad(states_ND, (0, 0, 0, missing)))[: len(states_ND)]

    @torch.inference_mode()
    def states_of(self, rows: Sequence[list[int]]) -> list[Tensor]:
        """Return the final states (T, D) of the ids by which each row is longer than before; at least of its last one.

        Of a row longer than seq_len the model sees the last seq_len ids. They have other positions than the call before
        gave them, so that all of it is computed again, as it is where a row doesn't continue what it was.
        """
        rows = [row[-self._model.settings.seq_len :] for row in rows]
        before = [*self._rows, *[[]] * len(rows)]
        starts = [min(len(old), len(new) - 1) if new[: len(old)] == old else 0 for new, old in zip(rows, before)]
        ids = [row[start:] for row, start in zip(rows, starts)]
        widths = [1 if len(new) == 1 and start else rounded(len(new), LEAST_ROWS) for new, start in zip(ids, starts)]
        self._make_room(rounded(len(rows), LEAST_ROWS), max(start + width for start, width in zip(starts, widths)))
        self._rows = rows
        found = {}
        if 1 in widths:
            # all places from the first on, which needs no copy. What this writes for a row that is longer by more, or
            # for one that isn't there, is overwritten before anything reads it
            places = list(range(rounded(len(rows), LEAST_ROWS)))
            missing = len(places) - len(rows)
            x_BTD = self._hidden([new[:1] for new in ids] + [[0]] * missing, 1, [*starts, *[0] * missing], places)
            found = {number: x_BTD[number] for number, width in enumerate(widths) if width == 1}
        for width in sorted(set(widths) - {1}):
            numbers = [number for number, each in enumerate(widths) if each == width]
            while numbers:
                most = max(1, PASS_TOKENS // width)
                places = numbers[: min(most, 1 << (len(numbers).bit_length() - 1))]
                numbers = numbers[len(places) :]
                x_BTD = self._hidden([ids[i] for i in places], width, [starts[i] for i in places], places)
                found |= {number: x_TD[: len(ids[number])] for number, x_TD in zip(places, x_BTD)}
        return [found[number] for number in range(len(rows))]

    def _make_room(self, num_rows: int, num_positions: int) -> None:
        num_positions = rounded(num_positions, LEAST_POSITIONS)
        more = [max(0, wanted - has) for wanted, has in zip((num_rows, num_positions), self._kept.shape[1::2])]
        if any(more):
            self._kept = F.pad(self._kept, (0, 0, 0, more[1], 0, 0, 0, more[0]))

    def _hidden(self, ids: list[list[int]], width: int, starts: list[int], places: list[int]) -> Tensor:
        """Return the final states (B, T, D) of ids at the positions from `starts` on, filled up at the right.

        A row's filling lies behind its tokens, none of which sees it, and is overwritten as the row grows.
        """
        model, settings = self._model, self._model.settings
        tokens_BT = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=model.device)
        starts_B1 = torch.tensor(starts, device=model.device)[:, None]
        positions_BT = starts_B1 + torch.arange(width, device=model.device)
        num_positions = rounded(max(starts) + width, LEAST_POSITIONS)
        distances_BTS = positions_BT[..., None] - torch.arange(num_positions, device=model.device)
        visible_BTS = (distances_BTS >= 0) & (distances_BTS < (settings.sliding_window or settings.seq_len))
        hidden_BTS = torch.zeros(visible_BTS.shape, dtype=model.compute_dtype, device=model.device)
        hidden_BTS.masked_fill_(~visible_BTS, float("-inf"))  # attention would make it anew in each block
        within_BT = positions_BT.clamp(max=settings.seq_len - 1)  # filling may lie beyond what the model knows
        x_BTD = model.embed(tokens_BT)
        if model.rotary_2TP is None:
            x_BTD = x_BTD + model.positions(within_BT)
        table_2BTP = None if model.rotary_2TP is None else model.rotary_2TP[:, within_BT]
        x_BTD = x_BTD.to(model.compute_dtype)
        places_B1 = torch.tensor(places, device=model.device)[:, None]
        for block in model.blocks:
            x_BTD = block(x_BTD, (places_B1, positions_BT, hidden_BTS), table_2BTP)
        return model.final_norm(x_BTD)

    def _attend(
        self, number: int, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, where: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Keep keys and values of the new tokens; return what these read from all that they see (B, T, H, K)."""
        places_B1, positions_BT, hidden_BTS = where
        num_rows, num_new, num_heads = q_BTHK.shape[:3]
        for kept_BGSK, new_BTGK in zip(self._kept[number : number + 2], (k_BTGK, v_BTGK)):
            kept_BGSK[places_B1, :, positions_BT] = new_BTGK
        seen_2BGSK = self._kept[number : number + 2, :, :, : hidden_BTS.shape[-1]]
        # one new token: all places from the first on, which needs no copy
        k_BGSK, v_BGSK = seen_2BGSK[:, :num_rows] if num_new == 1 else seen_2BGSK[:, places_B1[:, 0]]
        is_grouped = num_heads != k_BGSK.shape[1]
        return F.scaled_dot_product_attention(
            q_BTHK.transpose(1, 2), k_BGSK, v_BGSK, hidden_BTS[:, None], enable_gqa=is_grouped
        ).transpose(1, 2)


def rounded(number: int, least: int = 1) -> int:
    """Return the smallest power of two that is at least `number` and `least`, itself a power of two."""
    return max(least, 1 << (number - 1).bit_length())
