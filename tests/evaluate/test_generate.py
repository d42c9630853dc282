from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_models import logits_of, random_model, trained_tokenizer

from headwater.core.errors import EvaluationError
from headwater.evaluate.generate import generate, likeliest, next_tokens, stream, surprise, token_text
from headwater.evaluate.scorer import Scorer
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.tokenizer import Tokenizer

SEQ_LEN = 16
TEXT = "The river starts at its headwater, and the sea is where the river ends. "


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Tokenizer:
    return trained_tokenizer(tmp_path_factory.mktemp("generate") / "tokenizer", TEXT * 5, 300)


@pytest.fixture(scope="module")
def model(tokenizer) -> Transformer:
    return random_model(vocab_size=tokenizer.vocab_size, seq_len=SEQ_LEN)


class FixedScorer:
    """Stands in for a scorer: the same given probabilities after any text."""

    def __init__(self, vocab_size: int, probabilities: dict[int, float]) -> None:
        self.logits_V = torch.full((vocab_size,), -math.inf)
        for token, probability in probabilities.items():
            self.logits_V[token] = math.log(probability)

    def growing(self):
        return lambda rows: self.logits_V.expand(len(rows), -1)


def direct_log_probabilities(model: Transformer, ids: list[int]) -> torch.Tensor:
    return logits_of(model, torch.tensor([ids]))[0].log_softmax(-1)


@pytest.mark.parametrize("prompt", ["The river", "", TEXT * 4])
def test_next_tokens_are_the_likeliest_after_begin_and_prompt_or_the_last_tokens_of_a_long_one(
    model, tokenizer, prompt
):
    found = next_tokens(Scorer(model), tokenizer, prompt, top=tokenizer.vocab_size)
    ids = [tokenizer.begin_id, *tokenizer.encode(prompt)]
    expected = direct_log_probabilities(model, ids[-SEQ_LEN:])[-1].exp()
    assert [entry.probability for entry in found] == pytest.approx(sorted(expected.tolist(), reverse=True), rel=1e-4)
    assert found[0].token == token_text(tokenizer, int(expected.argmax()))
    assert sum(entry.probability for entry in found) == pytest.approx(1, abs=1e-5)
    assert next_tokens(Scorer(model), tokenizer, prompt, top=3) == found[:3]
    assert len(generate(Scorer(model), tokenizer, prompt, 40)) > 0


@pytest.mark.parametrize("sampling", [{"temperature": 0.0}, {"seed": 3}, {"temperature": 0.7, "top_p": 0.9, "seed": 4}])
def test_text_with_kept_keys_and_values_is_that_of_whole_passes_beyond_seq_len_too(model, tokenizer, sampling):
    class WithoutCache(Scorer):
        def growing(self):
            return self.next_logits_of

    for prompt in ("", "The river", TEXT * 3):
        expected = generate(WithoutCache(model), tokenizer, prompt, 3 * SEQ_LEN, **sampling)
        assert generate(Scorer(model), tokenizer, prompt, 3 * SEQ_LEN, **sampling) == expected


def test_prompts_are_continued_together_as_each_alone(model, tokenizer):
    prompts = ["The river", "", TEXT * 3, "sea"]
    together = likeliest(Scorer(model), tokenizer, prompts, 2 * SEQ_LEN)
    assert together == [generate(Scorer(model), tokenizer, each, 2 * SEQ_LEN, temperature=0) for each in prompts]
    ends = FixedScorer(tokenizer.vocab_size, {tokenizer.end_id: 1.0})
    assert likeliest(ends, tokenizer, ["The"], 5) == [""]
    assert likeliest(Scorer(model), tokenizer, [], 5) == []


def test_a_stream_is_the_text_piece_by_piece_with_the_reason_to_end(model, tokenizer):
    pieces = list(stream(Scorer(model), tokenizer, "The river", 12, seed=7))
    assert "".join(piece.text for piece in pieces) == generate(Scorer(model), tokenizer, "The river", 12, seed=7)
    assert [piece.num_tokens for piece in pieces] == [*range(1, 13), 12]
    assert [piece.end for piece in pieces] == [None] * 12 + ["max_tokens"]
    ends = FixedScorer(tokenizer.vocab_size, {tokenizer.end_id: 1.0})
    assert list(stream(ends, tokenizer, "The", 10)) == [("", 0, "end token")]


