"""The throughput benchmark on a tiny shape, against a made-up peer and an independent bootstrap."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

PEER = """
from dataclasses import dataclass
import torch

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wte = torch.nn.Embedding(config.vocab_size, config.n_embd)
        self.lm_head = torch.nn.Linear(config.n_embd, config.vocab_size, bias=False)
        print("what a peer prints isn't an answer")

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        return torch.optim.AdamW(self.parameters(), lr=0.01, betas=betas, weight_decay=weight_decay)

    def forward(self, idx, targets):
        logits = self.lm_head(self.wte(idx))
        return logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
"""


@pytest.fixture
def benchmark_modules(monkeypatch):
    """Let a test import the modules that stand beside the script, as the script does."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    # without dynamo torch.compile returns what it is given: nothing here is about a compiler
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(BENCHMARKS / "throughput.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)


def test_a_tiny_run_ends_with_one_json_line_of_medians_and_ratios(tmp_path):
    (tmp_path / "peer").mkdir()
    (tmp_path / "peer" / "model.py").write_text(PEER)
    text = tmp_path / "text.txt"
    text.write_text("".join(f"the number {n} comes before the number {n + 1}\n" for n in range(4000)))
    arguments = ["--json", "--shape", "1,2,32,32,300,2", "--text", str(text), "--only", "headwater,nanoGPT,nanochat"]
    arguments += ["--peer", f"nanoGPT={tmp_path / 'peer'}", "--peer", f"nanochat={tmp_path / 'nowhere'}"]
    arguments += ["--mode", "nanoGPT=float32", "--rounds", "3", "--round-seconds", "0.05", "--no-roofline"]
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    (shape,) = result["shapes"]
    assert shape["shape"]["vocab_size"] == 300
    headwater, peer = shape["contenders"]["headwater"], shape["contenders"]["nanoGPT"]
    for contender in (headwater, peer):
        assert contender["status"] == "ok", contender
        assert contender["learns"], f"loss {contender['first_loss']} to {contender['last_loss']}"
        assert len(contender["rounds_ms_per_step"]) == 3
        assert contender["ms_per_step"] == pytest.approx(statistics.median(contender["rounds_ms_per_step"]), rel=1e-3)
        rounded = 1e-3 + 0.0005 / contender["ms_per_step"]  # to a microsecond, of which a step may have 300
        assert contender["tokens_per_second"] == pytest.approx(2 * 32 / contender["ms_per_step"] * 1000, rel=rounded)
        assert contender["peak_rss_bytes"] > 10**7
    assert 0 <= headwater.get("mfu", 0) <= 1  # of a peak that a tiny model is nowhere near; none beside other work
    assert 0 <= headwater["data_wait_fraction"] <= 1
    assert peer["parameters"] == 2 * 300 * 32
    ratio = shape["ratios"]["nanoGPT"]
    assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
    assert shape["contenders"]["nanochat"]["status"].startswith("missing: ")
    assert "nanochat: missing" in done.stdout


def test_the_interval_is_that_of_an_independent_bootstrap(benchmark_modules):
    from intervals import ratio_interval

    mine = [1.00, 1.10, 0.95, 1.30, 1.02, 0.99, 1.05]
    theirs = [1.52, 1.61, 1.50, 1.49, 1.70, 1.44, 1.66]
    found = ratio_interval(mine, theirs)
    generator = random.Random(7)
    pairs = list(zip(mine, theirs, strict=True))
    medians = []
    for _ in range(20_000):
        drawn = [generator.choice(pairs) for _ in pairs]
        medians.append(statistics.median(slow / fast for fast, slow in drawn))
    medians.sort()
    assert found["ratio"] == pytest.approx(statistics.median(slow / fast for fast, slow in pairs))
    # a median over seven rounds takes few values: the bounds are among them, or next to one
    assert found["low"] == pytest.approx(medians[len(medians) * 25 // 1000], abs=0.06)
    assert found["high"] == pytest.approx(medians[len(medians) * 975 // 1000], abs=0.06)


def test_the_counted_flops_of_a_peer_are_those_of_its_linear_maps_and_attention(benchmark_modules):
    import torch

    from job import Shape
    from watch import count

    shape = Shape(num_layers=3, num_heads=2, d_model=8, seq_len=5, vocab_size=11, rows=2)
    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(11, 8), "head": torch.nn.Linear(8, 11, bias=False)})
    model["head"].weight = model["embed"].weight
    num_parameters, flops_per_token = count(model, shape)
    assert num_parameters == 11 * 8
    # by hand, a whole row: each position scores and mixes the positions up to its own, in 3 layers
    attended = sum(range(1, 6))
    by_hand = 5 * 6 * 11 * 8 + 3 * 3 * attended * 2 * (2 * 8)
    assert flops_per_token * 5 == pytest.approx(by_hand)
