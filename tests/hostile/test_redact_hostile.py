"""Texts made to cost a regular expression the square of their size, or more: 120 kB, at a pass each, take a moment."""

from __future__ import annotations

import pytest

from headwater.corpus.document import Document
from headwater.corpus.personal.replace import redact
from headwater.corpus.protect.decontaminate import Decontaminator
from headwater.corpus.sources.settings import REDACTED_KINDS, DecontaminateSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

SIZE = 120_000
pytestmark = pytest.mark.timeout(60)  # of which a pass takes a tenth of a second
PIECES = [
    "a", "@", "a@", "@a", "@a.", "a.a@a.a", "1", "1.", "1 ", "1-", "(1", "+1", "+1 ", "12.34.", "(", "+", "-", ":", "2a:", ":f",
    "2001:", "DE89", "DE89 ", "DE893704", "AB12", "LC55", "4111 ", "4539-", "4539148803436467", "4539148803436467 ", "a%40", "%40a.", "a%40b.org", "123-45-", "eyJ", "eyJa.", "eyJaaaaaaaaaaaa.", "sk-", "sk-a", "xoxb-1", "ghp_",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN A ", "-----BEGIN RSA PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAA\n", "=", "='", "= '",
    "password='", 'password="a', "://a", "://a:", "://a:b", "://a:bbbbbb@", "://a:b@c", "://:a@b@", "TOKEN=a$", "TOKEN=aaaaaaaaaa=", "TOKEN=/", "tel ", "tel 1", "tel: 12 ", "é@é", "\u00a0", "DE89\u00a0",
    "ya29.", "github_pat_", "(0) ", "+49 (0)", "00 ", "1/", "hooks.slack.com/services/T",
    "PuTTY-User-Key-File-3: \n", "key1 = ", "adafruit_a1", "ghp_a1b2c3d4e5f6g7 ", "sk-a1b2c3d4e5f6g7h8 ",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_repeating_a_beginning_costs_one_pass(piece):
    for text in (" ".join([piece * 50] * (SIZE // (50 * len(piece)))), f"{piece * (SIZE // len(piece))}!"):
        redact(text, list(REDACTED_KINDS))


def test_a_document_of_one_line_that_shares_much_with_a_set_costs_one_pass(tmp_path):
    words = [f"w{number}" for number in range(13 * 1500)]
    path = tmp_path / "set.txt"
    path.write_text("\n\n".join(" ".join(words[at : at + 13]) for at in range(0, len(words), 13)))
    step = Decontaminator(DecontaminateSettings(sets={"set": [str(path)]}))
    runs = (" ".join([*words[at : at + 13], "other"]) for at in range(0, len(words), 13))
    verdict = step(Candidate(Document(" ".join(runs), "s", "i", "o", "text"), WordHasher()))
    assert verdict.reason == "contaminated_set"
    assert len(verdict.note.split()) == 1 + 1500  # the set, and its items
