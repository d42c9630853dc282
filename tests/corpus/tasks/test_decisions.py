from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from headwater.corpus.tasks.arrays import ArrayFile, write_arrays
from headwater.corpus.tasks.near import PAIRS
from headwater.corpus.tasks.results import table_of
from headwater.corpus.tasks.segments import Flags, flag_ranges, write_flags

from headwater.corpus.tasks import arrays, decisions, segments
from headwater.corpus.tasks.work import Output

DOCUMENTS_A_PART, NUM_PARTS = 10, 100


class Stored:
    """A work folder of copies and of the pairs of every part, as far as decisions need one."""

    def __init__(self, folder, copies, pairs):
        self.folder = folder
        self.path_of("found-exact").mkdir()
        self.path_of("decisions").mkdir()
        for start, end in flag_ranges(len(copies)):
            write_flags(Output(self.path_of("found-exact")), start, copies[start:end])
        for part in range(NUM_PARTS):
            own = pairs[pairs[:, 0] // DOCUMENTS_A_PART == part]
            write_arrays(folder / f"pairs-{part}", {"pairs": table_of(PAIRS, own[:, 0], own[:, 1])})

    def path_of(self, stage):
        return self.folder / stage

    def is_done(self, task):
        return False

    @contextmanager
    def new_output(self, task):
        yield Output(self.path_of(task.stage))

    def arrays_of(self, stage, part):
        return ArrayFile(self.folder / f"pairs-{part}")


@pytest.mark.parametrize("pairs_at_once", [1, 70, 1 << 17])
def test_many_parts_are_decided_as_one_after_another_and_open_each_file_of_marks_together(
    tmp_path, monkeypatch, pairs_at_once
):
    monkeypatch.setattr(segments, "FLAGS_A_FILE", 105)  # ranges that end within a part
    monkeypatch.setattr(segments, "_FILES_AT_HAND", 1)
    monkeypatch.setattr(decisions, "_PAIRS_AT_ONCE", pairs_at_once, raising=False)
    chance, count = np.random.default_rng(0), DOCUMENTS_A_PART * NUM_PARTS
    copies = (chance.random(count) < 0.1).astype(np.uint8)
    later = np.sort(chance.integers(1, count, 3 * count))
    pairs = np.unique(np.stack([later, chance.integers(0, later)], axis=1), axis=0)
    expected = copies.tolist()
    for one, other in pairs.tolist():
        if expected[one] == expected[other] == decisions.KEPT:
            expected[one] = decisions.NEAR_DUPLICATE
    work = Stored(tmp_path, copies, pairs)
    opened = []

    def noted(path, mode):
        opened.append(path)
        return open(path, mode)

    monkeypatch.setattr(arrays, "open", noted, raising=False)
    bounds = np.arange(NUM_PARTS + 1) * DOCUMENTS_A_PART
    decisions.write_decisions(work, SimpleNamespace(part_bounds=bounds, num_documents=count), list(range(NUM_PARTS)))
    num_opened = sum(path.parent.name == "decisions" for path in opened)
    assert Flags(tmp_path / "decisions").between(0, count).tolist() == expected
    assert decisions.NEAR_DUPLICATE in expected
    if pairs_at_once > len(pairs):
        num_files = -(-count // 105)
        assert num_opened <= num_files * (num_files + 1) // 2, f"{num_opened} times a file of {num_files} was opened"


@pytest.mark.parametrize("num_documents", [0, 1, 9, 10, 57])
def test_marks_in_files_are_marks_in_memory(tmp_path, monkeypatch, num_documents):
    monkeypatch.setattr(segments, "FLAGS_A_FILE", 10)
    chance = np.random.default_rng(num_documents)
    every = chance.integers(0, 3, num_documents).astype(np.uint8)
    output = Output(tmp_path)
    for start, end in flag_ranges(num_documents):
        write_flags(output, start, every[start:end])
    assert len(output.digests) == -(-num_documents // 10)
    found = Flags(tmp_path)
    for start in range(num_documents + 1):
        for end in range(start, num_documents + 1):
            np.testing.assert_array_equal(found.between(start, end), every[start:end])
    numbers = chance.integers(0, max(num_documents, 1), 200 if num_documents else 0).astype(np.uint64)
    np.testing.assert_array_equal(found.of(numbers), every[numbers])
