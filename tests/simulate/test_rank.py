"""A simulated rank against ranks that exist: the same exchanges to the byte, the same operations, the same memory."""

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
from headwater.simulate.rank import Work, account_of_rank, simulate

MODEL = ModelSettings(
    vocab_size=250, num_layers=3, d_model=64, d_ff=66, num_heads=4, num_kv_heads=2, head_dim=16, seq_len=64,
    tied_embeddings=False,
)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.005, "head_lr": 0.005, "vector_lr": 0.01, "weight_decay": 0.1}
"""


def work(mesh: str, rule: str, dtype: str) -> str:
    optim = f"OptimSettings(name={rule!r}, **RATES)"
    return f"work = Work(MODEL, {optim}, {mesh}, num_rows=4, num_microbatches=2, recompute=1, dtype=torch.{dtype})\n"


def simulated(program: str) -> dict:
    text = f"import torch\n{WORK}{program}print(json.dumps(asdict(simulate(work))))"
    return json.loads(subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mesh", "rule", "dtype"),
    [
        ("Mesh(replicate=4)", "muon", "float32"),
        ("Mesh(shard=4)", "adamw", "bfloat16"),
        ("Mesh(replicate=2, shard=2)", "muon", "float32"),
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
    assert sum(found["peak_bytes"].values()) == pytest.approx(sum(real["peak_bytes"].values()), rel=0.05)
