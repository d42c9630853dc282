"""Bits per byte of anybody's text, against a text's own surprise; its interval; what can't be read."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from headwater.core.errors import DataError, EvaluationError
from headwater.core.intervals import MIN_DOCUMENTS, ratio_estimate
from headwater.evaluate.bits_per_byte import measure_text
from headwater.evaluate.generate import surprise
from headwater.evaluate.scorer import Scorer
from headwater.runfile.run_config import config_of_run
from headwater.runs.library.evaluating import evaluate_text, read_texts
from headwater.runs.loading import load_model


@pytest.fixture(scope="module")
def loaded(finished):
    model, tokenizer = load_model(finished.run_dir)
    return Scorer(model), tokenizer


def test_bits_per_byte_are_those_of_surprise_over_all_texts(loaded):
    texts = ["The river.", "The river starts at its headwater. " * 40, "Ünïcode 中文"]
    found = measure_text(*loaded, texts)
    sizes = [len(text.encode()) for text in texts]
    bits = [surprise(*loaded, text).bits_per_byte * size for text, size in zip(texts, sizes)]
    assert found.bits_per_byte == pytest.approx(sum(bits) / sum(sizes), rel=1e-5)
    assert (found.num_documents, found.num_bytes, found.parts) == (3, sum(sizes), "passages")


def test_many_documents_are_the_parts_of_the_interval(loaded):
    texts = [f"The river starts at {number} headwaters." for number in range(MIN_DOCUMENTS)]
    found = measure_text(*loaded, texts)
    assert found.interval is not None and found.interval.num == MIN_DOCUMENTS
    assert found.parts == "documents" and found.interval.low < found.bits_per_byte < found.interval.high


def test_an_interval_of_95_percent_holds_the_ratio_about_as_often():
    chance, held = random.Random(0), 0
    for _ in range(300):
        sizes = [chance.randint(100, 2000) for _ in range(40)]
        found = ratio_estimate([size * chance.gauss(1.5, 0.3) for size in sizes], sizes)
        held += found.low <= 1.5 <= found.high
    assert 0.89 <= held / 300 <= 0.98


def test_a_text_of_one_passage_has_no_interval_and_an_empty_one_is_an_error(loaded):
    assert measure_text(*loaded, ["Short."]).interval is None
    with pytest.raises(EvaluationError, match="empty"):
        measure_text(*loaded, ["", ""])


def test_a_folder_is_read_file_by_file_without_hidden_ones(tmp_path):
    for name, data in {"b.txt": b"second", "a/x.md": "\ufefffirst".encode(), ".git/x": b"\xff", "z": b""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert read_texts(tmp_path) == ["first", "second", ""]


def test_a_path_that_exists_is_no_pattern(tmp_path):
    for name in ("notes1.txt", "notes[1].txt", "a[b]/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert read_texts(tmp_path / "notes[1].txt") == ["notes[1].txt"]
    assert read_texts(tmp_path / "a[b]") == ["a[b]/x"]


def test_a_file_of_another_encoding_is_named_with_the_byte(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("Fluß".encode("latin1"))
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8: byte 3 is 0xdf; .*iconv"):
        read_texts(path)
    with pytest.raises(DataError, match="no such file"):
        read_texts(tmp_path / "none")


def test_a_runs_own_training_text_counts_the_simpler_models(finished, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The river starts at its headwater, and the sea is where it ends. " * 20)
    found = evaluate_text(config_of_run(finished.run_dir), path, lambda line: None)
    assert set(found.baselines) == {"xz", "ngram5"}
    assert all(np.isfinite(value) and value > 0 for value in found.baselines.values())
    assert math.isfinite(found.measure.bits_per_byte)
