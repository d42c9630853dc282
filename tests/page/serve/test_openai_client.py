"""The openai package and lm-eval drive the endpoint unchanged."""

from __future__ import annotations

import openai
import pytest
from served_model import SEQ_LEN, TEXT

from headwater.evaluate.generate import generate
from headwater.evaluate.scorer import Scorer


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(base_url=f"{address}v1", api_key="none", max_retries=0) as client:
        yield client


TEXTS = ["The river", "the sea", "", "headwater, and"]
GREEDY = {"max_tokens": 20, "temperature": 0}
ASKED = {
    "greedy": {"prompt": "The river", **GREEDY},
    "drawn": {"prompt": "The", "max_tokens": 12, "seed": 7, "top_p": 0.9},
    "several texts": {"prompt": TEXTS, "max_tokens": 30, "seed": 3, "top_p": 0.9},
    "ids": {"prompt": TEXTS[:2], **GREEDY},
    "up to a stop string": {"prompt": "The river", "max_tokens": 40, "temperature": 0, "stop": ["\0never"]},
}


@pytest.mark.parametrize("what", ASKED)
def test_completions_are_what_generate_writes_whole_and_streamed(client, model, tokenizer, what):
    asked = {"model": "small", **ASKED[what]}
    texts = [asked["prompt"]] if isinstance(asked["prompt"], str) else asked["prompt"]
    sampling = asked.get("temperature", 1.0), asked.get("top_p", 1.0), asked.get("seed", 0)
    expected = [generate(Scorer(model), tokenizer, text, asked["max_tokens"], *sampling) for text in texts]
    if what == "ids":
        asked["prompt"] = [tokenizer.encode(text) for text in texts]
    if "stop" in asked:  # it is not shown, nor are its beginnings in a stream
        stop = expected[0][11:16]
        asked["stop"], expected = [*asked["stop"], stop], [expected[0][: expected[0].index(stop)]]
    whole = client.completions.create(**asked, logprobs=0)
    assert [choice.index for choice in whole.choices] == list(range(len(texts)))
    assert [choice.text for choice in whole.choices] == expected
    assert whole.usage.prompt_tokens == sum(len(tokenizer.encode(text)) for text in texts)
    ends = [choice.finish_reason for choice in whole.choices]
    if "temperature" in asked:
        assert ends == ["stop" if "stop" in asked else "length"] * len(texts)
    assert "stop" not in asked or all(each < len(expected[0]) for each in whole.choices[0].logprobs.text_offset)
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    pieces = [choice for chunk in chunks for choice in chunk.choices]
    assert len(chunks) > 5 and chunks[-1].usage == whole.usage
    for number, text in enumerate(expected):
        assert "".join(piece.text for piece in pieces if piece.index == number) == text
        assert [each.finish_reason for each in pieces if each.index == number and each.finish_reason] == [ends[number]]


def test_a_conversation_is_answered_whole_and_streamed_with_log_probabilities(client):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where?"}]},
    ]
    asked = {"model": "small", "messages": messages, "max_completion_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3).choices[0]
    assert whole.message.role == "assistant"
    for each in whole.logprobs.content:
        assert len(each.top_logprobs) == 3 and each.logprob <= each.top_logprobs[0].logprob
    data = b"".join(bytes(each.bytes) for each in whole.logprobs.content)
    assert data.decode(errors="replace") == whole.message.content
    streamed = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    assert streamed[0].delta.role == "assistant"
    assert "".join(each.delta.content or "" for each in streamed) == whole.message.content
    assert streamed[-1].finish_reason == whole.finish_reason


def test_a_context_that_is_full_ends_the_text_and_one_that_is_too_long_is_refused(client, tokenizer):
    ids = tokenizer.encode(TEXT * 3)[: SEQ_LEN - 3]
    found = client.completions.create(model="small", prompt=ids, max_tokens=500, temperature=0)
    assert found.usage.completion_tokens == 3 and found.choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError, match=f"this model sees {SEQ_LEN} tokens"):
        client.completions.create(model="small", prompt="x" * 10**6)


def test_lm_eval_asks_with_our_tokens_and_finds_our_figures(address, model, tokenizer):
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    judge = LocalCompletionsAPI(
        model="small", base_url=f"{address}v1/completions", batch_size=2, max_length=SEQ_LEN, num_concurrent=1
    )
    pairs = [
        ("The river starts at", " its headwater"),
        ("and the", " sea"),
        ("ש", " 河"),
        ("where the river", " ends. Gr"),
    ]
    asked = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    scorer = Scorer(model)
    for (context, rest), (log_p, is_greedy) in zip(pairs, judge.loglikelihood(asked), strict=True):
        ids = tokenizer.encode(context + rest)
        rest_ids = ids[len(tokenizer.encode(context)) :]
        own = scorer.loglikelihood([([tokenizer.begin_id, *ids[: -len(rest_ids)]], rest_ids)])[0]
        assert log_p == pytest.approx(own, abs=1e-3) and is_greedy in (False, True)
    until = Instance("generate_until", {}, ("The river", {"until": ["\n\n"], "max_gen_toks": 6, "temperature": 0}), 0)
    assert judge.generate_until([until]) == [generate(scorer, tokenizer, "The river", 6, 0)]
    rolling = judge.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, ("The sea",), 0)])
    assert rolling[0] == pytest.approx(
        -float(scorer.target_losses([tokenizer.begin_id, *tokenizer.encode("The sea")]).sum()), abs=1e-3
    )
