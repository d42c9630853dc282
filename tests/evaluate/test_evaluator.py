"""What a run measures of its model: sums over sources, and nothing that changes the model."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from headwater.core.records import text_scored
from headwater.evaluate.bits_per_byte import Surprise
from headwater.evaluate.evaluator import beginnings, full_evaluation, surprise_fields
from headwater.model.kernels.convert import FusedBlocks
from headwater.runfile.run_config import config_of_run
from headwater.runs.finish import open_evaluator
from headwater.runs.library.corpus import Corpus
from headwater.runs.loading import load_for_evaluation, load_model

BY_SOURCE = {"books": Surprise(700.0, 500, 250), "facts": Surprise(100.0, 300, 100), "notes": Surprise(50.0, 20, 10)}


@pytest.fixture(scope="module")
def loaded(finished):
    return SimpleNamespace(config=config_of_run(finished.run_dir), model=load_model(finished.run_dir)[0])


@pytest.fixture(scope="module")
def evaluator(loaded):
    return open_evaluator(loaded.config)


def test_all_is_the_sum_over_sources_not_the_mean_of_them():
    fields = surprise_fields({**BY_SOURCE, "talks": Surprise()}, frozenset())
    assert set(fields["bits_per_byte"]) == set(fields["loss"]) == {"all", *BY_SOURCE}, "of talks no answer was scored"
    assert fields["bits_per_byte"]["all"] == pytest.approx(850 / math.log(2) / 820)
    assert fields["loss"]["all"] == pytest.approx(850 / 360)
    assert fields["bits_per_byte"]["notes"] == pytest.approx(50 / math.log(2) / 20)


def test_real_text_is_what_no_program_composed_whatever_its_name():
    fields = surprise_fields(BY_SOURCE, frozenset({"facts"}))
    assert fields["bits_per_byte_real_text"] == pytest.approx(750 / math.log(2) / 520)
    assert "bits_per_byte_real_text" not in surprise_fields(BY_SOURCE, frozenset(BY_SOURCE))


def test_a_validation_is_the_same_each_time_and_leaves_the_model_as_it_is(evaluator, loaded):
    weights = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    state = torch.get_rng_state()
    assert evaluator.validate(loaded.model) == evaluator.validate(loaded.model)
    assert dict(evaluator.probe(loaded.model)) == dict(evaluator.probe(loaded.model))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in loaded.model.state_dict().items())
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


def test_a_validation_says_whether_it_is_of_all_held_out_text(evaluator, loaded):
    num_rows = max(source.num_rows for source in evaluator.held_out.values())
    for wanted, is_of_all in [(num_rows, True), (num_rows - 1, False)]:
        assert dataclasses.replace(evaluator, num_rows=wanted).validate(loaded.model)["is_of_all"] is is_of_all
    assert text_scored({"is_of_all": True}) == "all held-out text"
    assert text_scored({}, "real text") == "a sample of real text"


BEGINNINGS = [  # texts, and the prompts that are made of them
    (["# Copyright 2012-2023, Andrey\n\nIt was a dark and stormy night, and rain fell."], ["It was a dark"]),
    (["THE TITLE OF IT\n\nBy Somebody Or Other Of The Old Town\n\nOf all that he said only\nthis is kept."], ["Of all that he"]),
    (["import os\n\n\ndef f(x):\n    return x", "So the river went on down to the sea."], ["So the river went", "import os def f(x):"]),
    (["[common on Usenet's comp.risks newsgroup] The term is said of a user who reads nothing."], ["The term is said"]),
    (["天地玄黄,宇宙洪荒。"], ["天地玄黄,宇宙洪荒。"]),
    (["", "   "], []),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "prompts"), BEGINNINGS)
def test_a_prompt_is_how_a_sentence_of_prose_begins_if_there_is_one(texts, prompts):
    assert beginnings(texts, 2) == prompts


def test_prompts_are_those_given_or_how_sentences_of_held_out_documents_begin(evaluator, loaded, finished):
    assert dataclasses.replace(evaluator, prompts=["One", "Two"]).all_prompts == ["One", "Two"]
    texts = [" ".join(each.text.split()) for each in Corpus(finished.run_dir).documents(split="validation")]
    found = dataclasses.replace(evaluator, prompts=None).all_prompts
    assert found and all(any(prompt in text for text in texts) for prompt in found)
    assert dataclasses.replace(evaluator, prompts=None, held_out={}).all_prompts == ["The", "In the"]
    none = dict(dataclasses.replace(evaluator, prompts=[]).probe(loaded.model))["samples"]
    assert none == {"samples": [], "next": []}


def test_a_probe_has_a_sample_of_every_prompt_and_the_next_tokens_of_the_first(evaluator, loaded):
    found = dict(evaluator.probe(loaded.model))
    assert set(found["probes"]["probes"]) == {"words"}  # this run has no almanac, so nothing that the others ask for
    samples = found["samples"]
    assert [sample["prompt"] for sample in samples["samples"]] == evaluator.all_prompts
    assert [item["prompt"] for item in samples["next"]] == evaluator.all_prompts[:1]
    assert all(text.replace("\n", "").isprintable() for sample in samples["samples"] for text in sample.values())


def test_a_finished_model_is_measured_with_the_operations_of_its_machine(evaluator, loaded):
    """The run itself was compiled by nobody; with kernels its figures are the same up to rounding."""
    in_kernels = loaded.config.machine.model_copy(update={"compile": "auto", "num_threads": 1})
    with load_for_evaluation(loaded.config.model_copy(update={"machine": in_kernels})) as (model, forward):
        if not isinstance(model.blocks, FusedBlocks):
            pytest.skip("no compiler")
        assert model.compute_dtype == torch.float32
        ours, plain = full_evaluation(evaluator, model, forward), full_evaluation(evaluator, loaded.model)
    assert ours["bits_per_byte"] == pytest.approx(plain["bits_per_byte"], rel=1e-5)
    assert ours["loss"] == pytest.approx(plain["loss"], rel=1e-5)
