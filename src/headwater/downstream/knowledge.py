"""What a model says of capitals: of real countries and of made-up ones, named in tuning or never named.

Asked as a user asks, and as a sentence of prose. An answer is right only when it is the asked sentence; a wrong one
has its form. Intervals take questions for independent, which three about one country aren't.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
from headwater.downstream.samples import Prompts, Sample, Writing, answers, plain_prompts
from headwater.evaluate.scorer import Scorer
from headwater.tokens.tokenizer.tokenizer import Tokenizer

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
