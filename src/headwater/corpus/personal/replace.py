"""Redaction: personal data and secrets give way to placeholders that say of which kind they were.

Only what has a form of its own is found: no names, no postal addresses. What follows the form and is known to be an
example (RFC 2606's domains, RFC 5737's addresses, issuers' test cards) stays, since documentation is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headwater.corpus.document import num_bytes
from headwater.corpus.personal.accounts import find_cards, find_ibans, find_social_security_numbers
from headwater.corpus.personal.addresses import find_emails, find_ip_addresses
from headwater.corpus.personal.find import Scanned, Span
from headwater.corpus.personal.phones import find_phones
from headwater.corpus.personal.secrets import find_passwords, find_private_keys, find_tokens, names_secret
from headwater.corpus.step import Candidate, Cut, Step, Verdict
from headwater.sources.settings import REDACTED_KINDS, RedactSettings

# an author is named on purpose; a group is a name of ours
_AS_IT_IS = ("author", "group")
_SITE, _OF_SITES = "site", "ip_address"  # sites are told apart by it


class ColumnRedactor:
    """Replaces in metadata what is replaced in texts. What a column's name says of its value counts: "password"."""

    def __init__(self, settings: RedactSettings) -> None:
        self._kinds = settings.kinds
        self._kinds_of_site = [kind for kind in self._kinds if kind != _OF_SITES]

    def __call__(self, meta: dict[str, str]) -> dict[str, str]:
        """Return metadata with placeholders; the same object where there is nothing to replace.

        A column whose own name is replaced, as an e-mail address for a name is, is dropped.
        """
        values = {name: value for name, value in meta.items() if name not in _AS_IT_IS}
        # all together: nearly all rows have nothing, and a text costs some microseconds however short it is
        if not redact("\n".join(value.join(_around(name, value)) for name, value in values.items()), self._kinds)[1]:
            return meta
        redacted = {name: self._value(name, value) if name in values else value for name, value in meta.items()}
        return {name: value for name, value in redacted.items() if value is not None}

    def _value(self, name: str, value: str) -> str | None:
        before, after = _around(name, value)
        text, _ = redact(before + value + after, self._kinds_of_site if name == _SITE else self._kinds)
        is_whole = text.startswith(before) and text.endswith(after)
        return text[len(before) : len(text) - len(after)] if is_whole else None


def _around(name: str, value: str) -> tuple[str, str]:
    """Return what sets a value without quotes to the name of a secret; of others the name stands above them."""
    is_set = names_secret(name) and '"' not in value and "'" not in value
    return (f'{name}="', '"') if is_set else (f"{name}\n", "\n")


REASON = "redacted_"
_MAX_SEARCHES = 16  # each for what is found alone; ordinary texts take two or three
_MAX_CONTEXTS, _CONTEXT_WORDS, _CONTEXT_CHARACTERS = 3, 8, 80

# of two that overlap the first kind is taken
FINDERS: dict[str, Callable[[Scanned], Iterator[Span]]] = {
    "private_key": find_private_keys,
    "token": find_tokens,
    "password": find_passwords,
    "email": find_emails,
    "iban": find_ibans,
    "card": find_cards,
    "us_ssn": find_social_security_numbers,
    "phone": find_phones,
    "ip_address": find_ip_addresses,
}
assert set(FINDERS) == set(REDACTED_KINDS)


def redact_step(settings: RedactSettings) -> Step:
    """Return the step. A cut says how many of a kind were replaced and between which words, never which they were.

    What is cut out of the text must not stand in `dropped/` either: its excerpt is of the text with its placeholders.
    What stands beside the text was redacted as it was read (ColumnRedactor).
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

    It is searched until nothing more is found: in a@b.com+49 30 901820 the number can be told only without the address.
    In a text made of such pairs that takes ever more searches: from the 17th on more and more around them goes, too.
    """
    kinds, replaced = [kind for kind in FINDERS if kind in kinds], dict[str, list[str]]()
    num_searches = 0
    while found := sorted(_spans(text, kinds)):
        num_searches += 1
        around = 2 ** (num_searches - _MAX_SEARCHES) if num_searches > _MAX_SEARCHES else 0
        parts, at = list[str](), 0
        for start, end, place in _apart([(max(start - around, 0), end + around, place) for start, end, place in found]):
            parts += [text[at:start], placeholder(kinds[place])]
            replaced.setdefault(kinds[place], []).append(text[start:end])
            at = end
        text = "".join([*parts, text[at:]])
    return text, replaced


def _spans(text: str, kinds: list[str]) -> Iterator[tuple[int, int, int]]:
    """Return (start, end, place of the kind) of all that is found."""
    scanned = Scanned(text, kinds)
    return ((*span, place) for place, kind in enumerate(kinds) for span in FINDERS[kind](scanned))


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


def _apart(found: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return what is found, in order, without overlaps: two that overlap become one, of the earlier kind."""
    kept: list[tuple[int, int, int]] = []
    for span in found:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
        else:
            start, end, place = kept[-1]
            kept[-1] = (start, max(end, span[1]), min(place, span[2]))
    return kept
