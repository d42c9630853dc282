"""Rows that join, leave and are given up, and what each writes all the same."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
import torch
from served_model import SEQ_LEN, TEXT, num_rows

from headwater.evaluate.generate import Sampling
from headwater.model.cache import Cache
from headwater.page.serve.engine import GenerationEngine, GenerationQuery, Prompt, Scored
from headwater.page.serve.guard import Refusal

GREEDY = Sampling(temperature=0)


def tokens_of(engine: GenerationEngine, *queries: GenerationQuery) -> list[list[int]]:
    """Return the tokens of queries that are asked one request each, at once."""

    async def one(query: GenerationQuery) -> list[int]:
        return [event.token async for _, event in engine.ask([query]) if isinstance(event, Scored)]

    async def all_of_them() -> list[list[int]]:
        return list(await asyncio.gather(*map(one, queries)))

    return asyncio.run(all_of_them())


def test_a_row_has_the_same_tokens_and_scores_whatever_is_beside_it(model, tokenizer, monkeypatch):
    """Of MKL's and OpenBLAS's products of at least four rows each row has the same bits."""
    monkeypatch.setattr("headwater.page.serve.engine.MAX_ROWS", 5)
    engine, chance = GenerationEngine(model, tokenizer, "few"), random.Random(0)
    ids = [tokenizer.begin_id, *tokenizer.encode(TEXT)]
    queries = [
        GenerationQuery(
            ids[: chance.randint(1, 30)], chance.randint(1, 30), Sampling(seed=number), frozenset(), 2, number % 3 == 0
        )
        for number in range(24)
    ]

    async def events_of(query: GenerationQuery) -> list[object]:
        await asyncio.sleep(chance.random() / 50)
        return [event async for _, event in engine.ask([query])]

    async def at_once() -> list[list[object]]:
        return list(await asyncio.gather(*map(events_of, queries)))

    together = asyncio.run(at_once())
    alone = [asyncio.run(events_of(query)) for query in queries]
    engine.close()
    for query, one, other in zip(queries, alone, together, strict=True):
        assert [e.token for e in one if isinstance(e, Scored)] == [e.token for e in other if isinstance(e, Scored)], (
            query
        )
        assert sum(isinstance(event, Prompt) for event in one) == query.scores_prompt
        scores = [[e.log_p for e in events if isinstance(e, Scored)] for events in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)  # other processors' products may differ in the last bits


def test_scores_of_a_prompt_are_those_of_a_whole_pass(engine, model, tokenizer):
    ids = [tokenizer.begin_id, *tokenizer.encode(TEXT)][:SEQ_LEN]

    async def scored() -> Prompt:
        events = [event async for _, event in engine.ask([GenerationQuery(ids, 0, GREEDY, frozenset(), 3, True)])]
        assert len(events) == 2
        return events[0]

    tokens_BT = torch.tensor([ids])
    with torch.no_grad():
        log_p_TV = model.logits(model.hidden(tokens_BT, torch.zeros_like(tokens_BT)))[0].log_softmax(-1)
    found = asyncio.run(scored()).scored
    assert [each.token for each in found] == ids[1:]
    for position, each in enumerate(found):
        assert each.log_p == pytest.approx(float(log_p_TV[position, each.token]), abs=1e-3)
        assert [token for token, _ in each.top] == log_p_TV[position].topk(3).indices.tolist()


@pytest.fixture
def few_may_wait(monkeypatch):
    monkeypatch.setattr("headwater.page.serve.engine.MAX_ROWS", 2)
    monkeypatch.setattr("headwater.page.serve.engine.MAX_WAITING_ROWS", 3)


def test_more_than_may_wait_is_refused_and_what_waits_is_answered(model, tokenizer, few_may_wait):
    engine = GenerationEngine(model, tokenizer, "small")
    queries = [GenerationQuery([0], 5, GREEDY, frozenset())] * 4

    async def ask_too_much() -> str:
        with pytest.raises(Refusal) as refused:
            engine.ask(queries)
        return f"{refused.value.status} {refused.value.headers}"

    assert asyncio.run(ask_too_much()) == "429 {'Retry-After': '2'}"
    assert [len(tokens) for tokens in tokens_of(engine, *queries[:3])] == [5, 5, 5]
    engine.close()


def test_rows_whose_client_left_wait_no_more(model, tokenizer, monkeypatch, few_may_wait):
    monkeypatch.setattr(GenerationEngine, "_join_waiting", lambda self: None)  # as while a long pass runs
    engine = GenerationEngine(model, tokenizer, "small")
    queries = [GenerationQuery([0], 5, GREEDY, frozenset())] * 3

    async def ask_again() -> None:
        engine.ask(queries).drop_all()
        engine.ask(queries)
        with pytest.raises(Refusal):
            engine.ask(queries[:1])

    asyncio.run(ask_again())
    assert num_rows(engine) == 3
    engine.close()


def test_a_failure_loses_the_rows_at_hand_and_no_later_ones(model, tokenizer, monkeypatch):
    engine = GenerationEngine(model, tokenizer, "small")
    with monkeypatch.context() as patch:
        patch.setattr(Cache, "states_of", lambda self, rows: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(Refusal, match="MemoryError"):
            tokens_of(engine, GenerationQuery([0], 2, GREEDY, frozenset()))
    assert len(tokens_of(engine, GenerationQuery([0], 2, GREEDY, frozenset()))[0]) == 2
    engine.close()


def test_a_row_whose_time_is_up_ends_there(model, tokenizer, monkeypatch):
    times = itertools.count()  # a second passes whenever the time is read
    monkeypatch.setattr("headwater.page.serve.engine.MAX_SECONDS", 10)
    engine = GenerationEngine(model, tokenizer, "small", clock=lambda: next(times))
    assert len(tokens_of(engine, GenerationQuery([0], 60, GREEDY, frozenset()))[0]) == 10
    engine.close()
