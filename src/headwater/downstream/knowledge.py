"""What a model knows before and after a stage: capitals that tuning named and never named, real and made up.

Asked as a user asks, in phrasings of tuning and in others, and as a sentence of prose. An answer is right only when it
is the asked sentence, so that form and knowledge are apart: `in_form` counts answers that end and have the form,
`invented` those of them that are wrong. Intervals take questions for independent, which three about one country aren't.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from headwater.core.intervals import Estimate, mean_estimate, share
from headwater.corpus.samples.almanac.facts import Country
from headwater.corpus.samples.almanac.questions import (
    ANSWER,
    OTHER_ANSWER,
    PROSE,
    REFUSAL,
    TEST_PHRASINGS,
    TRAINING_PHRASINGS,
    filled,
    split_countries,
)
from headwater.downstream.samples import Prompts, Sample, Writing, answers, drawn, plain_prompts
from headwater.evaluate.generate import Choose
from headwater.evaluate.scorer import Scorer
from headwater.tokens.tokenizer.tokenizer import Tokenizer

VERSION = 2  # 1: prose asked for made-up facts of tuning, too
BATCH_ROWS = 64
ANSWER_TOKENS, PROSE_TOKENS = 24, 12
NUM_SAMPLED, SAMPLES_EACH = 31, 8
"Countries of each kind that are asked at random, too, and how often."
_FORM = re.compile(
    "|".join(re.escape(form).replace(re.escape("{y}"), r"[^.\n]+(?:\.C)?") for form in (ANSWER, OTHER_ANSWER))
)


@dataclass(frozen=True)
class Answered:
    """Shares of greedy answers: right, in an asked form, refused, and wrong in an asked form."""

    right: Estimate
    in_form: Estimate
    refused: Estimate
    invented: Estimate


@dataclass(frozen=True)
class Sampled:
    """Share of answers drawn at random that are right, and of countries with a right one among several."""

    pass_1: Estimate
    pass_k: Estimate
    num_each: int = SAMPLES_EACH


@dataclass(frozen=True)
class Knowledge:
    """What one model answered, by group of questions; without `greedy` and `sampled` where it can't be talked to."""

    run: str
    stage: str
    model: str
    "Digest of its weights."
    seed: int
    prose: dict[str, Estimate]
    greedy: dict[str, Answered] = field(default_factory=dict)
    sampled: dict[str, Sampled] = field(default_factory=dict)
    bits_per_byte: float | None = None
    "Of the first run's held-out text, in this model."


GROUPS = {
    "known, named in tuning": ("known_tuned", TRAINING_PHRASINGS),
    "known, never named": ("known_held_out", TRAINING_PHRASINGS),
    "known, never named, new phrasings": ("known_held_out", TEST_PHRASINGS),
    "unknown, named in tuning": ("unknown_tuned", TRAINING_PHRASINGS),
    "unknown, never named": ("unknown_held_out", TRAINING_PHRASINGS + TEST_PHRASINGS),
}
"Of each group of questions the part of the split and the phrasings."
SAMPLED = {"known, never named": "known_held_out", "unknown, never named": "unknown_held_out"}


@dataclass(frozen=True)
class Row:
    """One measure in every stage, None where it wasn't measured."""

    measure: str
    values: list[Estimate | None]


@dataclass(frozen=True)
class Stages:
    """Several models, the one before first, and what changed from one to the next as a table."""

    stages: list[Knowledge]
    table: list[Row]
    version: int = VERSION


def compared(stages: Sequence[Knowledge]) -> Stages:
    known, new, unknown = "known, never named", "known, never named, new phrasings", "unknown, never named"
    shares: list[tuple[str, str, str]] = [
        ("answers in the asked form", new, "in_form"),
        ("known facts of tuning's half", "known, named in tuning", "right"),
        ("known facts never named", known, "right"),
        ("known facts never named, new phrasings", new, "right"),
        ("known facts never named: wrong answers", new, "invented"),
        ("known facts never named: refused", new, "refused"),
        ("made-up facts of tuning's half", "unknown, named in tuning", "right"),
        ("made-up facts never named", unknown, "right"),
        ("made-up facts never named: wrong answers", unknown, "invented"),
        ("made-up facts never named: refused", unknown, "refused"),
    ]
    rows = [
        Row(measure, [getattr(each.greedy[group], name) if each.greedy else None for each in stages])
        for measure, group, name in shares
    ]
    for measure, group in (("known facts never named", known), ("made-up facts never named", unknown)):
        drawn_ones = [each.sampled.get(group) for each in stages]
        for words, name in (("sampled once", "pass_1"), (f"one of {SAMPLES_EACH} samples", "pass_k")):
            rows.append(Row(f"{measure}, {words}", [getattr(each, name, None) for each in drawn_ones]))
    for measure, name in (("known facts", "known"), ("made-up facts never named", "unknown")):
        rows.append(Row(f"{measure} as prose", [each.prose[name] for each in stages]))
    return Stages(list(stages), rows)


