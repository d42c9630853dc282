"""What a compiled block keeps for its backward pass, by torch's own partitioner, against the forecast's count of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from headwater.forecast.rank_memory import kept_by_block
from headwater.forecast.work import Work
from headwater.model.rotary import rotary_table
from headwater.model.settings import ModelSettings
from headwater.model.transformer import Block
from headwater.optim.settings import OptimSettings
from headwater.simulate.rank import fused_attention

OPTIM = OptimSettings(matrix_lr=0.01, embedding_lr=0.01, head_lr=0.01, vector_lr=0.01, weight_decay=0.1)
NUM_ROWS = 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch in itself
@pytest.mark.parametrize("is_compiled", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize(("family", "num_kv_heads"), [("llama", 2), ("qwen3", 2), ("gpt2", 4)])
def test_a_block_keeps_its_activations_and_its_matrices_in_bf16(family, num_kv_heads, is_compiled):
    sizes = {"num_layers": 1, "d_model": 256, "d_ff": 768, "num_heads": 4, "head_dim": 64, "seq_len": 512}
    model = ModelSettings(**sizes, num_kv_heads=num_kv_heads, family=family, vocab_size=100)
    block, kept = Block(model), dict[int, int]()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    block.attention.attend = fused_attention
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    forward = torch.compile(block, backend="aot_eager_decomp_partition", dynamic=False) if is_compiled else block
    x_BTD = torch.randn(NUM_ROWS, model.seq_len, model.d_model, dtype=torch.bfloat16, requires_grad=True)
    table_2TP = None if family == "gpt2" else rotary_table(model, model.seq_len)

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(x_BTD, torch.zeros(NUM_ROWS, model.seq_len, dtype=torch.int64), table_2TP)
    work = Work(model, OPTIM, num_rows=NUM_ROWS)
    matrices = sum(2 * parameter.numel() for parameter in block.parameters() if parameter.ndim == 2)
    expected = matrices + work.microbatch_tokens * kept_by_block(work, is_compiled)
    assert sum(kept.values()) == pytest.approx(expected, rel=0.03)
