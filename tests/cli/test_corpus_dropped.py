"""What is shown of a corpus that dropped text, and of the runs of a folder."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from small_run import call, require_clear_error, write_run_file, write_texts

from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings
from headwater.train.checkpoint.lock import owned


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    base = tmp_path_factory.mktemp("place")
    (base / "texts").mkdir()
    for number in range(4):
        text = " ".join(f"Sentence {number} {at} tells of the river and of the sea." for at in range(40))
        (base / "texts" / f"long-{number}.txt").write_text(text)
    (base / "texts" / "long-9.txt").write_text((base / "texts" / "long-2.txt").read_text().upper())
    (base / "texts" / "hostile.txt").write_text("\x1b[2Jred\u202etxt.exe\n" + "again " * 30)
    hostile = (base / "texts" / "long-3.txt").read_text() + " A red\u202e\x9b31m alert \x1b[31m."
    (base / "texts" / "long-8.txt").write_text(hostile.replace("river", "alley"))
    rules = {"text": {"max_top_ngram_fractions": [0.9, 0.9, 0.9], "max_repeated_10gram_fraction": 0.6}}
    settings = {"sources": {"own": {"paths": [str(base / "texts")]}}, "dedup": {"near": False}, "rules": rules}
    build_corpus(CorpusSettings.model_validate(settings), base / "runs" / "mine" / "data" / "corpus", print)
    return base


def show(place, *words: str):
    said = call("corpus", "show", "--run", "runs/mine", *words, cwd=place)
    assert said.status == 0, said
    return said


SHOWN = {  # the words, and of which lines which end
    "--dropped": ("repeated_ngrams: 1 document, ", ""),
    "--reason exact_duplicate": ("a duplicate of", "long-2.txt"),
    "--reason repeated_ngrams": (
        "the most frequent run of 2 words covers: ",
        "0.9 at most (corpus.rules.text.max_top_ngram_fractions)",
    ),
}


@pytest.mark.parametrize("words", SHOWN)
def test_what_was_dropped_is_shown_with_why_and_hostile_text_as_escapes(place, words):
    said, (begins, ends) = show(place, *words.split()).out, SHOWN[words]
    assert [line.endswith(ends) for line in said.splitlines() if begins in line] == [True], said
    assert not set(said) & {"\x1b", "\u202e"}
    assert ("\\u202etxt.exe" in said) == ("exact" not in words)


def test_what_a_build_dropped_that_kept_nothing_can_be_seen_until_one_keeps_something(tmp_path):
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(("Hi.", "Ho.")):
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    run_file = str(write_run_file(tmp_path / "mine.toml"))
    show = ("corpus", "show", "--run", "runs/mine")
    require_clear_error(call(*show[:2], "--dropped", *show[2:], cwd=tmp_path), "is no recipe, run file or run folder")
    require_clear_error(call("corpus", "build", run_file, cwd=tmp_path), "corpus is empty", "corpus show RUN --dropped")
    require_clear_error(call(*show, cwd=tmp_path), "kept too little", "--dropped")
    said = call(*show, "--dropped", cwd=tmp_path)
    assert said.status == 0, said
    assert "kept too little" in said.out and "too_short: 2 documents" in said.out and "Ho." in said.out
    write_texts(tmp_path / "texts", 4)
    assert call("corpus", "build", run_file, cwd=tmp_path).status == 0
    said = call(*show, "--dropped", "--json", cwd=tmp_path)
    assert said.json["dropped"]["too_short"]["documents"] == 2 and said.err == ""
    assert sorted(path.name for path in (tmp_path / "runs" / "mine" / "data").iterdir()) == [".corpus-work", "corpus"]


STEP = {"event": "step", "attempt": 1, "step": 7, "tokens_seen": 700, "loss": 3.25, "tokens_per_second": 1234.0}
STEP |= {"seconds": 0.5}
FINISH = {"event": "finish", "attempt": 1, "step": 20}
HERE = {"pid": os.getpid(), "host": socket.gethostname(), "epoch": 1}
CONFIG = json.dumps({"settings": {"train": {"num_steps": 20}}})


def write_run(run_dir: Path, *records: dict, lock: dict | None = None, **files: str) -> Path:
    """Write what a run leaves: its settings, these records, and files by their names but for .json."""
    run_dir.mkdir(parents=True)
    locks = {} if lock is None else {"lock": json.dumps(lock)}
    config = {"config.json": CONFIG, "records.jsonl": "".join(json.dumps(record) + "\n" for record in records)}
    for name, text in {**config, **locks, **{f"{name}.json": text for name, text in files.items()}}.items():
        (run_dir / name).write_text(text)
    return run_dir


@pytest.fixture
def runs(tmp_path) -> Path:
    return tmp_path / "runs"


def watched(runs: Path, *words: str) -> list[dict[str, Any]]:
    return call("watch", *words, "--json", cwd=runs.parent).json["runs"]


STATES: dict[str, tuple[list[dict], dict[str, Any], str]] = {  # records, what else lies there, and what is said
    "finished": ([STEP, FINISH], {}, "finished, step 20 of 20"),
    "stopped": ([STEP, {"event": "stopped", "attempt": 1, "step": 7}], {}, "stopped, step 7 of 20"),
    "of another process": ([STEP], {"lock": HERE | {"pid": 2**22 + 1}}, "killed, step 7 of 20"),
    "elsewhere": ([STEP | {"age": 0}], {"lock": HERE | {"host": "elsewhere"}}, "running, step 7 of 20"),
    "long gone": ([STEP | {"age": 3600}], {"lock": HERE | {"host": "elsewhere"}}, "killed, step 7 of 20"),
    "preparing": ([], {}, "preparing"),  # its lock is held
    "with-a-name-that-is-too-long-for-its-column": ([], {}, "not started"),
    "longer": ([STEP, FINISH, {"event": "resume", "attempt": 2, "step": 7}], {}, "killed, step 7 of 20"),
    "aligned": ([{"event": "step", "attempt": 1, "step": 3, "reward": 0.5}], {"derived": '{"num_steps": 40}'}, "killed, step 3 of 40"),
    "aligned early": ([{"event": "step", "attempt": 1, "step": 2}, FINISH | {"step": 2}], {}, "finished, step 2 of 2"),
    "damaged": ([STEP], {"config": '{"settings": [1]}', "lock": {"pid": 10**20}}, "damaged, step 7"),
}  # fmt: skip


def test_the_state_is_what_records_and_lock_say_here_and_in_the_list_of_headwater_alone(runs):
    for name, (records, more, _) in STATES.items():
        now = [record | {"time": time.time() - record["age"]} if "age" in record else record for record in records]
        write_run(runs / name, *now, **more)
    with open(runs / "stopped" / "records.jsonl", "a") as file:
        file.write('{"event": "ste')
    said = {name: words for name, (*_, words) in STATES.items()}
    with owned(runs / "preparing"):
        states, lines = {run["name"]: run["state"] for run in watched(runs)}, call(cwd=runs.parent).out.splitlines()
    assert states == {name: words.partition(",")[0] for name, words in said.items()}
    found = [line.strip().split("  ", 1) for line in lines if line.startswith("  runs/")]
    assert {name.removeprefix("runs/"): words.strip() for name, words in found} == said


def test_a_run_whose_process_is_there_runs_and_says_how_long_yet(runs):
    steps = [STEP | {"step": step, "time": 100.0 + 2 * step} for step in range(1, 11)]
    with owned(write_run(runs / "mine", *steps)):
        (found,) = watched(runs)
    assert (found["state"], found["seconds_left"]) == ("running", 20.0)


def test_a_name_cannot_drive_the_terminal(runs):
    runs.mkdir()
    said = call("watch", str(runs), cwd=runs.parent).out
    assert "headwater run first-light" in said and "no run in" in said
    empty = runs.rename(runs.with_name("runs\x1b[2J"))
    assert "\x1b" not in call("watch", str(empty), cwd=runs.parent).out
    write_run(runs / "a\x1b[31m\u202eb\n[red]c", STEP)
    said = call("watch", cwd=runs.parent).out
    assert not set(said) & {"\x1b", "\u202e"} and "[red]c" in said and len(said.splitlines()) == 2


def test_a_file_that_names_text_alone_is_built_shown_and_tuned_and_is_no_run_before_it_describes_a_model(tmp_path):
    write_texts(tmp_path / "texts")
    text = '[corpus.sources.own]\npaths = ["texts"]\n'
    (tmp_path / "mine.toml").write_text(text)
    words = ("build", "mine.toml"), ("show", "mine.toml"), ("tune", "mine.toml", "corpus.rules.text.min_words=1")
    for each in words:
        assert call("corpus", *each, cwd=tmp_path).status == 0
    refused = call("plan", "mine.toml", cwd=tmp_path)
    assert refused.status == 2 and "model.num_layers" in refused.err and "train.num_steps" in refused.err
    assert not (tmp_path / "runs" / "mine" / "config.json").exists()
    model = "[model]\nnum_layers = 2\nseq_len = 32\n[tokenizer]\n[train]\nnum_steps = 5\n"
    (tmp_path / "mine.toml").write_text(text + model)
    assert "nothing to do" in call("corpus", "build", "mine.toml", cwd=tmp_path).out
    assert (tmp_path / "runs" / "mine" / "config.json").exists()
