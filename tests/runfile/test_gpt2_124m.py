"""The recipe gpt2-124m: its size, what it does with too little text, and a shrunken copy from text to report."""

from __future__ import annotations

import pytest
import torch
from small_run import call, require_clear_error, write_texts

from headwater.core.records import read_records
from headwater.model.count import count_parameters
from headwater.model.transformer import Transformer
from headwater.runfile.run_config import load_run

SHRUNKEN = [
    "tokenizer.vocab_size=384",
    "model.num_layers=2",
    "model.d_model=64",
    "model.num_heads=2",
    "model.head_dim=32",
    "model.seq_len=64",
    "train.num_steps=6",
    "train.batch_tokens=512",
    "train.num_probes=1",
    "machine.dtype=float32",
    "machine.num_threads=1",
]


def test_it_has_124_million_parameters_by_count_and_as_built():
    model = load_run("gpt2-124m", [])[0].model
    assert (model.num_layers, model.d_model, model.num_heads, model.seq_len) == (12, 768, 12, 1024)
    counted = count_parameters(model).total
    with torch.device("meta"):
        built = sum(parameter.numel() for parameter in Transformer(model).parameters())
    assert counted == built
    assert counted == pytest.approx(124e6, rel=0.01)


def test_too_little_text_for_the_steps_says_so_instead_of_repeating_it(tmp_path):
    write_texts(tmp_path / "text")
    said = call("run", "gpt2-124m", *SHRUNKEN, "train.num_steps=100000", cwd=tmp_path)
    require_clear_error(said, "the run needs", "epoch caps allow", "give more text")


def test_a_shrunken_copy_goes_from_named_text_to_report(tmp_path):
    write_texts(tmp_path / "mine")
    said = call(
        "run", "gpt2-124m", *SHRUNKEN, 'corpus.sources.text.paths=["mine"]', "machine.compile=off", cwd=tmp_path
    )
    assert said.status == 0, said
    assert "2 layers × 64" in said.out
    run_dir = tmp_path / "runs" / "gpt2-124m"
    losses = [record["loss"] for record in read_records(run_dir / "records.jsonl", "step")]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert (run_dir / "report.html").is_file()
    assert (run_dir / "export" / "hf" / "config.json").is_file()
