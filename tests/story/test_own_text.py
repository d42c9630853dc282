"""`headwater new mine --text FOLDER && headwater run mine.toml`, on a folder that nobody prepared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finished_run import FinishedRun
from small_run import call

STAGES = ("data/corpus", "data/tokenizer", "data/tokens", "export/hf")
REASONS = {"empty": 1, "binary": 1, "not_utf8": 1, "not_parquet": 1, "malformed_json": 1}


@pytest.fixture(scope="module")
def again(finished: FinishedRun):
    """What a second run says, with the state of every file before it and after it."""
    before = files_state(finished.run_dir)
    said = call(*finished.arguments, cwd=finished.cwd)
    return said, before, files_state(finished.run_dir)


def files_state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return {file: (inode, size, time of change)}: the same when nothing was written or replaced."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("lock", "epoch")
    }


def test_both_commands_succeed_and_leave_standard_error_empty(finished):
    for said in (finished.new, finished.ran):
        assert (said.status, said.err) == (0, ""), said


def test_new_says_what_it_found_and_the_next_command(finished):
    assert "found 39 documents in 30 files" in finished.new.out
    assert "headwater run mine.toml" in finished.new.out


@pytest.mark.parametrize("name", ["report.html", "records.jsonl", "config.json", "evaluation.json", *STAGES])
def test_the_run_leaves(finished, name):
    assert (finished.run_dir / name).exists()


def test_no_temporary_files_are_left(finished):
    hidden = [path.name for path in finished.run_dir.rglob("*") if path.name.startswith(".")]
    assert hidden == [".corpus-work"], "what was read stays for the next build"


def test_the_export_has_what_transformers_reads(finished):
    folder = finished.run_dir / "export" / "hf"
    for name in ("config", "tokenizer", "tokenizer_config", "generation_config"):
        assert (folder / f"{name}.json").stat().st_size > 0
    assert (folder / "model.safetensors").stat().st_size > 0
    assert json.loads((folder / "config.json").read_text())["architectures"]


def test_the_balance_sheet_balances_and_names_every_drop(finished):
    manifest = json.loads((finished.run_dir / "data/corpus/manifest.json").read_text())
    sheet = manifest["sources"]["mine"]
    for unit in ("documents", "bytes"):
        assert sheet["read"][unit] == sheet["kept"][unit] + sum(drop[unit] for drop in sheet["dropped"].values())
    assert {reason: drop["documents"] for reason, drop in sheet["dropped"].items()} == REASONS


def test_every_usable_format_is_in_the_training_text(finished):
    from headwater.corpus.load import SPLITS, read_documents

    corpus = finished.run_dir / "data/corpus"
    documents = [document for split in SPLITS for document in read_documents(corpus, split, "mine")]
    suffixes = {Path(document.origin).suffix for document in documents}
    assert suffixes == {".txt", ".md", ".html", ".py", ".jsonl"}
    assert not any("<p>" in document.text for document in documents if document.origin.endswith(".html"))


def test_the_cards_say_what_will_be_and_what_is(finished):
    parts = (
        "layers × 32|24 steps × 512|set by machine.dtype|folder|bits per byte|report|xz\u00a0-9e|5-gram|headwater next"
    )
    assert [part for part in parts.split("|") if part not in finished.ran.out] == []


def test_the_terminal_gets_no_escape_sequences_when_it_is_none(finished):
    assert "\x1b" not in finished.ran.out
    assert "\r" not in finished.ran.out


def test_a_second_run_does_nothing_over(again):
    said, before, after = again
    assert said.status == 0, said
    assert after == before


def test_a_second_run_says_that_nothing_was_to_do(again):
    said, _, _ = again
    assert "up to date" in said.out
    assert "step 1" not in said.out.replace("step 24", "")


def test_a_removed_report_is_the_only_thing_made_again(finished, again):
    _, _, before = again
    (finished.run_dir / "report.html").unlink()
    said = call(*finished.arguments, cwd=finished.cwd)
    changed = {name for name, state in files_state(finished.run_dir).items() if before.get(name) != state}
    assert said.status == 0, said
    assert changed <= {"report.html", "stages.json"}


def test_the_report_holds_no_address_of_another_machine(finished):
    page = (finished.run_dir / "report.html").read_text(encoding="utf-8")
    for opener in ('src="http', 'href="http', "@import", 'src="//'):
        assert opener not in page.split("<body", 1)[1].split("<script", 1)[0]
