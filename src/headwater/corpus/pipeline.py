"""The steps that every document takes alone, between reader and search for duplicates, in their order."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import wraps

from headwater.core.conversations import Message, as_text, messages_of
from headwater.core.errors import HeadwaterError
from headwater.corpus.clean import clean
from headwater.corpus.document import EXCERPT_CHARACTERS, num_bytes, plain_text
from headwater.corpus.licences.step import declaring_step, licence_step
from headwater.corpus.measures.lines import cut_lines
from headwater.corpus.measures.statistics import family_of
from headwater.corpus.personal.replace import redact_step
from headwater.corpus.protect.decontaminate import Decontaminator, withhold
from headwater.corpus.sources.rules import RuleSettings
from headwater.corpus.sources.settings import CONVERSATIONS, CorpusSettings
from headwater.corpus.step import Candidate, Cut, Step, Verdict


def make_steps(settings: CorpusSettings) -> list[Step]:
    """Return the steps of a corpus, all that changes a text; what is cheap comes first.

    Conversations were cleaned when they were read.
    """
    return [
        not_too_long(settings),
        cleaned,
        as_spoken(probes_withheld([re.compile(pattern) for pattern in settings.withhold])),
        *protecting_steps(settings),
        notices_step(settings.rules),
    ]


def protecting_steps(settings: CorpusSettings) -> Iterator[Step]:
    """Yield the steps that protect evaluation sets, people and authors, as far as they are asked for."""
    if settings.decontaminate is not None:
        yield as_spoken(Decontaminator(settings.decontaminate))
    if settings.redact is not None:
        yield by_message(redact_step(settings.redact))
    if settings.licences is not None:
        yield licence_step(settings)
    elif any(source.licence for source in settings.sources.values()):
        yield declaring_step(settings)


def notices_step(rules: RuleSettings) -> Step:
    """Return the step that cuts site notices out of pages."""

    def step(candidate: Candidate) -> Verdict:
        document = candidate.document
        family = family_of(document.kind)
        phrases = None if family in (None, "code") else getattr(rules, str(family)).cut_notices
        text, cut = cut_lines(document.text, phrases) if phrases else (document.text, "")
        if not cut:
            return Verdict(candidate)
        found = Cut("site_notice", num_bytes(cut), cut)
        return Verdict(candidate.with_text(clean(text, document.kind)), None, (found,))

    return step


STEP_FAILED = "step_failed"


def apply_steps(steps: Sequence[Step], candidate: Candidate) -> Verdict:
    """Return what becomes of a candidate: as the last step leaves it, or as the step left it that dropped it.

    A step that raises drops the document, as step_failed: one document in millions must not end a corpus.
    """
    cuts: tuple[Cut, ...] = ()
    for step in steps:
        try:
            verdict = step(candidate)
        except (MemoryError, HeadwaterError):  # of the process, or of the settings
            raise
        except Exception as error:
            name, kind = _name_of(step), type(error).__name__
            because = f"step {name}: {kind}: {' '.join(str(error).split())[:200]}"
            # a text that wasn't redacted is not shown
            return Verdict(candidate, STEP_FAILED, cuts, note=f"{name}:{kind}", because=because, excerpt=" ")
        candidate, cuts = verdict.candidate, cuts + verdict.cuts
        if verdict.reason is not None:
            return replace(verdict, cuts=cuts)
    return Verdict(candidate, None, cuts)


def _name_of(step: Step) -> str:
    """Return what made a step: "rules" of rules_step, also within a step that asks it."""
    step = inspect.unwrap(step)
    name: str = getattr(step, "__qualname__", type(step).__qualname__)
    return name.partition(".")[0].removesuffix("_step").lower()


def not_too_long(settings: CorpusSettings) -> Step:
    """Return the step that drops conversations longer than their source allows: they aren't cut, as texts are."""

    def step(candidate: Candidate) -> Verdict:
        document = candidate.document
        if document.kind != CONVERSATIONS:
            return Verdict(candidate)
        most = settings.sources[document.source].max_characters or settings.max_document_characters
        length = sum(len(content) for _, content in messages_of(document.text))
        if length <= most:
            return Verdict(candidate)
        return Verdict(candidate, "long_conversation", because=f"{length:,} characters, {most:,} at most")

    return step


def as_spoken(step: Step) -> Step:
    """Return a step that asks another about what is said in a conversation, and drops all of it where that cuts."""

    @wraps(step)
    def whole(candidate: Candidate) -> Verdict:
        document = candidate.document
        if document.kind != CONVERSATIONS:
            return step(candidate)
        verdict = step(candidate.with_text(plain_text(document)))
        if verdict.reason is not None or not verdict.cuts:
            return replace(verdict, candidate=candidate)
        cut = verdict.cuts[0]
        return Verdict(candidate, cut.reason, note=cut.note, because=cut.because, excerpt=cut.excerpt)

    return whole


def by_message(step: Step) -> Step:
    """Return a step that takes a conversation's messages one by one."""

    @wraps(step)
    def each(candidate: Candidate) -> Verdict:
        document = candidate.document
        if document.kind != CONVERSATIONS:
            return step(candidate)
        messages = messages_of(document.text)
        verdicts = [step(candidate.with_text(content)) for _, content in messages]
        texts = [verdict.candidate.document.text for verdict in verdicts]
        changed = as_text(Message(role, text) for (role, _), text in zip(messages, texts, strict=True))
        return Verdict(candidate.with_text(changed), cuts=tuple(cut for verdict in verdicts for cut in verdict.cuts))

    return each


def cleaned(candidate: Candidate) -> Verdict:
    document = candidate.document
    if document.kind == CONVERSATIONS:
        return Verdict(candidate)
    text = clean(document.text, document.kind)
    return Verdict(candidate if text == document.text else candidate.with_text(text))


def probes_withheld(patterns: Sequence[re.Pattern[str]]) -> Step:
    """Return the step that cuts out what a pattern matches, or drops a short text with it."""

    def step(candidate: Candidate) -> Verdict:
        document = candidate.document
        text, cut = withhold(document.text, patterns)
        if text is None:
            return Verdict(candidate, "held_out_probe")
        if not cut:
            return Verdict(candidate)
        found = Cut("held_out_probe", num_bytes(cut), cut[:EXCERPT_CHARACTERS])
        return Verdict(candidate.with_text(clean(text, document.kind)), None, (found,))

    return step
