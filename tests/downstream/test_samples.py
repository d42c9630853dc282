"""Answers are drawn by the model's probabilities, from their seed alone, and their log-probabilities are the model's."""

from __future__ import annotations

import pytest
import torch
from made_up_model import LetterTokenizer, letter_model

from headwater.downstream.samples import Writing, answers, drawn, log_probabilities, plain_prompts
from headwater.evaluate.scorer import Scorer

TOKENIZER, MODEL = LetterTokenizer(), letter_model()
PROMPTS = plain_prompts(TOKENIZER)
WRITING = Writing(6, PROMPTS.ends)


def asked(*prompts: str) -> list[list[int]]:
    return [PROMPTS.ids_of(prompt) for prompt in prompts]


def test_the_same_seed_gives_the_same_answers_and_a_row_its_own():
    def written(*seed):
        return [each.written for each in answers(Scorer(MODEL), TOKENIZER, asked(*["ab"] * 12), WRITING, drawn(*seed))]

    assert written(3, "step", 1) == written(3, "step", 1)
    assert written(3, "step", 1) != written(3, "step", 2)
    assert len({tuple(ids) for ids in written(3, "step", 1)}) > 6


def test_an_answer_ends_with_its_sentence_or_is_cut_off():
    found = answers(Scorer(MODEL), TOKENIZER, asked(*["ab"] * 40), WRITING, drawn(0))
    for sample in found:
        ends = [token for token in sample.written if token in PROMPTS.ends]
        assert ends == ([sample.written[-1]] if sample.has_ended else [])
        assert sample.has_ended or len(sample.written) == WRITING.max_tokens
        assert sample.text == TOKENIZER.decode(sample.written)
    assert 0 < sum(sample.has_ended for sample in found) < 40


def test_tokens_are_drawn_as_often_as_they_are_likely():
    logits_BV = torch.tensor([[0.0, 1.0, 2.0]]).repeat(4000, 1)
    found = torch.tensor(drawn(1)(logits_BV, list(range(4000)), [5] * 4000)).bincount(minlength=3) / 4000
    assert found.tolist() == pytest.approx(logits_BV[0].softmax(0).tolist(), abs=0.025)


def test_log_probabilities_are_those_of_each_answer_alone():
    samples = answers(Scorer(MODEL), TOKENIZER, asked("ab", "c", "hgfe"), WRITING, drawn(5))
    log_p_N, numbers_N = log_probabilities(MODEL, samples)
    assert log_p_N.requires_grad
    for number, sample in enumerate(samples):
        ids = torch.tensor([sample.prompt + sample.written])
        log_p_TV = MODEL.logits(MODEL.hidden(ids, torch.zeros_like(ids))).log_softmax(-1)[0]
        expected = [log_p_TV[at - 1, ids[0, at]].item() for at in range(len(sample.prompt), ids.shape[1])]
        assert log_p_N[numbers_N == number].tolist() == pytest.approx(expected, abs=1e-5)
