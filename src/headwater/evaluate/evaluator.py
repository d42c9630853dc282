"""What a run measures of its model: a sample of everything during training, all of it at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, pairwise
from textwrap import shorten
from typing import Any

import numpy as np

from headwater.core.printable import printable
from headwater.corpus.samples.almanac.probes import Choice, drawn, probes
from headwater.evaluate.baselines import sample
from headwater.evaluate.bits_per_byte import Surprise, measure_surprise
from headwater.evaluate.cloze import cloze_items, score_choices
from headwater.evaluate.generate import likeliest, next_tokens
from headwater.evaluate.scorer import BATCH_TOKENS, Forward, Scorer
from headwater.machine.ranks.exchange import Ranks
from headwater.model.transformer import Transformer
from headwater.tokens.batches.assemble import sample_rows, sequential_batches
from headwater.tokens.batches.pack import PackedSource
from headwater.tokens.read import TokenStore
from headwater.tokens.tokenizer.tokenizer import Tokenizer

PROMPT_WORDS, PROMPT_CHARACTERS = 4, 40
PROSE_WORDS, MIN_SMALL = 8, 5
"How many words of a sentence must be plain ones, and how many of them begin with a small letter."
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*[,;:]?")
Say = Callable[[str], None]
PROBE_ITEMS = {"capitals": 30, "agreement": 100, "sums": 40, "cause": 80, "words": 60}  # about a second each
MAX_CLOZE_BYTES, MAX_CLOZE_ITEMS = 1_000_000, 300
SAMPLE_TOKENS = 24
NUM_PROMPTS, NUM_SEARCHED, SEARCHED_TOKENS = 4, 16, 256
NEUTRAL_PROMPTS = ("The", "In the")
NUM_NEXT_TOKENS = 8


@dataclass(frozen=True)
class RunEvaluator:
    """Measure one run's model.

    `held_out` has the packed validation rows by source; `synthetic` names the sources that a program composed (the
    almanac), which the probes are about; without one they are made of held-out text. All `ranks` call every method
    together.
    """

    tokenizer: Tokenizer
    held_out: dict[str, PackedSource]
    token_bytes: np.ndarray
    num_rows: int
    prompts: Sequence[str] | None
    synthetic: frozenset[str]
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def has_almanac(self) -> bool:
        return bool(self.synthetic)

    @cached_property
    def probe_items(self) -> dict[str, list[Choice]]:
        """Every choice by probe: of the almanac, or without one of the held-out text, where that is long enough."""
        if self.has_almanac:
            return probes()
        stores = [source.store for source in self.held_out.values()]
        if any(store.has_targets for store in stores):  # conversations, of which a model reads answers
            return {}
        num_bytes = sum(store.num_bytes for store in stores)
        texts = (text for store in stores for text in self._texts(store, MAX_CLOZE_BYTES / max(1, num_bytes)))
        items = cloze_items(texts, seed=0, max_items=MAX_CLOZE_ITEMS)
        return {"words": items} if items else {}

    @cached_property
    def all_prompts(self) -> list[str]:
        """The prompts, or if that is None how sentences of each source's held-out text begin; else neutral ones."""
        if self.prompts is not None:
            return list(self.prompts)
        stores = [source.store for source in self.held_out.values() if not source.store.has_targets]
        found = [
            prompt
            for store in stores
            for prompt in beginnings(self._documents(store), max(1, NUM_PROMPTS // len(stores)))
        ]
        return list(dict.fromkeys(found))[:NUM_PROMPTS] or list(NEUTRAL_PROMPTS)

    def _documents(self, store: TokenStore) -> Iterator[str]:
        """Yield how the first documents of a store begin."""
        for start, end in islice(pairwise(store.starts.tolist()), NUM_SEARCHED):
            yield self.tokenizer.decode(store.slice(start, min(start + SEARCHED_TOKENS, end)).tolist())

    def _texts(self, store: TokenStore, share: float) -> Iterator[str]:
        tokens, starts = sample(store, share)
        for first, last in pairwise(starts.tolist()):
            yield self.tokenizer.decode(tokens[first:last].tolist())

    def validate(self, model: Transformer, forward: Forward | None = None) -> dict[str, Any]:
        """Return the fields of a validation record, over a fixed sample of `num_rows` rows of each source.

        `is_of_all` where no source has more.
        """
        fields = surprise_fields(
            self.surprise_by_source(Scorer(model, self.ranks, forward), self.num_rows), self.synthetic
        )
        return fields | {"is_of_all": all(source.num_rows <= self.num_rows for source in self.held_out.values())}

    def surprise_by_source(self, scorer: Scorer, max_rows: int | None, say: Say | None = None) -> dict[str, Surprise]:
        """Return the surprise at each source's held-out rows, or at a fixed sample of `max_rows` of them."""
        surprises = {}
        for name, source in self.held_out.items():
            if say is not None:
                say(f"evaluating {name}: {source.num_rows:,} sequences")
            rows_per_batch = max(1, BATCH_TOKENS // scorer.max_tokens)
            rows = None if max_rows is None else sample_rows(source, max_rows, seed=0).tolist()
            batches = sequential_batches(source, rows_per_batch, rows)
            surprises[name] = measure_surprise(scorer, batches, self.token_bytes)
        return surprises

    def probe(self, model: Transformer) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (event, fields) of the probes, where there are any, and of the samples."""
        scorer = Scorer(model, self.ranks)
        items = {name: drawn(choices, PROBE_ITEMS[name]) for name, choices in self.probe_items.items()}
        if items:
            yield "probes", {"probes": self.score(scorer, items)}
        yield "samples", self._samples(scorer)

    def score(
        self, scorer: Scorer, items: dict[str, list[Choice]], say: Say | None = None
    ) -> dict[str, dict[str, Any]]:
        found = {}
        for name, choices in items.items():
            if say is not None:
                say(f"evaluating {name}: {len(choices):,} items")
            found[name] = score_choices(scorer, self.tokenizer, choices)
        return found

    def _samples(self, scorer: Scorer) -> dict[str, Any]:
        prompts = self.all_prompts
        texts = likeliest(scorer, self.tokenizer, prompts, SAMPLE_TOKENS)
        samples = [{"prompt": prompt, "text": _shown(text)} for prompt, text in zip(prompts, texts, strict=True)]
        following = [{"prompt": prompt, "next": self._next(scorer, prompt)} for prompt in prompts[:1]]
        return {"samples": samples, "next": following}

    def _next(self, scorer: Scorer, prompt: str) -> list[dict[str, Any]]:
        found = next_tokens(scorer, self.tokenizer, prompt, NUM_NEXT_TOKENS)
        return [{"token": _shown(token), "probability": round(probability, 5)} for token, probability in found]


def _shown(text: str) -> str:
    return printable(text, keep="\n\t")


def surprise_fields(by_source: dict[str, Surprise], synthetic: frozenset[str]) -> dict[str, Any]:
    """Return bits per byte and loss by source, over all, and over real text (the sources that aren't `synthetic`)."""
    total = sum(by_source.values(), Surprise())
    by_source = {source: part for source, part in by_source.items() if part.num_bytes}  # rows may hold no answer
    real = sum((part for source, part in by_source.items() if source not in synthetic), Surprise())
    fields: dict[str, Any] = {
        "bits_per_byte": {"all": total.bits_per_byte, **{name: part.bits_per_byte for name, part in by_source.items()}},
        "loss": {"all": total.loss, **{name: part.loss for name, part in by_source.items()}},
    }
    if real.num_bytes:
        fields["bits_per_byte_real_text"] = real.bits_per_byte
    return fields


def full_evaluation(
    evaluator: RunEvaluator, model: Transformer, forward: Forward | None = None, say: Say | None = None
) -> dict[str, Any]:
    """Return bits per byte of all held-out text and the score of every probe, as `evaluate --json` has them.

    `say` gets a line of each source and of each probe before it is measured: all of them may take minutes.
    """
    scorers = Scorer(model, evaluator.ranks, forward), Scorer(model, evaluator.ranks)
    by_source = evaluator.surprise_by_source(scorers[0], None, say)
    result = surprise_fields(by_source, evaluator.synthetic)
    targets = {name: found.num_targets for name, found in by_source.items()}
    result["num_targets"] = {"all": sum(targets.values()), **targets}
    result["num_documents"] = sum(source.store.num_documents for source in evaluator.held_out.values())
    details = evaluator.score(scorers[1], evaluator.probe_items, say)
    result["probes"] = {name: detail["right"] for name, detail in details.items()}
    result["probe_details"] = details
    return result


def beginnings(texts: Iterable[str], number: int) -> list[str]:
    """Return how a sentence of prose begins in each text that has one; where those are too few, how others begin."""
    known = [(text, _sentence(text)) for text in texts]
    found = [sentence or text for text, sentence in sorted(known, key=lambda each: each[1] is None)]
    words = (" ".join(text.replace("\ufffd", "").split()[:PROMPT_WORDS]) for text in found)
    short = (shorten(text, PROMPT_CHARACTERS, placeholder="") or text[:PROMPT_CHARACTERS] for text in words)
    return list(islice(dict.fromkeys(filter(None, short)), number))


def _sentence(text: str) -> str | None:
    """Return the first sentence of prose in a text; program code, tables, headings and licence lines are none."""
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"[.!?\]][\"”’)]*\s+", paragraph.strip()):
            words = sentence.split()[:PROSE_WORDS]
            is_plain = len(words) == PROSE_WORDS and all(map(_WORD.fullmatch, words)) and words[0][0].isupper()
            if is_plain and sum(word[0].islower() for word in words) >= MIN_SMALL:
                return sentence
    return None
