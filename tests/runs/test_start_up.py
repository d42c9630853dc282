"""A start reads each token store once, builds a damaged one again, and checks the room on the disk before its first step.

One with nothing to do reads little, and loads nothing that makes anything.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from small_run import call, environment, quick, write_run_file, write_texts

from headwater.core import errors
from headwater.core.errors import StoreError
from headwater.core.files import digest_file
from headwater.core.records import read_records
from headwater.runfile.paths import CLOCK_TICK_SECONDS
from headwater.runs.running import run as train_run
from headwater.tokens import read


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A run whose data is ready and whose training has not begun."""
    folder = tmp_path_factory.mktemp("prepared")
    write_texts(folder / "texts", num_files=20)
    settings = {"train__num_steps": 4, "train__save_every": 2, "train__validate_every": 4, "train__num_probes": 0}
    write_run_file(folder / "mine.toml", texts=str(folder / "texts"), **settings)
    said = call("corpus", "tokenizer", "train", "mine.toml", cwd=folder)
    assert said.status == 0, said
    return folder


@pytest.fixture
def run(prepared, tmp_path) -> Path:
    shutil.copytree(prepared, tmp_path / "here")
    return tmp_path / "here"


def stores(run: Path) -> dict[str, int]:
    """Return the size of each file of the token stores."""
    tokens = run / "runs" / "mine" / "data" / "tokens"
    files = [path for path in tokens.glob("*/*/*") if path.suffix in (".bin", ".off", ".len", ".ids")]
    return {str(path.relative_to(tokens)): path.stat().st_size for path in files}


def test_a_start_reads_each_byte_of_the_stores_once(run, monkeypatch):
    num_read: Counter[str] = Counter()
    blocks = read._blocks

    def counted(path):
        for block in blocks(path):
            num_read["/".join(path.parts[-3:])] += len(block)
            yield block

    monkeypatch.setattr(read, "_blocks", counted)
    said = call("train", "mine.toml", cwd=run)
    assert said.status == 0, said
    assert dict(num_read) == stores(run)


COUNT = """
import json, os, sys
from collections import Counter
opened = Counter()
def count(event, given):
    if event == "open" and not isinstance(given[0], int) and os.fspath(given[0]).endswith((".json", ".jsonl")):
        name = os.path.relpath(given[0], "runs/mine")
        opened[name] += not name.startswith("..")
sys.addaudithook(count)
from headwater.cli.main import main
sys.argv = ["headwater", "run", "mine.toml"]
try:
    main()
except SystemExit as end:
    assert not end.code
print(json.dumps([opened, [name for name in sys.modules if name.split(".")[0] in ("headwater", "torch")]]))
"""


def test_a_run_with_nothing_to_do_reads_each_file_once_and_loads_nothing_that_makes_anything(finished_copy):
    newest = max(path.stat().st_mtime for path in finished_copy.rglob("*.json*"))
    time.sleep(max(0.0, newest + CLOCK_TICK_SECONDS - time.time()))  # of newer files nothing is kept
    done = subprocess.run(
        [sys.executable, "-c", COUNT], cwd=finished_copy, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "training is up to date" in done.stdout, done.stderr
    opened, loaded = json.loads(done.stdout.splitlines()[-1])
    newest = "checkpoints/step-000000008"
    # once for what they say; and once more to see that the checkpoint is whole, and the stores as they were written
    twice = {f"{newest}/manifest.json", f"{newest}/state.json", "data/tokens/manifest.json"}
    assert {name for name, times in opened.items() if times > 1} <= twice and max(opened.values()) <= 2, opened
    assert not any(name.startswith("checkpoints/step-000000004") for name in opened), "older checkpoints are none's"
    makers = (
        "corpus.build",
        "tokens.build",
        "plan.layout",
        "train.loop",
        "evaluate.evaluator",
        "export.hf",
        "page.picture.picture",
    )
    assert not {"torch", *(f"headwater.{name}" for name in makers)} & set(loaded)
    assert len(loaded) <= 170, sorted(loaded)


@pytest.mark.parametrize(("split", "damage"), [("train", "flip"), ("validation", "cut"), ("train", "remove")])
def test_damaged_tokens_are_encoded_again_with_one_line(run, split, damage):
    (path,) = (run / "runs" / "mine" / "data" / "tokens" / split / "mine").glob("*.bin")
    before, data = digest_file(path), path.read_bytes()
    if damage == "flip":
        path.write_bytes(data[:9] + bytes([data[9] ^ 1]) + data[10:])
    elif damage == "cut":
        path.write_bytes(data[:-2])
    else:
        path.unlink()
    said = call("train", "mine.toml", cwd=run)
    assert said.status == 0, said
    (line,) = [line for line in (said.out + said.err).splitlines() if "encoding the corpus again" in line]
    assert str(path.name) in line
    assert digest_file(path) == before
    assert read_records(run / "runs" / "mine" / "records.jsonl")[-1]["event"] == "finish"


def test_too_little_room_for_the_checkpoints_is_said_before_the_first_step(run, monkeypatch):
    monkeypatch.setattr("headwater.train.checkpoint.save.free_bytes", lambda path: 900_000)
    said = call("train", "mine.toml", cwd=run)
    assert said.status == 1 and "Traceback" not in said.err, said
    assert "0.9 MB free" in said.err and "train.keep_checkpoints=2" in said.err, said
    assert "2 more of" in said.err, "two saves are all that this run makes"
    assert not read_records(run / "runs" / "mine" / "records.jsonl", "step")
    monkeypatch.setattr("headwater.train.checkpoint.save.free_bytes", errors.free_bytes)
    assert call("train", "mine.toml", cwd=run).status == 0


def refused(*arguments, **named):
    raise StoreError("damaged")


def test_training_text_that_cannot_be_opened_is_said_before_a_rank_joins_the_others(prepare, monkeypatch):
    joined: list[object] = []
    monkeypatch.setattr("headwater.runs.running.open_batches", refused)
    monkeypatch.setattr("headwater.machine.ranks.rendezvous.join_ranks", lambda place, **named: joined.append(place))
    with quick(), pytest.raises(StoreError, match="damaged"):
        train_run(prepare(name="text", train__num_steps=4).config, say=lambda line: None)
    assert not joined
