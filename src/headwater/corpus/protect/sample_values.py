"""What stands in documentation and templates where a secret would: <password>, ${TOKEN}, your-key-1, changeme, xxxx.

A sample is one as a whole. That a password has "secret" or "test" somewhere in it makes it no sample.
"""

from __future__ import annotations

import re

# what a program or a person puts in: <…>, {…}, $X, ${…}, $(…), %X%, %s, %(…)s, […], (?…), f(…), \n
_TEMPLATE = re.compile(
    r"<[^<>]+>|\{[^{}]*\}|^\$\w+$|\$\(|^%\w+%$|^%\w$|%\(\w+\)|%[sd]|\[[^\[\]]*\]|\(\?|\w\([^()]*\)|\\[A-Za-z]", re.ASCII
)
_FILLED = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|#{3,}|0{6,}|^your(?![a-z])|^your.*(?:key|token|secret|passw|pwd)|[-_]your[-_]", re.IGNORECASE
)
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SAMPLE_WORDS = (
    "a abc abcd abcde abcdef access account admin aes an and api app argon auth bar base baz bcrypt bearer change "
    "changeit changeme client code config credential credentials csrf data db default demo dev dummy ed empty "
    "enter env example fake field file foo foobar for guest hash header hello here hidden hmac id input insert "
    "invalid is it key keys letmein local login md me mock my mysql name new no none not null oauth of old or "
    "other pass passphrase passwd password passwords pbkdf placeholder postgres prefix private prod production "
    "public pw pwd qwerty random redacted refresh root rsa s sample secret secrets server service session sha some "
    "staging string test testing tests text the this to todo token tokens type url user username utf v valid "
    "value var variable version welcome word world write x xxx your"
)
_WORDS = frozenset(_SAMPLE_WORDS.split())
_LEET = str.maketrans("013457@$!", "oleastasi")
_IDENTIFIER = re.compile(r"[a-z]+\d{0,3}(?:[_.:/-][a-z]*\d{0,3})+|[A-Z]+\d{0,3}(?:_[A-Z]+\d{0,3})+")
_ORDERED = ("abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm")


def is_sample(value: str) -> bool:
    """Return whether a value is a template, a filler, a name of something in the program, or made of sample's words."""
    if _TEMPLATE.search(value) or _FILLED.search(value):
        return True
    pieces = [piece.lower() for piece in _PIECE.findall(value)]
    if pieces and all(_is_said(piece) for piece in pieces):  # of other letters than these there are no pieces
        return True
    if _IDENTIFIER.fullmatch(value) and any(piece in _WORDS and len(piece) > 2 for piece in pieces):
        return True
    return value.rstrip("0123456789!").lower().translate(_LEET) in _WORDS


def _is_said(piece: str) -> bool:
    return piece in _WORDS or (len(piece) > 2 and any(piece in letters for letters in _ORDERED))
