"""Probes as choices: is the right option the likeliest of all? And a probe made of anybody's text: which of four words
comes next in a passage that nobody trained on?

All four were said before in the passage, once each, so that to have been said tells nothing; and they are of one script
and case, about as long and as frequent in the text. What is left is order: on shuffled words models are right once
in four times (docs/decisions/0068-probes-of-a-runs-own-text.md).
"""

from __future__ import annotations

import math
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from headwater.core.errors import EvaluationError
from headwater.corpus.samples.almanac.probes import Choice
from headwater.corpus.scripts import is_unspaced
from headwater.evaluate.scorer import Scorer
from headwater.tokens.tokenizer.tokenizer import Tokenizer

PASSAGE_BYTES = 640  # some 150 tokens, less than most models see; a word of the second half is asked for
NUM_OPTIONS = 4
MIN_LETTERS, MAX_LENGTH_DIFFERENCE = 3, 2
NUM_UNITS = 2  # of a word in a script without blanks: two characters with their marks
FREQUENT_SHARE = 0.5  # of all words are of the most frequent ones, which aren't asked for
Word = tuple[str, int]
"A word, and where it begins in its passage."
SLACK_NATS = 1e-4  # more than rounding changes of a log-probability that is computed in another batch


def cloze_items(texts: Iterable[str], seed: int, max_items: int) -> list[Choice]:
    """Return at most `max_items` choices, each of a passage of its own, the same for the same texts and seed."""
    passages = [passage for text in texts for passage in _passages(text)]
    random.Random(seed).shuffle(passages)
    words = [list(_words(passage)) for passage in passages]
    counts = Counter(word for each in words for word, _ in each)
    frequent = _frequent(counts)
    items: list[Choice] = []
    for number, passage in enumerate(passages):
        if len(items) == max_items:
            break
        rare = [(word, start) for word, start in words[number] if word not in frequent]
        item = _item(passage, rare, counts, random.Random(f"{seed} {number}"))
        items += [] if item is None else [item]
    return items


def _passages(text: str) -> Iterator[str]:
    data = text.encode(errors="replace")
    for first in range(0, len(data) - PASSAGE_BYTES + 1, PASSAGE_BYTES):
        yield data[first : first + PASSAGE_BYTES].decode(errors="ignore")


def _frequent(counts: Counter[str]) -> set[str]:
    frequent, left = set(), FREQUENT_SHARE * counts.total()
    for word, count in counts.most_common():
        if left <= 0:
            break
        frequent.add(word)
        left -= count
    return frequent


def _item(passage: str, rare: list[Word], counts: Counter[str], chance: random.Random) -> Choice | None:
    """Return a choice of a word in the second half; None where none has its like in the first."""
    candidates = [each for each in rare if 2 * each[1] >= len(passage)]
    chance.shuffle(candidates)
    for word, start in candidates:
        earlier = Counter(each for each, place in rare if place + len(each) <= start)
        others = [each for each, count in earlier.items() if count == 1 and _are_alike(each, word)]
        if earlier[word] != 1 or len(others) < NUM_OPTIONS - 1 or not _continues(passage, start):
            continue
        chance.shuffle(others)
        others.sort(key=lambda other: abs(math.log(counts[other] / counts[word])))
        options = [word, *others[: NUM_OPTIONS - 1]]
        chance.shuffle(options)
        blank = " " if passage[start - 1] == " " else ""
        prompt = passage[: start - len(blank)]
        return Choice(prompt, tuple(blank + option for option in options), options.index(word), f"words: {word}")
    return None


def _continues(passage: str, start: int) -> bool:
    """Return whether a word follows another on its line: after one blank, or none in a script without."""
    before = passage[start - 2 : start]
    return (before[1:] == " " and not before[:1].isspace()) or _is_letter(before[1:])


def _are_alike(one: str, other: str) -> bool:
    """Return whether two words are of one script and case and about as long, and neither begins the other."""
    if abs(len(one) - len(other)) > MAX_LENGTH_DIFFERENCE or one.startswith(other) or other.startswith(one):
        return False
    num_compared = 1 if len(one) > NUM_UNITS else NUM_UNITS
    return [*map(_kind, one[:num_compared])] == [*map(_kind, other[:num_compared])]


@cache
def _kind(character: str) -> tuple[str, str]:
    """Return a character's script, as its name begins (LATIN, CJK, HIRAGANA), and whether it is a capital."""
    return unicodedata.name(character, "").partition(" ")[0], unicodedata.category(character)


_is_unspaced = cache(is_unspaced)


@cache
def _is_letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LM"


def _words(passage: str) -> Iterator[Word]:
    """Yield the words of a passage: runs of letters, or in a script without blanks every two characters."""
    units: list[Word] = []
    for place, character in enumerate([*passage, " "]):
        if not _is_letter(character):
            yield from _words_of_run(units)
            units = []
        elif units and unicodedata.category(character)[0] == "M":
            units[-1] = (units[-1][0] + character, units[-1][1])
        else:
            units.append((character, place))


def _words_of_run(units: list[Word]) -> Iterator[Word]:
    if units and _is_unspaced(units[0][0][0]):
        for first in range(len(units) - NUM_UNITS + 1):
            yield "".join(unit for unit, _ in units[first : first + NUM_UNITS]), units[first][1]
    elif len(units) >= MIN_LETTERS:
        yield "".join(unit for unit, _ in units), units[0][1]


def score_choices(scorer: Scorer, tokenizer: Tokenizer, choices: Sequence[Choice]) -> dict[str, Any]:
    """Return the fraction of choices whose right option is likelier than every other, with chance beside it.

    `mean_probability` is p(right option | prompt) among all continuations, not among the options; `median_rank`
    counts from 1. Exact though not every option is scored: an option can't be likelier than its own first token, so
    only those whose first token beats the whole right option are computed.
    """
    if not choices:
        raise EvaluationError("a probe needs at least one item")
    prompts = [[tokenizer.begin_id, *tokenizer.encode(choice.prompt)] for choice in choices]
    options = _encode_options(tokenizer, choices)
    right = scorer.loglikelihood(
        [(prompt, options[choice.options[choice.answer]]) for prompt, choice in zip(prompts, choices)]
    )
    firsts = [[options[option][0] for option in choice.options] for choice in choices]
    next_log_p = scorer.next_log_probabilities(prompts, firsts)
    rivals = [
        (index, option)
        for index, choice in enumerate(choices)
        for number, option in enumerate(choice.options)
        if number != choice.answer and next_log_p[index][number] >= right[index] - SLACK_NATS
    ]
    scores = scorer.loglikelihood([(prompts[index], options[option]) for index, option in rivals])
    ranks = np.ones(len(choices), dtype=int)
    for (index, _), score in zip(rivals, scores):
        ranks[index] += score >= right[index]
    return {
        "right": round(float(np.mean(ranks == 1)), 4),
        "chance": round(float(np.mean([1 / len(choice.options) for choice in choices])), 4),
        "num_items": len(choices),
        "mean_probability": round(float(np.mean(np.exp(right))), 4),
        "median_rank": float(np.median(ranks)),
    }


def _encode_options(tokenizer: Tokenizer, choices: Sequence[Choice]) -> dict[str, list[int]]:
    distinct = sorted({option for choice in choices for option in choice.options})
    return dict(zip(distinct, tokenizer.encode_many(distinct)))
