"""Probes as choices: is the right option the likeliest of all?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.core.errors import EvaluationError
from headwater.corpus.samples.almanac.probes import Choice
from headwater.evaluate.scorer import Scorer
from headwater.tokens.tokenizer.tokenizer import Tokenizer

SLACK_NATS = 1e-4  # more than rounding changes of a log-probability that is computed in another batch


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
