"""A run's folder as one call asks it: files that stay the same are read once, and damaged ones hold nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from headwater.core.errors import ConfigError
from headwater.runfile.damage import require_run_dir
from headwater.runfile.paths import CLOCK_TICK_SECONDS, RunFolder, of_split


def old(path: Path, text: str, seconds: float = 60.0) -> Path:
    """Write a file as it would be some seconds after it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.mark.parametrize(
    ("change", "num_reads"),
    [
        (lambda path: None, 1),
        (lambda path: old(path, "1", 61.0), 2),  # another time
        (lambda path: old(path, "12", 60.0), 2),  # another size
        (lambda path: os.replace(old(path.with_name("new"), "1"), path), 2),  # another file
        (lambda path: path.unlink(), 2),
    ],
)
def test_a_file_is_read_again_where_it_has_changed_and_only_there(tmp_path, change, num_reads):
    reads, path, here = [], old(tmp_path / "a", "1"), RunFolder(tmp_path)
    read = lambda path: reads.append(path) or (path.read_text() if path.exists() else None)  # noqa: E731
    assert here.once(path, read) == here.once(tmp_path / "." / "a", read) == "1"
    assert len(reads) == 1
    change(path)
    assert here.once(path, read) == (path.read_text() if path.exists() else None)
    here.once(path, read)
    assert len(reads) == num_reads
    assert here.once(path, lambda path: "read otherwise") == "read otherwise"


@pytest.mark.parametrize(("seconds", "again"), [(0.0, "second"), (CLOCK_TICK_SECONDS + 9, "first")])
def test_of_a_file_that_was_just_written_nothing_is_kept(tmp_path, seconds, again):
    """Though none of its facts has changed."""
    here, path, values = RunFolder(tmp_path), old(tmp_path / "a", "1", seconds), iter(["first", "second"])
    read = lambda path: next(values)  # noqa: E731
    assert [here.once(path, read), here.once(path, read)] == ["first", again]


def test_what_is_missing_or_damaged_is_nothing(tmp_path):
    here = RunFolder(tmp_path)
    for text in (None, "{", "[]", "\xff"):
        if text is not None:
            old(here.tokens / "manifest.json", text)
        assert here.manifest(here.tokens) == {} and here.digest(here.tokens) == "None"
        assert of_split(tmp_path, "train") is None
    counts = {"a": {"num_tokens": 7, "num_targets": 5}, "b": {"num_tokens": 3}}
    old(here.tokens / "manifest.json", json.dumps({"digest": "d", "splits": {"train": counts}}))
    assert here.digest(here.tokens) == "d"
    assert of_split(tmp_path, "train") == {"a": 7, "b": 3}
    assert of_split(tmp_path, "train", "num_targets") == {"a": 5, "b": 3}
    assert of_split(tmp_path, "validation") is None


@pytest.mark.parametrize("name", ["config.json", "records.jsonl", "other.json"])
def test_a_run_folder_has_settings_or_records(tmp_path, name):
    with pytest.raises(ConfigError, match="not a run's"):
        require_run_dir(tmp_path)
    (tmp_path / name).write_text('{"settings": {"name": "mine"}}')
    if name == "other.json":
        with pytest.raises(ConfigError, match="not a run's"):
            require_run_dir(tmp_path)
    else:
        require_run_dir(tmp_path)