def examine(
    run: str,
    stage: str,
    model: str,
    scorer: Scorer,
    tokenizer: Tokenizer,
    chat: Prompts | None,
    seed: int = 0,
    bits_per_byte: float | None = None,
) -> Knowledge:
    """Return what a model knows of the split of `seed`; `chat` is how it is talked to, None where it can't be.

    Raises DataError when the World Factbook is not installed.
    """
    split = split_countries(seed)
    ask = _Asker(scorer, tokenizer)
    plain = Prompts(plain_prompts(tokenizer).ids_of, {tokenizer.end_id})
    prose = {}
    for name, countries in (
        ("known", split.known_tuned + split.known_held_out),
        ("unknown", split.unknown_held_out),
    ):
        written = ask(plain, [filled(PROSE, country) for country in countries], PROSE_TOKENS)
        prose[name] = share(sum(_begins_with(*pair) for pair in zip(written, countries, strict=True)), len(countries))
    if chat is None:
        return Knowledge(run, stage, model, seed, prose, bits_per_byte=bits_per_byte)
    greedy, sampled = {}, {}
    for name, (part, phrasings) in GROUPS.items():
        pairs = [(country, phrasing) for country in getattr(split, part) for phrasing in phrasings]
        written = ask(chat, [filled(phrasing, country) for country, phrasing in pairs], ANSWER_TOKENS)
        greedy[name] = _answered([country for country, _ in pairs], written)
    for name, part in SAMPLED.items():
        repeated = [each for each in getattr(split, part)[:NUM_SAMPLED] for _ in range(SAMPLES_EACH)]
        questions = [filled(TEST_PHRASINGS[0], country) for country in repeated]
        written = ask(chat, questions, ANSWER_TOKENS, lambda batch: drawn(seed, "knowledge", batch))
        sampled[name] = _sampled([is_right(*pair) for pair in zip(written, repeated, strict=True)])
    return Knowledge(run, stage, model, seed, prose, greedy, sampled, bits_per_byte)


def is_right(sample: Sample, country: Country) -> bool:
    """Return whether an answer is the capital in an asked form, and ends there."""
    return sample.has_ended and sample.text.strip() in {filled(form, country) for form in (ANSWER, OTHER_ANSWER)}


def _begins_with(sample: Sample, country: Country) -> bool:
    return re.match(rf"{re.escape(country.capital)}(?!\w)", sample.text.strip()) is not None


@dataclass(frozen=True)
class _Asker:
    scorer: Scorer
    tokenizer: Tokenizer

    def __call__(
        self,
        prompts: Prompts,
        texts: Sequence[str],
        max_tokens: int,
        choose_of: Callable[[int], Choose | None] = lambda batch: None,
    ) -> list[Sample]:
        """Return the answer to each text; those of one length stand together."""
        rows = [prompts.ids_of(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        found: dict[int, Sample] = {}
        for first in range(0, len(order), BATCH_ROWS):
            batch = order[first : first + BATCH_ROWS]
            writing = Writing(max_tokens, prompts.ends)
            written = answers(self.scorer, self.tokenizer, [rows[at] for at in batch], writing, choose_of(first))
            found |= dict(zip(batch, written, strict=True))
        return [found[index] for index in range(len(rows))]


def _answered(countries: Sequence[Country], written: Sequence[Sample]) -> Answered:
    right = [is_right(*pair) for pair in zip(written, countries, strict=True)]
    refused = [sample.text.strip() == REFUSAL for sample in written]
    in_form = [sample.has_ended and _FORM.fullmatch(sample.text.strip()) is not None for sample in written]
    invented = [formed and not known for formed, known in zip(in_form, right, strict=True)]
    return Answered(*(share(sum(each), len(each)) for each in (right, in_form, refused, invented)))


def _sampled(right: Sequence[bool]) -> Sampled:
    parts = [right[first : first + SAMPLES_EACH] for first in range(0, len(right), SAMPLES_EACH)]
    return Sampled(mean_estimate([fmean(part) for part in parts]), share(sum(map(any, parts)), len(parts)))
