"""A simulated rank against ranks that exist: the same exchanges to the byte, the same operations and memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from many_ranks import on_ranks

WORK = """
import json
from dataclasses import asdict
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import Mesh
from headwater.forecast.work import Work
from headwater.simulate.rank import account_of_rank, simulate

MODEL = ModelSettings(
    vocab_size=250, num_layers=3, d_model=64, d_ff=66, num_heads=4, num_kv_heads=2, head_dim=16, seq_len=64,
    tied_embeddings=False,
)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.005, "head_lr": 0.005, "vector_lr": 0.01, "weight_decay": 0.1}
"""


def work(mesh: str, rule: str, dtype: str) -> str:
    optim = f"OptimSettings(name={rule!r}, **RATES)"
    return f"work = Work(MODEL, {optim}, {mesh}, num_rows=4, num_microbatches=2, recompute=1, dtype={dtype!r})\n"


def simulated(program: str) -> dict:
    text = f"{WORK}{program}print(json.dumps(asdict(simulate(work))))"
    return json.loads(subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mesh", "rule", "dtype"),
    [
        ("Mesh(replicate=4)", "muon", "float32"),
        ("Mesh(shard=4)", "adamw", "bfloat16"),
        ("Mesh(replicate=2, shard=2)", "muon", "float32"),
        ("Mesh(context=2, tensor=2)", "muon", "bfloat16"),
    ],
)
def test_a_simulated_rank_does_what_a_real_one_does(tmp_path, mesh, rule, dtype):
    program = work(mesh, rule, dtype)
    real = on_ranks(
        4,
        f"{WORK}{program}from headwater.ranks.exchange import ManyRanks\n"
        "ranks = ManyRanks(ranks.place, work.mesh)\n"
        "print(json.dumps(asdict(account_of_rank(work, ranks))))\n",
        tmp_path,
    )[0]
    found = simulated(program)
    assert found["exchanges"] and found["exchanges"] == real["exchanges"]
    assert found["flops"] == real["flops"] > 0
    assert found["peak_bytes"] == real["peak_bytes"]


def test_operations_are_the_models_and_half_a_pass_of_attention_more():
    """The fused backward pass makes the scores again: 5 products of queries and keys for the 4 of the model's count."""
    program = work("Mesh(shard=1024)", "adamw", "bfloat16")
    program += "work = replace(work, recompute=0, num_microbatches=1)\n"
    text = f"from dataclasses import replace\n{WORK}{program}from headwater.model.count import flops_per_token\n"
    text += "print(json.dumps([simulate(work).flops, 4 * 64 * flops_per_token(MODEL)]))"
    found, model = json.loads(
        subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True).stdout
    )
    attention = (
        2 * 3 * 4 * 4 * 16 * 64 * 64
    )  # a product forward and backward: 2 × layers × rows × heads × width × tokens²
    assert found == pytest.approx(model + attention / 2, rel=0.02)
