"""Where private keys, API tokens and passwords stand in a text; none may be learned, and none is worth learning.

Tokens have the forms that their issuers publish for scanners such as this one. A password is a string that a name
such as `password` is set to, when it looks like no word and no sample.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from headwater.corpus.step import Span
from headwater.corpus.toml_tables import listed, toml_table

# what a program or a person puts in: <…>, {…}, $X, ${…}, $(…), %X%, %s, %(…)s, […], (?…), f(…), \n
_TEMPLATE = re.compile(
    r"<[^<>]+>|\{[^{}]*\}|^\$\w+$|\$\(|^%\w+%$|^%\w$|%\(\w+\)|%[sd]|\[[^\[\]]*\]|\(\?|\w\([^()]*\)|\\[A-Za-z]", re.ASCII
)
_FILLED = re.compile(
    r"x{4,}|\*{3,}|\.{3,}|#{3,}|0{6,}|^your(?![a-z])|^your.*(?:key|token|secret|passw|pwd)|[-_]your[-_]", re.IGNORECASE
)
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def is_sample(value: str) -> bool:
    """Return whether a value is a template, a filler, or made of sample's words."""
    if _TEMPLATE.search(value) or _FILLED.search(value):
        return True
    pieces = [piece.lower() for piece in _PIECE.findall(value)]  # other letters make none
    return bool(pieces) and all(piece in listed("headwater.corpus.personal", "sample_words") for piece in pieces)


_IN_ADDRESS = re.compile(r"://[^\s:/<>\"']{0,64}:([^\s/@<>\"']{1,128})@(?=[\w\[.-])")


def server_passwords(text: str) -> Iterator[tuple[Span, bool]]:
    """Yield where what stands for a password in an address stands, and whether it is one: no sample, no single letter.

    What would have to be written otherwise there, a slash or an at sign, ends it.
    """
    for match in _IN_ADDRESS.finditer(text) if "://" in text else ():
        yield match.span(1), len(match.group(1)) > 1 and not is_sample(match.group(1))


# to its end, else as far as its lines of base64 go; 16,384 bits of RSA take 12,600 characters, under 64 are a sketch
_PRIVATE_KEYS = (
    re.compile(
        r"-----BEGIN ((?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?)-----"
        r"(?:(?:[^-]|-(?!----)){64,20000}+-----END \1-----"
        r"|(?:\s{0,8}[A-Za-z0-9+/=]{16,80}+){3,400}+|(?:\s{0,8}[A-Za-z0-9+/=]{64,80}+){1,2}+)"
    ),
    re.compile(r"PuTTY-User-Key-File-\d: (?:[^\n]{0,200}\n){4,400}?Private-MAC: [0-9a-f]{40,64}"),
)

_MIN_TOKEN_CHARACTERS, _BEFORE_TOKEN, _AFTER_TOKEN = 14, 64, 8
_LONG_WORD = re.compile(f"[A-Za-z0-9_+/=.~%|-]{{{_MIN_TOKEN_CHARACTERS},}}+")
_DIGIT = re.compile("[0-9]")

# an arrow's end, not that of the placeholder of what was replaced before
_QUOTED = re.compile(r"[=:>](?<!<TOKEN>)(?<!<PRIVATE_KEY>)\s{0,4}([\"'])(?P<value>[^\"'\s]{8,128}+)\1")
# the letters that names of secrets end in come first: most signs of assignment are passed over immediately
_BARE = re.compile(
    r"[=:](?<=[dehnstyDEHNSTY ][=:])[ \t]{0,4}(?P<value>(?!\$)[^\s\"'`=,;&|<>(){}\[\]\\]{8,128}+={0,2}+)"
    r"(?=[\s;&|,)\"'`]|$)"
)
# a file; a page of the web: of an address it is the password alone that is hidden (server_passwords); kApiKey2Name
_REFERENCE = re.compile(
    r"(?:~|\.\.?)/|/[A-Za-z]?[A-Za-z0-9_.-]{2,}/|[A-Za-z][A-Za-z0-9+.-]{1,15}://|k(?:[A-Z][a-z]+\d{0,2}){2,}$"
)
_NAME = re.compile(
    r"(?:passw(?:or)?d|passwd|passphrase|pwd|(?:^|[^a-z])(?:db|pg|my)?pass|secret|token|api[_-]?key|access[_-]?key|"
    r"private[_-]?key|secret[_-]?access[_-]?key)(?:[_-]?(?:key|token|value|hash|base)){0,2}[\"'\]]{0,2}\s{0,4}[:=]?$",
    re.IGNORECASE,
)
_SETTING = re.compile(r"(?:^|[\s\"'])[A-Z][A-Z0-9_]*$")  # as the environment has them
_NAME_CHARACTERS = 30
_MIN_BITS = 2.75  # a character; 16 random letters have 3.5
_RUN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_MAX_RUN = 3.4  # letters of one case or digits in a row, on average: chance makes 1.6 of them, words 4 and more


