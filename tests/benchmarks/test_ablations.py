"""Ablations: differences and a judge by hand, texts that share no document, and one tiny real run."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_run import prose

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import ablate  # noqa: E402
from job import Shape  # noqa: E402
from quality.headwater import run  # noqa: E402
from quality.job import Job  # noqa: E402
from quality.judge import held_out_bits_per_byte  # noqa: E402
from quality.texts import prepare_texts  # noqa: E402
from texts import split  # noqa: E402


def runs(*values):
    return [{"bits_per_byte": value} for value in values]


def test_a_difference_is_paired_by_seed():
    # the seeds differ by 1, the pairs by 0.1 and 0.3: t(1 degree, 97.5 %) = 12.706, standard error 0.1
    mean, half = ablate.difference(runs(2.1, 3.3), runs(2.0, 3.0))
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_one_seed_has_no_interval_and_a_diverged_run_is_infinitely_worse():
    assert math.isnan(ablate.difference(runs(2.1), runs(2.0))[1])
    assert ablate.difference(runs(None), runs(2.0))[0] == math.inf


def test_a_uniform_model_has_log2_of_the_vocabulary_bits_a_token():
    token_bytes = np.array([0, 0, 1, 2, 3, 4])  # begin, end, and four tokens of text
    stream = np.array([0, 2, 3, 4, 5, 2, 2, 1, 0, 3, 3, 1], dtype=np.int32)
    num_targets, num_bytes = 8, 1 + 2 + 3 + 4 + 1 + 1 + 2 + 2
    found = held_out_bits_per_byte(lambda tokens_BT: torch.zeros(*tokens_BT.shape, 6), stream, token_bytes, 5)
    assert found == pytest.approx(math.log2(6) * num_targets / num_bytes)


def test_every_target_is_judged_once_after_the_token_before_it():
    stream = np.array([0, 2, 3, 4, 5, 2, 2], dtype=np.int32)
    token_bytes = np.array([0, 0, 1, 1, 1, 1])
    follows = dict(zip(stream[:-1].tolist(), stream[1:].tolist()))  # after 2 comes 3 at first and 2 at the end

    def logits(tokens_BT):
        next_BT = tokens_BT.clone().apply_(lambda token: follows[token])
        return 100.0 * torch.nn.functional.one_hot(next_BT, 6)

    # one of six targets is a surprise of 100 nats
    found = held_out_bits_per_byte(logits, stream, token_bytes, 4)
    assert found == pytest.approx(100 / math.log(2) / 6)


def test_whole_documents_are_held_out_and_none_is_on_both_sides():
    documents = [f"{number} {prose(number)}" for number in range(1200)]
    train, held_out = split([*documents, documents[0], "a crumb"])
    assert sorted(train + held_out) == sorted(document.strip() for document in documents)
    assert sum(len(text.encode()) for text in held_out) >= 300_000


@pytest.fixture(scope="module")
def two_texts(tmp_path_factory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("texts")
    for name, seeds in (("train.txt", range(60)), ("held-out.txt", range(100, 106))):
        (folder / name).write_text("\n".join(prose(seed) for seed in seeds), encoding="utf-8")
    return str(folder / "train.txt"), str(folder / "held-out.txt")


@pytest.mark.slow
def test_a_run_trains_the_planned_steps_and_judges_the_held_out_text(two_texts, tmp_path):
    shape = Shape.parse("1,2,32,32,384,4")
    texts = prepare_texts(*map(Path, two_texts), shape, tmp_path, lambda line: None)
    settings = ("train.batch_tokens=256", "machine.dtype=float32", "machine.compile=off")
    result = run(Job(str(texts.folder), shape, 1, 4, settings))
    assert result["steps"] == 4
    assert 0 < result["bits_per_byte"] < math.log2(384)


def test_held_out_tokens_stand_for_all_bytes_of_the_held_out_text(two_texts, tmp_path):
    train, held_out = map(Path, two_texts)
    texts = prepare_texts(train, held_out, Shape.parse("1,2,32,64,384,4"), tmp_path, lambda line: None)
    num_bytes = int(texts.token_bytes()[texts.held_out_tokens()].sum())
    assert num_bytes == held_out.stat().st_size == texts.facts["held_out_bytes"]