def test_a_stream_never_cuts_a_character(tokenizer):
    class Scripted(FixedScorer):
        def growing(self):
            return lambda rows: torch.nn.functional.one_hot(torch.tensor([script.pop(0)]), tokenizer.vocab_size).log()

    script = [*tokenizer.encode("a🙂ß"), tokenizer.encode("🙂")[0], tokenizer.end_id]
    assert len(script) > 5, "the emoji is several tokens"
    pieces = list(stream(Scripted(tokenizer.vocab_size, {}), tokenizer, "", 20))
    assert "".join(piece.text for piece in pieces) == "a🙂ß\ufffd"
    assert {piece.text for piece in pieces} == {"", "a", "🙂", "ß", "\ufffd"}
    assert pieces[-1].end == "end token"


def test_draws_follow_the_temperature(tokenizer):
    first, second = tokenizer.encode("ab")[0], tokenizer.encode("z")[0]
    model = FixedScorer(tokenizer.vocab_size, {first: 0.8, second: 0.2})
    for temperature, expected in ((1.0, 0.8), (0.5, 0.64 / 0.68), (2.0, 2 / 3)):
        text = generate(model, tokenizer, "", 2000, temperature=temperature)
        share = Counter(text)[tokenizer.decode([first])] / len(text)
        assert share == pytest.approx(expected, abs=0.04), f"temperature {temperature}"


def test_top_p_leaves_out_the_unlikely_tail_and_keeps_the_rest_in_proportion(tokenizer):
    a, b, c = (tokenizer.encode(letter)[0] for letter in "abc")
    model = FixedScorer(tokenizer.vocab_size, {a: 0.6, b: 0.3, c: 0.1})
    assert set(generate(model, tokenizer, "", 300, top_p=0.6)) == {"a"}, "the first token alone reaches 0.6"
    shares = Counter(generate(model, tokenizer, "", 2000, top_p=0.7))
    assert set(shares) == {"a", "b"}
    assert shares["a"] / 2000 == pytest.approx(2 / 3, abs=0.04)
    assert set(generate(model, tokenizer, "", 1000, top_p=1.0)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("temperature", "top_p"), [(-1, 1), (math.nan, 1), (math.inf, 1), (1, 0), (1, 1.1), (1, math.nan)]
)
def test_meaningless_sampling_settings_are_refused(model, tokenizer, temperature, top_p):
    with pytest.raises(EvaluationError, match="can't be sampled with"):
        generate(Scorer(model), tokenizer, "The", 1, temperature, top_p)


@pytest.mark.parametrize("text", ["The river ends.", TEXT * 3])
def test_surprise_scores_every_token_once_with_half_a_window_of_context(model, tokenizer, text):
    ids = [tokenizer.begin_id, *tokenizer.encode(text)]
    found = surprise(Scorer(model), tokenizer, text)
    assert len(found.tokens) == len(ids) - 1 and "".join(entry.token for entry in found.tokens) == text
    stop, expected = min(SEQ_LEN, len(ids) - 1), []
    for target in range(1, len(ids)):
        if target > stop:
            stop = min(stop + SEQ_LEN // 2, len(ids) - 1)
        window = ids[max(0, stop - SEQ_LEN) : target]
        assert target <= SEQ_LEN or len(window) > SEQ_LEN // 2
        expected.append(-direct_log_probabilities(model, window)[-1, ids[target]].item())
    assert [entry.bits * math.log(2) for entry in found.tokens] == pytest.approx(expected, rel=1e-4)
    assert found.bits_per_byte == pytest.approx(sum(expected) / math.log(2) / len(text.encode()), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
@example("é中文 العربية 🙂\ufffd")
def test_surprise_joins_the_tokens_that_only_together_are_a_character(model, tokenizer, text):
    found = surprise(Scorer(model), tokenizer, text)
    assert "".join(each.token for each in found.tokens) == text and all(each.token for each in found.tokens)
    assert sum(each.bits for each in found.tokens) == pytest.approx(found.bits_per_byte * len(text.encode()))


def test_surprise_at_an_empty_text_is_an_error(model, tokenizer):
    with pytest.raises(EvaluationError, match="empty"):
        surprise(Scorer(model), tokenizer, "")