def find_private_keys(text: str) -> Iterator[Span]:
    """Yield where PEM, OpenPGP and PuTTY blocks of private keys stand; of one that isn't ended, its lines of base64."""
    yield from (match.span() for key in _PRIVATE_KEYS for match in key.finditer(text))


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    min_bits: float
    allowed: re.Pattern[str]


@cache
def _rules() -> tuple[re.Pattern[str], dict[str, dict[_Rule, None]]]:
    """Return what finds the keywords of rules, and the rules by keyword: those of gitleaks and some of our own."""
    rules: dict[str, dict[_Rule, None]] = {}
    for table in toml_table("headwater.corpus.personal", "data/secrets")["rules"]:
        allowed = re.compile("|".join(table.get("allowed", ["(?!)"])), re.ASCII)
        rule = _Rule(re.compile(table["regex"], re.ASCII), table.get("entropy", 0), allowed)
        for keyword in table["keywords"]:
            rules.setdefault(keyword, {})[rule] = None
    longest_first = sorted(rules, key=len, reverse=True)
    for word in longest_first:  # it hides those that it begins with
        rules[word] = {rule: None for begin in longest_first if word.startswith(begin) for rule in rules[begin]}
    # by their first letters: most of the text is passed over with a comparison for each of them
    by_letter = {
        word[0]: "|".join(re.escape(each[1:]) for each in longest_first if each[0] == word[0]) for word in rules
    }
    return re.compile("|".join(f"{re.escape(letter)}(?:{rest})" for letter, rest in by_letter.items())), rules


def find_tokens(text: str) -> Iterator[Span]:
    """Yield where API tokens stand, but for those that say they are examples or are too regular for chance.

    A token is a long word with a digit, or a very long one; its rule's keyword stands in it or shortly before it.
    """
    keyword, rules = _rules()
    for word in _LONG_WORD.finditer(text):
        if len(word.group()) <= 2 * _MIN_TOKEN_CHARACTERS and not _DIGIT.search(word.group()):
            continue
        start = max(word.start() - _BEFORE_TOKEN, 0)
        around = text[start : word.end() + _AFTER_TOKEN]
        for rule in {rule: None for found in keyword.findall(around.lower()) for rule in rules[found]}:
            for match in rule.pattern.finditer(around):
                secret = next(filter(None, match.groups()), match.group())  # without what stands around it
                if _is_token(secret, rule):
                    at = start + around.index(secret, match.start())
                    yield at, at + len(secret)


def _is_token(secret: str, rule: _Rule) -> bool:
    has_chance = any(map(str.isdigit, secret)) or secret not in (secret.lower(), secret.upper())
    is_example = "EXAMPLE" in secret.upper() or is_sample(secret) or rule.allowed.search(secret)
    return has_chance and not is_example and _bits(secret) >= rule.min_bits


def find_passwords(text: str) -> Iterator[Span]:
    """Yield where strings stand that a password or key is set to, or that go with a user's name in an address.

    One without quotes counts after a name in capitals, as an environment has them; after other names only where it
    is made of small letters, capitals and digits in no order that words have.
    """
    yield from (span for span, is_secret in server_passwords(text) if is_secret)
    for pattern in (_QUOTED, _BARE):
        for match in pattern.finditer(text):
            value, before = match["value"], text[max(match.start() - _NAME_CHARACTERS, 0) : match.start()]
            if not (_is_random(value) and _NAME.search(before)) or is_sample(value) or _REFERENCE.match(value):
                continue
            if pattern is _QUOTED:
                yield match.span("value")
            elif _is_no_name(value, before):
                yield match.start("value"), match.end("value") - value.endswith(".")  # of the sentence


def _is_no_name(value: str, before: str) -> bool:
    """Return whether a value without quotes, which may be a name in a program, is one that nobody gives as a name."""
    has_cases = any(map(str.isupper, value)) and any(map(str.islower, value))
    runs = _RUN.findall(value)
    return _SETTING.search(before) is not None or (has_cases and sum(map(len, runs)) <= _MAX_RUN * len(runs))


def _is_random(text: str) -> bool:
    """Return whether a string has letters and digits, and some entropy."""
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text)) and _bits(text) >= _MIN_BITS


def _bits(text: str) -> float:
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())
