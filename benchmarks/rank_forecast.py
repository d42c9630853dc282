"""The forecast of a rank's memory and exchanges against its simulated step: 1B to 70B, layouts of every kind.

    python benchmarks/rank_forecast.py [NAME ...]

Rows h1 to h15 were simulated after the forecast was done. A row takes ten seconds to two minutes. Beside the forecast
stands a rule of thumb: 16 bytes a parameter, divided by the ranks that have all weights together.
"""

from __future__ import annotations

import sys

from headwater.forecast.exchange import exchanges
from headwater.forecast.rank_memory import gpu_memory
from headwater.forecast.work import Work
from headwater.model.count import count_parameters
from headwater.model.settings import Family, ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.ranks.mesh import STATE_AXES, Mesh
from headwater.simulate.rank import simulate

GIB = 2**30
RATES = {"matrix_lr": 0.01, "embedding_lr": 0.01, "head_lr": 0.01, "vector_lr": 0.01, "weight_decay": 0.1}
MUON, ADAMW = OptimSettings(**RATES), OptimSettings(name="adamw", **RATES)


def shape(
    family: Family, layers: int, width: int, d_ff: int, heads: tuple[int, int, int], ids: int, seq_len: int, tied: bool
) -> ModelSettings:
    """Return a model; `heads` are those of queries, those of keys, and their width."""
    num_heads, num_kv_heads, head_dim = heads
    return ModelSettings(
        family=family,
        num_layers=layers,
        d_model=width,
        d_ff=d_ff,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        vocab_size=ids,
        seq_len=seq_len,
        tied_embeddings=tied,
    )


LLAMA_1B = shape("llama", 16, 2048, 8192, (32, 8, 64), 128_256, 4096, True)
LLAMA_3B = shape("llama", 28, 3072, 8192, (24, 8, 128), 128_256, 4096, True)
LLAMA_8B = shape("llama", 32, 4096, 14_336, (32, 8, 128), 128_256, 8192, False)
LLAMA_13B = shape("llama", 40, 5120, 13_824, (40, 40, 128), 32_000, 4096, False)
LLAMA_405B = shape("llama", 126, 16_384, 53_248, (128, 8, 128), 128_256, 8192, False)
LLAMA_70B = shape("llama", 80, 8192, 28_672, (64, 8, 128), 128_256, 8192, False)
QWEN_600M = shape("qwen3", 28, 1024, 3072, (16, 8, 128), 151_936, 4096, True)
QWEN_4B = shape("qwen3", 36, 2560, 9728, (32, 8, 128), 151_936, 4096, True)
QWEN_14B = shape("qwen3", 40, 5120, 17_408, (40, 8, 128), 151_936, 4096, False)
GPT2_124M = shape("gpt2", 12, 768, 3072, (12, 12, 64), 50_304, 1024, True)
GPT2_1500M = shape("gpt2", 48, 1600, 6400, (25, 25, 64), 50_304, 1024, True)
NANO_500M = shape("qwen3", 20, 1280, 3456, (10, 10, 128), 65_536, 2048, False)
OLMO_7B = shape("llama", 32, 4096, 11_008, (32, 32, 128), 50_304, 4096, False)

