"""The forecast of a rank's memory against its simulated step, of shapes and layouts of every kind."""

from __future__ import annotations

import pytest
import torch
from simulated_rank import fused_attention, simulate
from torch import Tensor

from headwater.machine.ranks.mesh import Mesh
from headwater.model.optim.settings import OptimSettings
from headwater.model.rotary import rotary_table
from headwater.model.settings import ModelSettings
from headwater.model.transformer import TransformerBlock
from headwater.plan.forecast.rank_memory import gpu_memory, kept_by_block
from headwater.plan.forecast.result import StepWork

RATES = {"matrix_lr": 0.01, "embedding_lr": 0.005, "head_lr": 0.005, "vector_lr": 0.01, "weight_decay": 0.1}
SIZES = {"num_layers": 2, "d_model": 256, "d_ff": 704, "num_heads": 4, "head_dim": 64, "seq_len": 512}
TIED = ModelSettings(**SIZES, num_kv_heads=2, vocab_size=4096)
LLAMA = ModelSettings(**SIZES, num_kv_heads=4, vocab_size=4096, family="llama", tied_embeddings=False)
LARGE = ModelSettings(**SIZES, num_kv_heads=4, vocab_size=32_768, family="llama", tied_embeddings=False)
WIDE = ModelSettings(
    num_layers=2, d_model=1024, d_ff=2816, num_heads=16, num_kv_heads=4, head_dim=64, seq_len=256, vocab_size=1024,
    family="llama", tied_embeddings=False,
)  # fmt: skip
GPT2 = ModelSettings(**SIZES, num_kv_heads=4, vocab_size=4096, family="gpt2")
MUON, ADAMW = OptimSettings(**RATES), OptimSettings(name="adamw", **RATES)

WORKS = {
    "one, adamw, fp32, two microbatches": StepWork(WIDE, ADAMW, num_microbatches=2, dtype="float32"),
    "one, muon": StepWork(WIDE, MUON),
    "gathered by block, muon, two microbatches": StepWork(LARGE, MUON, Mesh(shard=8), num_rows=8, num_microbatches=2),
    "both, adamw, gpt2, selective": StepWork(
        GPT2, ADAMW, Mesh(replicate=2, shard=4), num_rows=8, recompute="selective"
    ),
    "all axes but one, more ranks than keys, muon, half recomputed": StepWork(
        TIED, MUON, Mesh(replicate=2, shard=4, context=2, tensor=2), num_rows=8, recompute=1
    ),
    "a pipeline, muon": StepWork(LLAMA, MUON, Mesh(pipeline=2, shard=2), num_rows=16, num_microbatches=4),
    "both, muon, all recomputed": StepWork(WIDE, MUON, Mesh(replicate=2, shard=4), recompute=2),
}


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_memory_is_within_a_twentieth(work):
    """At each place of a pipeline that differs from the others."""
    held = max(simulate(work, place) for place in work.mesh.differing_places)
    assert gpu_memory(work, is_compiled=False).tensors == pytest.approx(held, rel=0.05)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch in itself
@pytest.mark.parametrize("model", [LLAMA, TIED, GPT2], ids=lambda model: model.family)
def test_a_compiled_block_keeps_what_torchs_partitioner_chooses_and_its_matrices_in_bf16(model):
    block, kept = TransformerBlock(model), dict[int, int]()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    block.attention.attend = fused_attention
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    forward = torch.compile(block, backend="aot_eager_decomp_partition", dynamic=False)
    work = StepWork(model, MUON, num_rows=2)
    x_BTD = torch.randn(work.num_rows, model.seq_len, model.d_model, dtype=torch.bfloat16, requires_grad=True)
    table_2TP = None if model.family == "gpt2" else rotary_table(model, model.seq_len)

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(x_BTD, torch.zeros(work.num_rows, model.seq_len, dtype=torch.int64), table_2TP)
    matrices = sum(2 * parameter.numel() for parameter in block.parameters() if parameter.ndim == 2)
    expected = matrices + work.microbatch_tokens * kept_by_block(work, is_compiled=True)
    assert sum(kept.values()) == pytest.approx(expected, rel=0.03)
