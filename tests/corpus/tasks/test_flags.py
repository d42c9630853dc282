from __future__ import annotations

import numpy as np
import pytest

from headwater.corpus.tasks import flags
from headwater.corpus.tasks.flags import Flags, flag_ranges, write_flags
from headwater.corpus.tasks.work import Output


@pytest.mark.parametrize("num_documents", [0, 1, 9, 10, 57])
def test_marks_in_files_are_marks_in_memory(tmp_path, monkeypatch, num_documents):
    monkeypatch.setattr(flags, "FLAGS_A_FILE", 10)
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
