"""The forecast of a rank's memory and exchanges against its simulated step, of shapes and layouts of every kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.forecast.exchange import exchanges
from headwater.forecast.rank_memory import gpu_memory
from headwater.forecast.work import Work
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import Mesh

RATES = {"matrix_lr": 0.01, "embedding_lr": 0.005, "head_lr": 0.005, "vector_lr": 0.01, "weight_decay": 0.1}
SIZES = {"num_layers": 2, "d_model": 256, "d_ff": 704, "num_heads": 4, "head_dim": 64, "seq_len": 512}
TIED = ModelSettings(**SIZES, num_kv_heads=2, vocab_size=4096)
LLAMA = ModelSettings(**SIZES, num_kv_heads=4, vocab_size=4096, family="llama", tied_embeddings=False)
LARGE = ModelSettings(**SIZES, num_kv_heads=4, vocab_size=32_768, family="llama", tied_embeddings=False)
GPT2 = ModelSettings(**SIZES, num_kv_heads=4, vocab_size=4096, family="gpt2")
MUON, ADAMW = OptimSettings(**RATES), OptimSettings(name="adamw", **RATES)

WORKS = {
    "one, muon, tied": Work(TIED, MUON, num_rows=8),
    "copies, adamw, fp32, two microbatches": Work(
        LLAMA, ADAMW, Mesh(replicate=4), num_rows=8, num_microbatches=2, dtype="float32"
    ),
    "shards, muon, half recomputed": Work(LLAMA, MUON, Mesh(shard=8), num_rows=8, recompute=1),
    "gathered once, adamw, two microbatches": Work(LLAMA, ADAMW, Mesh(shard=8), num_rows=8, num_microbatches=2),
    "gathered by block, muon, two microbatches": Work(LARGE, MUON, Mesh(shard=8), num_rows=8, num_microbatches=2),
    "both, adamw, gpt2, selective": Work(GPT2, ADAMW, Mesh(replicate=2, shard=4), num_rows=8, recompute="selective"),
    "a thousand, muon, all recomputed": Work(LLAMA, MUON, Mesh(replicate=16, shard=64), num_rows=16, recompute=2),
    "tensor, muon, selective": Work(LLAMA, MUON, Mesh(tensor=4), num_rows=8, recompute="selective"),
    "context and tensor, adamw, fp32": Work(
        TIED, ADAMW, Mesh(context=2, tensor=2), num_rows=8, num_microbatches=2, dtype="float32"
    ),
    "all axes, more ranks than keys, muon, all recomputed": Work(
        TIED, MUON, Mesh(replicate=2, shard=4, context=2, tensor=2), num_rows=8, recompute=2
    ),
    "few tokens: the update takes most": Work(LLAMA, MUON, Mesh(replicate=2, shard=4), recompute=2),
}
PROGRAM = """
import json
from dataclasses import asdict
from headwater.simulate.rank import simulate
from test_forecast_of_a_rank import WORKS

print(json.dumps({name: asdict(simulate(work)) for name, work in WORKS.items()}))
"""


@pytest.fixture(scope="module")
def simulated():
    """The accounts of all steps, made in a process of its own: a process is a rank but once."""
    here = Path(__file__).parent  # where `-c` finds this module
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=here, check=True, capture_output=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", WORKS)
def test_memory_is_within_a_twentieth(simulated, name):
    found = sum(simulated[name]["peak_bytes"].values())
    assert gpu_memory(WORKS[name], is_compiled=False).tensors == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize("name", WORKS)
def test_exchanges_are_those_to_a_hundredth(simulated, name):
    found = {(each["kind"], each["axis"]): each["num_bytes"] for each in simulated[name]["exchanges"]}
    forecast = {(each.kind, each.axis): each.num_bytes for each in exchanges(WORKS[name])}
    for key, num_bytes in found.items():
        assert forecast.get(key, 0) == pytest.approx(num_bytes, rel=0.01, abs=1e4), key
    assert forecast.keys() <= found.keys()
