"""What comes after training: a baseline that fails ends nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import pytest
from small_run import call

from headwater.core.files import digest_file, read_json, write_json
from headwater.corpus.load import read_documents
from headwater.evaluate.baselines import LEAST_LINE_BYTES, ngram_bits_per_byte, xz_bits_per_byte
from headwater.page.report.page import report_stage
from headwater.runfile.run_config import config_of_run
from headwater.tokens.read import open_stores
from headwater.tokens.tokenizer.tokenizer import Tokenizer


def test_baselines_of_a_small_run_are_of_all_its_text(finished_run):
    run_dir = finished_run / "runs" / "mine"
    evaluation = read_json(run_dir / "evaluation.json")
    tokenizer = Tokenizer.load(run_dir / "data" / "tokenizer")
    texts = {
        split: [d.text.encode() for d in read_documents(run_dir / "data" / "corpus", split, "mine")]
        for split in ("train", "validation")
    }
    text = b"".join(texts["validation"])
    lines, held_out_lines = (
        [line for each in texts[split] for line in each.split(b"\n") if len(line) >= LEAST_LINE_BYTES]
        for split in texts
    )
    assert evaluation["baselines"]["xz"] == xz_bits_per_byte(text)
    train, held_out = (open_stores(run_dir / "data" / "tokens", split)["mine"] for split in ("train", "validation"))
    streams = [[(store.slice(0, store.num_tokens), store.starts)] for store in (train, held_out)]
    ids = (tokenizer.vocab_size, tokenizer.begin_id, tokenizer.end_id)
    assert evaluation["baselines"]["ngram5"] == ngram_bits_per_byte(*streams, len(text), *ids)
    assert evaluation["baseline_sample"] == {
        "counted_tokens": train.num_tokens,
        "of_tokens": train.num_tokens,
        "scored_bytes": len(text),
        "of_bytes": len(text),
        "scored_lines": len(held_out_lines),
        "repeated_lines": sum(line in lines for line in held_out_lines),
    }


def test_a_report_is_written_again_when_a_figure_that_it_shows_has_changed_and_no_other_time(finished_copy):
    run_dir, said = finished_copy / "runs/mine", []
    records, config = run_dir / "records.jsonl", config_of_run(run_dir)
    report_stage(config, said.append)
    assert said == []
    before = records.read_bytes()
    records.write_bytes(before.replace(b'"lr":0.0', b'"lr":0.1'))
    assert len(records.read_bytes()) == len(before) and records.read_bytes() != before
    report_stage(config, said.append)
    assert said == [f"wrote {run_dir / 'report.html'}"]


def test_an_evaluation_that_ends_the_process_leaves_the_export_whose_card_the_next_one_completes(finished_copy):
    run_dir = finished_copy / "runs" / "mine"
    export = run_dir / "export" / "hf"
    (run_dir / "evaluation.json").unlink()
    shutil.rmtree(export)
    with (
        mock.patch("headwater.evaluate.evaluator.full_evaluation", side_effect=MemoryError),
        pytest.raises(MemoryError),
    ):
        call("run", "mine.toml", cwd=finished_copy)
    written = (export / "model.safetensors").stat()
    assert "Evaluation" not in (export / "README.md").read_text()
    assert call("run", "mine.toml", cwd=finished_copy).status == 0
    assert "5-gram" in (export / "README.md").read_text()
    assert (export / "model.safetensors").stat().st_ino == written.st_ino, "the same weights are not written again"


def lying(path: Path) -> None:
    """Have the manifest of an export name a file outside of it."""
    (path.parents[2] / "x.safetensors").write_bytes(b"weights")
    manifest = read_json(path.parent / "manifest.json")
    manifest["files"] = {"../../x.safetensors": digest_file(path.parents[2] / "x.safetensors")}
    write_json(path.parent / "manifest.json", manifest)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"other weights"), lying])
def test_weights_that_are_not_what_an_export_had_are_written_again(finished_copy, damage):
    export = finished_copy / "runs" / "mine" / "export" / "hf"
    before = (export / "model.safetensors").read_bytes()
    damage(export / "model.safetensors")
    (finished_copy / "runs" / "mine" / "evaluation.json").unlink()
    assert call("run", "mine.toml", cwd=finished_copy).status == 0
    assert (export / "model.safetensors").read_bytes() == before
