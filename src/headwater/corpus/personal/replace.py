"""Redaction: personal data and secrets give way to placeholders that say of which kind they were.

Only what has a form of its own is found: no names, no postal addresses. What follows the form and is known to be an
example (RFC 2606's domains, RFC 5737's addresses) stays, since documentation is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headwater.corpus.document import num_bytes
from headwater.corpus.personal.accounts import find_cards, find_ibans
from headwater.corpus.personal.addresses import find_emails, find_ip_addresses
from headwater.corpus.personal.phones import find_phones
from headwater.corpus.personal.secrets import find_passwords, find_private_keys, find_tokens
from headwater.corpus.sources.settings import REDACTED_KINDS, RedactSettings
from headwater.corpus.step import Candidate, Cut, Span, Step, Verdict

REASON = "redacted_"
_MAX_SEARCHES = 16  # ordinary texts take two
_MAX_CONTEXTS, _CONTEXT_WORDS, _CONTEXT_CHARACTERS = 3, 8, 80

# in the order in which they are replaced: what is a part of an address is no number
FINDERS: dict[str, Callable[[str], Iterator[Span]]] = {
    "private_key": find_private_keys,
    "token": find_tokens,
    "password": find_passwords,
    "email": find_emails,
    "ip_address": find_ip_addresses,
    "iban": find_ibans,
    "card": find_cards,
    "phone": find_phones,
}
assert set(FINDERS) == set(REDACTED_KINDS)


def redact_step(settings: RedactSettings) -> Step:
    """Return the step. A cut says how many of a kind were replaced and between which words, never which they were.

    What is cut out of the text must not stand in `dropped/` either: its excerpt is of the text with its placeholders.
    What stands beside the text was redacted as it was read (redact_columns).
    """

    def step(candidate: Candidate) -> Verdict:
        text, replaced = redact(candidate.document.text, settings.kinds)
        if not replaced:
            return Verdict(candidate)
        cuts = tuple(_cut(kind, replaced, text) for kind in FINDERS if kind in replaced)
        return Verdict(candidate.with_text(text), cuts=cuts)

    return step


def _cut(kind: str, replaced: dict[str, list[str]], text: str) -> Cut:
    """Return the cut of one kind. Where its excerpt has what was replaced elsewhere, it has no excerpt."""
    count = len(replaced[kind])
    excerpt = contexts(text, kind)
    # a password that is repeated further on without its name is found but once
    if any(found in excerpt for each in replaced.values() for found in each):
        excerpt = ""
    because = f"{count:,} {'places' if count > 1 else 'place'} in this document"
    return Cut(REASON + kind, sum(map(num_bytes, replaced[kind])), excerpt, note=str(count), because=because)


def redact(text: str, kinds: Sequence[str]) -> tuple[str, dict[str, list[str]]]:
    """Return the text with placeholders such as <EMAIL>, and what was replaced, by kind.

    Each kind is searched until nothing more is found: what stands immediately beside a number may be one only without
    it.
    """
    replaced = dict[str, list[str]]()
    for kind in FINDERS:
        for _ in range(_MAX_SEARCHES if kind in kinds else 0):
            parts, at = list[str](), 0
            for start, end in sorted(FINDERS[kind](text), key=lambda span: (span[0], -span[1])):
                if start >= at:  # of two rules that find one begin the longer counts
                    parts += [text[at:start], placeholder(kind)]
                    replaced.setdefault(kind, []).append(text[start:end])
                    at = end
            if not parts:
                break
            text = "".join([*parts, text[at:]])
    return text, replaced


_AS_IT_IS = ("author", "group")  # an author is named on purpose; a group is a name of ours
_KEPT = ("site", "ip_address")  # sites are told apart by it


def redact_columns(meta: dict[str, str], kinds: Sequence[str]) -> dict[str, str]:
    """Return what stands beside a text with placeholders; the same object where there is nothing to replace."""
    # all together: nearly all rows have nothing, and a text costs some microseconds however short it is; apart by more
    # than a space, so that "release" before an address doesn't make a version of it
    if not redact("\n|\n".join(meta.values()), kinds)[1]:
        return meta
    return {
        name: value if name in _AS_IT_IS else redact(value, [kind for kind in kinds if (name, kind) != _KEPT])[0]
        for name, value in meta.items()
    }


def contexts(text: str, kind: str) -> str:
    """Return the first placeholders of a kind in a redacted text, each on a line with a few words on either side."""
    sign, lines, at = placeholder(kind), list[str](), 0
    while len(lines) < _MAX_CONTEXTS and (at := text.find(sign, at)) >= 0:
        before, after = text[max(0, at - _CONTEXT_CHARACTERS) : at], text[at : at + _CONTEXT_CHARACTERS]
        few = " ".join(before.split(" ")[-_CONTEXT_WORDS:]) + " ".join(after.split(" ")[: _CONTEXT_WORDS + 1])
        lines.append(" ".join(few.split()))
        at += _CONTEXT_CHARACTERS  # what stands nearer is on this line already
    return "\n".join(lines)


def placeholder(kind: str) -> str:
    return f"<{kind.upper()}>"
