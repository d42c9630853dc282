"""A model for a GPU: its blocks and its loss compiled one by one, where torch.compile works; linear maps in float8.

Attention is FlexAttention, whose kernel skips the blocks that nobody sees (arXiv:2412.05496). In float8, by torchao,
activations, weights and gradients are scaled and cast for each matrix product.

B batch · T time · N blocks of tokens · H query heads · G key and value heads · K head width
"""

from __future__ import annotations

import copy
import importlib.util
import logging
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._functorch import config as partitioning
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from headwater.core.errors import ConfigError
from headwater.model.loss import NextTokenLoss, chunk_loss
from headwater.model.transformer import Transformer, TransformerBlock, first_visible

BLOCK = 128  # tokens: the kernel's own choice of a block of the mask
MIN_HEAD_DIM = 16  # of the kernel's products
SELECTIVE_BUDGET = 0.5
"""Of the memory that a compiled block's forward pass would keep, for what is recomputed selectively: the compiler then
chooses the cheapest operations. As OLMo 3 trains; untested on a GPU here."""
MIN_CAPABILITY = (8, 9)  # the first GPUs with float8 products: Ada and Hopper


def block_mask(first_BT: Tensor) -> BlockMask:
    """Return who sees whom: a token sees the tokens from its first visible one, which never decreases, to itself.

    Made in steps of blocks: unlike `create_block_mask`, it holds no (T, T) matrix, and the host waits for nothing.
    """
    num_tokens = first_BT.shape[1]
    starts_N = torch.arange(0, num_tokens, BLOCK, device=first_BT.device)
    ends_N = (starts_N + BLOCK - 1).clamp_max(num_tokens - 1)
    numbers_N = torch.arange(len(starts_N), device=first_BT.device)
    # a block of queries sees some of each block of keys from its first token's first visible one on, and all of a block
    # that lies before it and begins no earlier than its last token's first visible one
    lowest_BN1 = (first_BT[:, starts_N] // BLOCK)[:, :, None]
    lowest_whole_BN1 = first_BT[:, ends_N][:, :, None]
    is_seen_BNN = (numbers_N >= lowest_BN1) & (numbers_N <= numbers_N[:, None])
    is_whole_BNN = (starts_N >= lowest_whole_BN1) & (numbers_N < numbers_N[:, None])
    is_whole_BNN &= (starts_N + BLOCK <= num_tokens)[:, None]  # a last block that the row doesn't fill

    def sees(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key >= first_BT[row, query])

    return BlockMask.from_kv_blocks(
        *_listed(is_seen_BNN & ~is_whole_BNN),
        *_listed(is_whole_BNN),
        BLOCK_SIZE=BLOCK,
        mask_mod=sees,
        seq_lengths=(num_tokens, num_tokens),
    )


def _listed(chosen_BNN: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks of keys are chosen, (B, 1, N), and all blocks, chosen ones first, (B, 1, N, N)."""
    order_BNN = torch.argsort(chosen_BNN.int(), dim=-1, descending=True, stable=True)
    return chosen_BNN.sum(-1).int()[:, None], order_BNN.int()[:, None]


class FlexAttention:
    """Attention for a mask of `block_mask`; `plain` for the first visible tokens themselves (evaluation)."""

    def __init__(self, plain: Callable[..., Tensor]) -> None:
        self._plain = plain

    def __call__(self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, visible: Tensor | BlockMask) -> Tensor:
        """Return the values (B, T, H, K). To be compiled with the model: alone it would hold all scores."""
        if isinstance(visible, Tensor):
            return self._plain(q_BTHK, k_BTGK, v_BTGK, visible)
        q, k, v = (x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK))
        out_BHTK = flex_attention(q, k, v, block_mask=visible, enable_gqa=q.shape[1] != k.shape[1])
        assert isinstance(out_BHTK, Tensor)
        return out_BHTK.transpose(1, 2)


def compile_blocks_(model: Transformer, backend: str = "inductor") -> Transformer:
    """Return a second root over a model's modules and parameters, for rows of few different shapes.

    Each shape is compiled once for all blocks, which are alike. The model itself gets FlexAttention, too, and
    still runs uncompiled, for shapes that come once, as in the evaluation of prompts.
    """
    is_selective = model.blocks.recompute == "selective"
    for block in cast(list[TransformerBlock], model.blocks):
        if not isinstance(block.forward, CompiledForward):
            block.attention.attend = FlexAttention(block.attention.attend)
            budget = SELECTIVE_BUDGET if is_selective else 1.0
            block.forward = CompiledForward(block, backend, budget)  # type: ignore[method-assign]
    fast = copy.copy(model)
    fast._modules = dict(model._modules)
    fast.blocks = copy.copy(model.blocks)
    fast.blocks.visible = visible_blocks
    fast.blocks.recompute = 0 if is_selective else model.blocks.recompute
    fast.loss = NextTokenLoss(torch.compile(chunk_loss, backend=backend, dynamic=False))
    return fast


def visible_blocks(documents_BT: Tensor, window: int | None) -> BlockMask:
    """Return what each token sees as a mask, made outside of the blocks, once for all."""
    return block_mask(first_visible(documents_BT, window))


class CompiledForward:
    """A block's forward pass: compiled where a mask says what tokens see, as it is for first visible tokens.

    What comes before and after it in a call of the block, as FSDP's gathers, isn't part of the graph.
    """

    def __init__(self, block: nn.Module, backend: str, memory_budget: float) -> None:
        self._plain, self._backend, self._memory_budget = block.forward, backend, memory_budget
        self._compiled = torch.compile(block.forward, backend=backend, dynamic=False, fullgraph=True)

    def allow_graph_breaks_(self) -> None:
        """Have what a compiler can't trace, as exchanges between ranks, called between several graphs."""
        self._compiled = torch.compile(self._plain, backend=self._backend, dynamic=False)

    def __call__(self, x_BTD: Tensor, visible: Any, table_2TP: Tensor | None) -> Tensor:
        if isinstance(visible, Tensor):
            return self._plain(x_BTD, visible, table_2TP)
        with partitioning.patch(activation_memory_budget=self._memory_budget):
            return self._compiled(x_BTD, visible, table_2TP)


def torch_compiles(device: torch.device, head_dim: int) -> tuple[bool, str]:
    """Return whether torch.compile works here for heads of `head_dim`, and a sentence that says why not."""
    if head_dim < MIN_HEAD_DIM:
        return False, (
            f"attention isn't compiled for heads of width {head_dim}, under {MIN_HEAD_DIM} (model.head_dim); running "
            "uncompiled, about half as fast"
        )
    logger = logging.getLogger("torch._inductor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        torch.compile(_tiny, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:  # torch raises many kinds here, none of them public
        why = telling_line(error)[:120]
        return False, f"torch.compile doesn't work here ({why}); running uncompiled, about half as fast"
    finally:
        logger.setLevel(level)
        torch._dynamo.reset()
    return True, ""


def telling_line(error: Exception) -> str:
    """Return the first line of an error's text that is more than the announcement of another ("… raised:")."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.endswith(":")), type(error).__name__)


def _tiny(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(x) * 2


def require_float8(device: torch.device, compiled: bool) -> None:
    """Raise ConfigError, with what to do, where products in float8 don't run or would be slower than bfloat16's."""
    instead = "set machine.dtype to auto or bfloat16"
    if device.type != "cuda":
        raise ConfigError(f"machine.dtype is float8 and the device is a processor, which computes no float8; {instead}")
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_CAPABILITY:
        raise ConfigError(
            f"machine.dtype is float8 and {torch.cuda.get_device_name(device)} has compute capability "
            f"{capability[0]}.{capability[1]}; float8 needs {MIN_CAPABILITY[0]}.{MIN_CAPABILITY[1]}; {instead}"
        )
    if importlib.util.find_spec("torchao") is None:
        raise ConfigError(f"machine.dtype is float8 and torchao is missing: pip install 'headwater[fp8]', or {instead}")
    if not compiled:
        raise ConfigError(
            "machine.dtype is float8 and nothing is compiled here, which makes float8 slower than bfloat16 (nanochat "
            f"measured a quarter of the speed); set machine.compile to on to see what is missing, or {instead}"
        )


def convert_linears_(blocks: nn.Module, *, emulate: bool = False) -> None:
    """Replace each linear map in `blocks` whose sizes allow it; parameters keep their names and values.

    `emulate` computes what float8 would give by rounding, on any device: for tests.
    """
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    convert_to_float8_training(blocks, config=Float8LinearConfig(emulate=emulate), module_filter_fn=_takes_float8)


def _takes_float8(module: nn.Module, name: str) -> bool:
    """Return whether a linear map's sizes are what the products need: multiples of 16."""
    return isinstance(module, nn.Linear) and all(size % 16 == 0 for size in module.weight.shape)
