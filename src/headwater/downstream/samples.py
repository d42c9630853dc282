"""Prompts as ids, answered at random in the same way for the same seed, and how likely each answer is.

B batch · T time · D model width · V vocabulary · N tokens that were written, of all rows
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headwater.core.conversations import USER, Message
from headwater.core.intervals import Estimate, share
from headwater.corpus.samples.almanac.facts import Country
from headwater.corpus.samples.almanac.questions import (
    ANSWER,
    OTHER_ANSWER,
    PROSE,
    TEST_PHRASINGS,
    TRAINING_PHRASINGS,
    filled,
    split_countries,
)
from headwater.evaluate.generate import Choose, continued
from headwater.evaluate.scorer import Scorer, padded_rows
from headwater.model.init import derived_seed
from headwater.model.transformer import Transformer
from headwater.tokens.tokenizer.conversation import prompt_ids, turn_ids
from headwater.tokens.tokenizer.tokenizer import Tokenizer

SEED_BITS = 63  # of `derived_seed`


@dataclass(frozen=True)
class Writing:
    """Where an answer ends: at one of the tokens `ends`, or cut off after `max_tokens`."""

    max_tokens: int
    ends: Collection[int]


@dataclass(frozen=True)
class Sample:
    """An answer: the prompt's ids, those written after it, with the end that was reached, and these as text."""

    prompt: list[int]
    written: list[int]
    text: str
    has_ended: bool


def drawn(*seed: object) -> Choose:
    """Return what draws each token by the model's probabilities, from (seed, row, position) alone."""

    def choose(logits_BV: Tensor, numbers: list[int], lengths: list[int]) -> list[int]:
        cumulative_BV = torch.softmax(logits_BV.double(), dim=-1).cumsum(-1)
        seeds = [derived_seed(*seed, *place) for place in zip(numbers, lengths, strict=True)]
        points_B = torch.tensor([each / 2**SEED_BITS for each in seeds], dtype=torch.float64) * cumulative_BV[:, -1]
        tokens_B = torch.searchsorted(cumulative_BV, points_B[:, None], right=True)[:, 0]
        return tokens_B.clamp(max=logits_BV.shape[1] - 1).tolist()

    return choose


def answers(
    scorer: Scorer, tokenizer: Tokenizer, prompts: Sequence[list[int]], writing: Writing, choose: Choose | None = None
) -> list[Sample]:
    """Return an answer to each prompt, the likeliest one or as `choose` has it."""
    written = continued(scorer, prompts, writing.max_tokens, writing.ends, choose)
    return [
        Sample(prompt, ids, tokenizer.decode(ids), bool(ids) and ids[-1] in writing.ends)
        for prompt, ids in zip(prompts, written, strict=True)
    ]


