"""A simulated rank against ranks that exist: the same exchanges to the byte, the same operations and memory."""

from __future__ import annotations

import pytest
from many_ranks import on_ranks

WORK = """
import json
from dataclasses import asdict, replace
from headwater.model.count import flops_per_token
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.ranks.exchange import ManyRanks
from headwater.ranks.mesh import Mesh
from headwater.forecast.work import Work
from headwater.simulate.rank import account_of_rank, simulate

MODEL = ModelSettings(
    vocab_size=250, num_layers=2, d_model=64, d_ff=66, num_heads=4, num_kv_heads=2, head_dim=16, seq_len=64,
    tied_embeddings=False,
)
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.005, "head_lr": 0.005, "vector_lr": 0.01, "weight_decay": 0.1}
"""


CASES = [
    ("Mesh(shard=4)", "adamw", "bfloat16"),
    ("Mesh(replicate=2, shard=2)", "muon", "float32"),
    ("Mesh(context=2, tensor=2)", "muon", "bfloat16"),
    ("Mesh(pipeline=2, shard=2)", "muon", "bfloat16"),
    ("Mesh(pipeline=2, tensor=2)", "adamw", "bfloat16"),
]


def work(mesh: str, rule: str, dtype: str) -> str:
    optim = f"OptimSettings(name={rule!r}, **RATES)"
    return f"Work(MODEL, {optim}, {mesh}, num_rows=4, num_microbatches=2, recompute=1, dtype={dtype!r})"


WORKS = f"{WORK}works = [{', '.join(work(*case) for case in CASES)}]\n"
REAL = "print(json.dumps([asdict(account_of_rank(each, ManyRanks(ranks.place, each.mesh))) for each in works]))\n"
SIMULATED = f"""
works.append(replace({work("Mesh(shard=1024)", "adamw", "bfloat16")}, recompute=0, num_microbatches=1))
print(json.dumps([[asdict(simulate(each)) for each in works], flops_per_token(MODEL)]))
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The accounts of all cases and of the last test, and the operations of a token by the model's count."""
    return on_ranks(1, WORKS + SIMULATED, tmp_path_factory.mktemp("simulated"))[0]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return on_ranks(4, WORKS + REAL, tmp_path_factory.mktemp("real"))[0]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: " ".join(CASES[number]))
def test_a_simulated_rank_does_what_a_real_one_does(simulated, real, number):
    found, expected = simulated[0][number], real[number]
    assert found["exchanges"] and found["exchanges"] == expected["exchanges"]
    assert found["flops"] == expected["flops"] > 0
    if "pipeline" not in CASES[number][0]:
        assert found["peak_bytes"] == expected["peak_bytes"]
    # what is sent is let go of when the other rank has it, at a moment of its own
    total, of_real = (sum(account["peak_bytes"].values()) for account in (found, expected))
    assert total == pytest.approx(of_real, rel=0.05)


@pytest.mark.slow
def test_operations_are_the_models_and_half_a_pass_of_attention_more(simulated):
    """The fused backward pass makes the scores again: 5 products of queries and keys for the 4 of the model's count."""
    accounts, flops_per_token = simulated
    # a product forward and backward: 2 × layers × rows × heads × width × tokens²
    attention = 2 * 2 * 4 * 4 * 16 * 64 * 64
    assert accounts[-1]["flops"] == pytest.approx(4 * 64 * flops_per_token + attention / 2, rel=0.02)