WORKS = {
    "t1 1B": Work(LLAMA_1B, ADAMW, Mesh(replicate=8), 2),
    "t2 1B": Work(LLAMA_1B, MUON, Mesh(shard=8), 4, 2),
    "t3 8B": Work(LLAMA_8B, ADAMW, Mesh(shard=64), 2, 1, 16),
    "t4 8B": Work(LLAMA_8B, ADAMW, Mesh(replicate=128, shard=8), 2, 1, 32),
    "t5 13B": Work(LLAMA_13B, MUON, Mesh(shard=16), 2, 1, "selective"),
    "t6 70B": Work(LLAMA_70B, ADAMW, Mesh(shard=512), 1, 1, 80),
    "t7 0.6B": Work(QWEN_600M, MUON, Mesh(replicate=4), 4, 2),
    "t8 0.6B": Work(QWEN_600M, ADAMW, Mesh(), 2, dtype="float32"),
    "t9 gpt2 1.5B": Work(GPT2_1500M, ADAMW, Mesh(replicate=4, shard=4), 16, 1, "selective"),
    "t10 gpt2 124M": Work(GPT2_124M, MUON, Mesh(), 16, 4),
    "t11 0.5B": Work(NANO_500M, MUON, Mesh(shard=8), 8, 2, 10, "float32"),
    "t12 7B": Work(OLMO_7B, ADAMW, Mesh(replicate=8, shard=32), 2, 2),
    "t13 14B": Work(QWEN_14B, MUON, Mesh(shard=64), 2, 1, 40),
    "t14 0.5B": Work(NANO_500M, ADAMW, Mesh(replicate=8), 8, 1, 20),
    "t15 gpt2 124M": Work(GPT2_124M, MUON, Mesh(), 1, 1, 12),
    "t16 0.5B": Work(NANO_500M, MUON, Mesh(shard=8), 1, 2, 20),
    "t17 1B": Work(LLAMA_1B, ADAMW, Mesh(), 1, 1, 16),
    "t18 7B": Work(OLMO_7B, MUON, Mesh(replicate=2, shard=4), 1, 1, 32),
    "t19 13B": Work(LLAMA_13B, MUON, Mesh(replicate=8), 1, 1, 40),
    "t20 1B": Work(LLAMA_1B, ADAMW, Mesh(tensor=2), 2),
    "t21 8B": Work(LLAMA_8B, ADAMW, Mesh(shard=64, tensor=8), 4, 1, 32),
    "t22 8B": Work(LLAMA_8B, MUON, Mesh(shard=8, context=2), 2, 1, "selective"),
    "t23 1B": Work(LLAMA_1B, MUON, Mesh(context=2, tensor=2), 4, 2, 0, "float32"),
    "t24 4B": Work(QWEN_4B, ADAMW, Mesh(replicate=2, shard=4, tensor=4), 2, 2, 12),
    "t25 1B": Work(LLAMA_1B, MUON, Mesh(tensor=4), 4, 1, "selective"),
    "t26 8B": Work(LLAMA_8B, ADAMW, Mesh(pipeline=4, shard=8), 1, 8, 32),
    "t27 8B": Work(LLAMA_8B, MUON, Mesh(pipeline=4, shard=8, tensor=2), 1, 16, "selective"),
    "t28 13B": Work(LLAMA_13B, ADAMW, Mesh(pipeline=4, shard=4, stages_per_rank=2), 1, 8, 40),
    "t29 70B": Work(LLAMA_70B, ADAMW, Mesh(pipeline=8, shard=8, tensor=8), 1, 16),
    "t30 405B": Work(LLAMA_405B, ADAMW, Mesh(pipeline=16, shard=128, tensor=8), 1, 16, 126),
    "t31 405B": Work(LLAMA_405B, ADAMW, Mesh(pipeline=16, shard=128, tensor=8, stages_per_rank=7), 1, 16, 126),
    "h1 1B": Work(LLAMA_1B, MUON, Mesh(), 1, 2, "selective", "float32"),
    "h2 3B": Work(LLAMA_3B, ADAMW, Mesh(shard=16), 2),
    "h3 8B": Work(LLAMA_8B, MUON, Mesh(replicate=16, shard=64), 1, 2, "selective"),
    "h4 4B": Work(QWEN_4B, ADAMW, Mesh(replicate=4, shard=8), 2, 2, 12),
    "h5 gpt2 1.5B": Work(GPT2_1500M, MUON, Mesh(replicate=8), 8, 1, 24),
    "h6 gpt2 124M": Work(GPT2_124M, ADAMW, Mesh(shard=2), 32, 2, 0, "float32"),
    "h7 70B": Work(LLAMA_70B, MUON, Mesh(replicate=8, shard=128), 1, 1, 80),
    "h8 13B": Work(LLAMA_13B, ADAMW, Mesh(shard=8), 4, 1, 40),
    "h9 70B": Work(LLAMA_70B, MUON, Mesh(shard=64, tensor=8), 1, 1, 80),
    "h10 13B": Work(LLAMA_13B, ADAMW, Mesh(shard=4, context=4), 4, 1, "selective"),
    "h11 3B": Work(LLAMA_3B, MUON, Mesh(tensor=2), 2, 1, 28, "float32"),
    "h12 8B": Work(LLAMA_8B, ADAMW, Mesh(replicate=2, shard=4, context=2, tensor=2), 2, 2, "selective"),
    "h13 14B": Work(QWEN_14B, MUON, Mesh(replicate=4, shard=8, tensor=8), 2, 1, 20),
    "h14 1B": Work(LLAMA_1B, MUON, Mesh(shard=2, context=16), 8),
    "h15 0.6B": Work(QWEN_600M, ADAMW, Mesh(context=2), 2, 1, 0, "float32"),
    "h16 14B": Work(QWEN_14B, MUON, Mesh(pipeline=2, shard=16), 2, 8, 20),
    "h17 7B": Work(OLMO_7B, ADAMW, Mesh(pipeline=8, replicate=2, stages_per_rank=4), 1, 16, "selective"),
    "h18 70B": Work(LLAMA_70B, MUON, Mesh(pipeline=5, shard=8, context=2, tensor=4, stages_per_rank=2), 1, 20, 80),
    "h19 13B": Work(LLAMA_13B, ADAMW, Mesh(pipeline=4, replicate=2), 1, 6, 0, "float32"),
}


def main(names: list[str]) -> None:
    """Print a row of each of the works: the simulated memory, and the forecasts over it."""
    print("| row | layout | optimizer, dtype, recomputed | simulated, GiB | forecast | 16 bytes | exchanges |")
    print("|---|---|---|--:|--:|--:|--:|")
    for name, work in WORKS.items():
        if names and name.split()[0] not in names:
            continue
        accounts = [simulate(work, place) for place in work.mesh.differing_places]
        peak = max(account.total_peak_bytes for account in accounts)
        found, exchanged = (sum(each.num_bytes for each in of) for of in (exchanges(work), accounts[0].exchanges))
        rule = 16 * count_parameters(work.model).total / work.mesh.size("pipeline", *STATE_AXES) / peak
        kind = f"{work.optim.name}, {work.dtype}, {work.recompute}"
        memory = f"{peak / GIB:.1f} | {gpu_memory(work, is_compiled=False).tensors / peak:.3f} | {rule:.2f}"
        ratio = f"{found / exchanged:.4f}" if exchanged else ""
        print(f"| {name} | {work.mesh} | {kind} | {memory} | {ratio} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
