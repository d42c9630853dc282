"""Loss curves of a tiny model on made-up text, uncompiled, in fp32: a refactor leaves them as they are.

A change of mathematics changes them; then compare the new curves, say in the commit why they may differ, and write them:
PYTHONPATH=src:tests OMP_NUM_THREADS=1 python tests/golden/test_loss_curves.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from tiny_run import plan, train_here

from headwater.core.records import read_records

CURVES = Path(__file__).with_name("loss_curves.json")
RUNS = {
    "qwen3, tied, muon": {"family": "qwen3", "rule": "muon"},
    "llama, untied, adamw": {"family": "llama", "tied": False, "rule": "adamw", "lr": 0.01},
    "gpt2, tied, muon": {"family": "gpt2", "rule": "muon"},
}
# another instruction set sums in another order: up to 3e-6 was seen between AVX-512, AVX2 and none
TOLERANCE = 1e-5


def losses(run_dir: Path, name: str) -> list[float]:
    train_here(run_dir, plan(num_steps=20, num_probes=0, decay_fraction=0.5, **RUNS[name]))
    return [record["loss"] for record in read_records(run_dir / "records.jsonl", "step")]


@pytest.mark.usefixtures("quick_machine")
@pytest.mark.parametrize("name", RUNS)
def test_twenty_steps_have_the_losses_they_always_had(tmp_path, name):
    expected = json.loads(CURVES.read_text())[name]
    assert len(expected) == 20
    assert losses(tmp_path, name) == pytest.approx(expected, rel=TOLERANCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        curves = {name: losses(Path(folder) / str(number), name) for number, name in enumerate(RUNS)}
    CURVES.write_text(json.dumps(curves, indent=1) + "\n")