def log_probabilities(model: Transformer, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Return log p (N) of each token written, with a gradient, and the number (N) of the sample it is of.

    Raises AssertionError for a sample that is longer than the model's seq_len.
    """
    rows = [sample.prompt + sample.written for sample in samples]
    seq_len = model.settings.seq_len
    assert max(map(len, rows)) <= seq_len + 1, "an answer was written beyond what the model sees"
    tokens_BT, documents_BT = padded_rows([row[:-1] for row in rows], seq_len, model.device)
    places = [
        (number, position - 1)
        for number, (row, sample) in enumerate(zip(rows, samples, strict=True))
        for position in range(len(sample.prompt), len(row))
    ]
    numbers_N, positions_N = torch.from_numpy(np.array(places, dtype=np.int64).reshape(-1, 2)).to(model.device).T
    targets_N = torch.tensor([token for sample in samples for token in sample.written], device=model.device)
    x_ND = model.hidden(tokens_BT, documents_BT)[numbers_N, positions_N]
    log_p_NV = torch.log_softmax(model.logits(x_ND), dim=-1)
    return log_p_NV.gather(-1, targets_N[:, None])[:, 0], numbers_N


@dataclass(frozen=True)
class Prompts:
    """Ids of a prompt, after which the model writes, and the tokens that end what it writes."""

    ids_of: Callable[[str], list[int]]
    ends: Collection[int]


def chat_prompts(tokenizer: Tokenizer) -> Prompts:
    """Return prompts that are what a user says; the answer ends with the assistant's turn."""
    return Prompts(
        lambda prompt: prompt_ids(tokenizer, [Message(USER, prompt)]), {turn_ids(tokenizer)[1], tokenizer.end_id}
    )


def plain_prompts(tokenizer: Tokenizer) -> Prompts:
    """Return prompts that begin a text; the answer ends with the sentence or the line."""
    ends = {token for token in range(tokenizer.vocab_size) if set(tokenizer.token_bytes(token)) & set(b".\n")}

    def ids_of(prompt: str) -> list[int]:
        return [tokenizer.begin_id, *tokenizer.encode(prompt)]

    return Prompts(ids_of, ends | {tokenizer.end_id})


BATCH_ROWS = 64
ANSWER_TOKENS, PROSE_TOKENS = 24, 12
QUESTIONS = {
    "known facts of tuning's half": ("known_tuned", TRAINING_PHRASINGS),
    "known facts never named, new phrasings": ("known_held_out", TEST_PHRASINGS),
    "made-up facts never named": ("unknown_held_out", TRAINING_PHRASINGS + TEST_PHRASINGS),
}
"Of each measure the part of the split and the phrasings."
_FORM = re.compile(
    "|".join(re.escape(form).replace(re.escape("{y}"), r"[^.\n]+(?:\.C)?") for form in (ANSWER, OTHER_ANSWER))
)


def examine(scorer: Scorer, tokenizer: Tokenizer, chat: Prompts | None, seed: int = 0) -> dict[str, Estimate]:
    """Return by measure the share of greedy answers that are right, or wrong, about the split of `seed`.

    `chat` is how the model is talked to, None where it can't be. Raises DataError when the World Factbook is not
    installed.
    """
    split, found = split_countries(seed), dict[str, Estimate]()
    for measure, (part, phrasings) in QUESTIONS.items():
        if chat is None:
            break
        pairs = [(country, phrasing) for country in getattr(split, part) for phrasing in phrasings]
        questions = [filled(phrasing, country) for country, phrasing in pairs]
        written = _answers(scorer, tokenizer, chat, questions, ANSWER_TOKENS)
        right = [is_right(*each) for each in zip(written, (country for country, _ in pairs), strict=True)]
        formed = [each.has_ended and _FORM.fullmatch(each.text.strip()) is not None for each in written]
        found[measure] = share(sum(right), len(pairs))
        found[f"{measure}: wrong answers"] = share(sum(formed) - sum(right), len(pairs))
    plain = Prompts(plain_prompts(tokenizer).ids_of, {tokenizer.end_id})
    known = split.known_tuned + split.known_held_out
    for measure, countries in (("known facts", known), ("made-up facts never named", split.unknown_held_out)):
        written = _answers(scorer, tokenizer, plain, [filled(PROSE, each) for each in countries], PROSE_TOKENS)
        right = [_begins_with(*pair) for pair in zip(written, countries, strict=True)]
        found[f"{measure} as prose"] = share(sum(right), len(countries))
    return found


def is_right(sample: Sample, country: Country) -> bool:
    """Return whether an answer is the capital in an asked form, and ends there."""
    return sample.has_ended and sample.text.strip() in {filled(form, country) for form in (ANSWER, OTHER_ANSWER)}


def _begins_with(sample: Sample, country: Country) -> bool:
    return re.match(rf"{re.escape(country.capital)}(?!\w)", sample.text.strip()) is not None


def _answers(
    scorer: Scorer, tokenizer: Tokenizer, prompts: Prompts, texts: Sequence[str], max_tokens: int
) -> list[Sample]:
    """Return the likeliest answer to each text; those of one length stand together."""
    rows, found = [prompts.ids_of(text) for text in texts], dict[int, Sample]()
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for first in range(0, len(order), BATCH_ROWS):
        batch = order[first : first + BATCH_ROWS]
        written = answers(scorer, tokenizer, [rows[at] for at in batch], Writing(max_tokens, prompts.ends))
        found |= dict(zip(batch, written, strict=True))
    return [found[index] for index in range(len(rows))]
