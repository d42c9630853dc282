"""What is replaced of personal data and secrets: planted in every form, a table of texts (cases.jsonl), and columns.

A line of cases.jsonl is a text and what it becomes; without `redacted` it only resembles such data, and stays as it is.
"""

from __future__ import annotations

import gzip
import json
import random
import string
import sys
from pathlib import Path

import pytest
from golden_rows import rows
from hypothesis import given
from hypothesis import strategies as st

from headwater.corpus.document import Document
from headwater.corpus.personal.replace import contexts, placeholder, redact, redact_columns, redact_step
from headwater.corpus.personal.secrets import is_sample
from headwater.corpus.sources.settings import REDACTED_KINDS, RedactSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

sys.path.insert(0, str(Path(__file__).parent))
from planted_data import NO_ISSUERS, PLANTED, card, iban, labelled_phone, national_phone, other_number, phone

FOLDER = Path(__file__).parent
KINDS = list(REDACTED_KINDS)
NUM_PLANTED = 300
CASES = [json.loads(line) for line in (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
NEGATIVES = [case["text"] for case in CASES if "redacted" not in case]


@pytest.mark.parametrize("case", [case for case in CASES if "redacted" in case], ids=lambda case: case["redacted"][:40])
def test_of_each_text_what_is_personal_goes_whole_and_nothing_else(case):
    assert redact(case["text"], case.get("kinds", KINDS))[0] == case["redacted"]


@pytest.mark.parametrize("text", NEGATIVES)
def test_what_only_resembles_it_stays(text):
    around = f"Here: {text} and on."
    assert redact(around, KINDS) == (around, {})


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planted_is_found_and_nothing_else(kind):
    rng, wrong = random.Random(kind), []
    for _ in range(NUM_PLANTED):
        planted = PLANTED[kind](rng)
        before, after = rng.choice(
            [("Write to ", " soon."), ("(", ")"), ("x: ", "\n"), ("\n", ", or"), ("Ask ", ".\n"), ("", "")]
        )
        text, replaced = redact(before + planted + after, KINDS)
        is_right = list(replaced) == [kind] and len(replaced[kind]) == 1 and replaced[kind][0] in planted
        is_whole = text.startswith(before) and text.endswith(after) and not _secret_left(kind, text, planted)
        wrong += [] if is_right and is_whole else [(planted, text)]
    assert not wrong, (len(wrong), wrong[:5])


# what is drawn, of which kind it is, and which part of it is found at least, or of what is of no kind at most (an account within another)
NUMBERS = {
    "IBAN": (iban, "iban", 1.0),
    "IBAN, wrong check digits": (lambda rng: iban(rng, rng.randint(1, 96)), None, 0.01),
    "IBAN, country without": (lambda rng: iban(rng, 0, "US CN IN AU"), None, 0.0),
    "IBAN, a character more": (lambda rng: iban(rng) + rng.choice("07AZ"), None, 0.01),
    "IBAN, a character less": (lambda rng: iban(rng)[:-1], None, 0.01),
    "card": (card, "card", 1.0),
    "card, wrong check digit": (lambda rng: card(rng, rng.randint(1, 9)), None, 0.0),
    "card, no issuer's prefix and length": (lambda rng: card(rng, 0, NO_ISSUERS), None, 0.0),
    "telephone, international": (phone, "phone", 1.0),
    "telephone, labelled": (labelled_phone, "phone", 0.97),
    "telephone, national without a label": (national_phone, None, 0.0),
    "other numbers": (other_number, None, 0.0),
}  # fmt: skip


def test_recall_and_precision_of_numbers_by_what_is_drawn():
    kinds, found, wrong, rates = ["iban", "card", "phone"], 0, 0, {}
    for name, (make, kind, limit) in NUMBERS.items():
        rng, hits = random.Random(name), 0
        for _ in range(NUM_PLANTED):
            _, replaced = redact(f"It says {make(rng)}, as before.", kinds)
            hits += list(replaced) == [kind] if kind else bool(replaced)
            wrong += sum(map(len, replaced.values())) - (list(replaced) == [kind])
        found += hits if kind else 0
        rates[name] = (hits / NUM_PLANTED, limit)
    over = {
        name: rate for name, rate in rates.items() if (rate[0] < rate[1] if NUMBERS[name][1] else rate[0] > rate[1])
    }
    assert not over, (rates, over)
    assert wrong <= 0.005 * found, (wrong, found)


def _secret_left(kind, text, planted):
    """Whether half of what was planted is still there; of a password and of links, names around it stay."""
    if kind == "password":
        return False
    letters = planted.removeprefix("https://")
    return letters[: len(letters) // 2 + 1] in text and kind not in ("email", "phone")


def test_of_the_samples_that_gitleaks_tests_its_rules_with_nearly_all_are_found():
    """Three of each rule, made by its generator (MIT, commit b58d3f102cf3); compressed, since scanners take them for real."""
    lines = gzip.decompress((FOLDER / "gitleaks_samples.jsonl.gz").read_bytes()).decode().splitlines()
    samples = [json.loads(line) for line in lines]
    left = [
        each["rule"] for each in samples if any(secret in redact(each["text"], KINDS)[0] for secret in each["secrets"])
    ]
    assert len(samples) > 500
    assert len(left) < 0.03 * len(samples), left


@pytest.mark.parametrize("after", ["", "\n", "\n\nWith this key, log in.", "\n-----END"])
def test_a_key_cut_before_its_end_goes_with_all_its_lines(after):
    rng = random.Random(0)
    lines = ["".join(rng.choices("ABCDEFghijkl0123456789+/", k=64)) for _ in range(10)]
    text = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *lines])
    assert redact(f"Key:\n{text}{after}", KINDS)[0] == f"Key:\n<PRIVATE_KEY>{after}"


NOBODYS = "3fff::1 2001:db8::1:2 2001:20::1 2002:102:304::1 64:ff9b:1::1 fc00::1:2 fdab:1:2::3 fe80::1:2 ff02::1:2 "
NOBODYS += "10.20.30.40 192.88.99.15 203.0.113.17 239.255.255.250 127.30.20.10"


@pytest.mark.parametrize(
    ("is_global", "addresses", "left"),
    [(True, NOBODYS.split(), None), (False, ["93.184.216.34", "2606:2800:220:1::1946"], "<IP_ADDRESS>")],
)
def test_addresses_of_nobody_stay_and_those_in_use_go_whatever_pythons_own_table_says(
    monkeypatch, is_global, addresses, left
):
    monkeypatch.setattr("ipaddress.IPv4Address.is_global", is_global)
    monkeypatch.setattr("ipaddress.IPv6Address.is_global", is_global)
    for address in addresses:
        assert redact(f"at {address} it is", KINDS)[0] == f"at {left or address} it is"


@pytest.mark.parametrize(
    "unit", ["+4930901820", "Tel.: (030)901820\n", "Tel 030/901820\n", "+4930901820\nTel (030)901820"]
)
def test_numbers_chained_to_one_another_all_go(unit):
    text, replaced = redact(unit * 6, KINDS)
    assert text.replace("Tel", "").strip(".: \n<>PHONE") == "" and len(replaced["phone"]) == text.count("<PHONE>")


@pytest.mark.parametrize("between", ["-", "_", "[", "(", ":1", "+49 30 901820", ", "])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_of_addresses_in_a_row_none_stays_and_a_second_pass_changes_nothing(between, count):
    text, _ = redact(between.join(["max.m@firma.de"] * count), KINDS)
    assert "max" not in text and "firma" not in text and "9018" not in text
    assert redact(text, KINDS) == (text, {})


PIECES = [*NEGATIVES, "a@b.org", "+44 20 7946 0958", " ", "\n", "1", "-", "@", ":", "é"]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_redacting_twice_changes_nothing_and_what_is_kept_is_unchanged(parts):
    text = "".join(parts)
    once, replaced = redact(text, KINDS)
    assert redact(once, KINDS) == (once, {})
    for kind, found in replaced.items():
        for each in found:
            assert each in text
            once = once.replace(placeholder(kind), each, 1) if len(replaced) == 1 else once
    assert len(replaced) != 1 or once == text


def step(text, **settings):
    return redact_step(RedactSettings(**settings))(Candidate(Document(text, "s", "i", "o", "text"), WordHasher()))


def test_the_account_says_how_many_and_never_which():
    verdict = step("Ask a@b.org, b@b.org or +44 20 7946 0958.")
    around = "Ask <EMAIL>, <EMAIL> or <PHONE>."
    assert verdict.candidate.document.text == around
    assert {cut.reason: (cut.num_bytes, cut.note, cut.because, cut.excerpt) for cut in verdict.cuts} == {
        "redacted_email": (14, "2", "2 places in this document", around),
        "redacted_phone": (16, "1", "1 place in this document", around),
    }


def test_the_excerpt_has_a_few_words_on_either_side_of_the_first_places():
    text = " ".join(f"w{n}" if n % 100 else f"<EMAIL> w{n}" for n in range(1, 1000))
    lines = contexts(text, "email").split("\n")
    assert lines == [
        " ".join(f"w{n}" if n % 100 else f"<EMAIL> w{n}" for n in range(at - 7, at + 8)) for at in (100, 200, 300)
    ]
    assert contexts(text, "phone") == ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_replaced_stands_in_no_excerpt(kind):
    rng = random.Random(kind)
    for _ in range(50):
        planted = PLANTED[kind](rng)
        verdict = step(f"Before it some words, {planted} and some words after it. Another: {planted}.")
        _, replaced = redact(planted, KINDS)
        for cut in verdict.cuts:
            assert not [part for parts in replaced.values() for part in parts if part in cut.excerpt], cut


def test_a_password_that_is_repeated_without_its_name_is_not_quoted():
    (cut,) = step("password = 'kV9x2qLm7Tz' and then she typed kV9x2qLm7Tz once more.").cuts
    assert (cut.reason, cut.excerpt) == ("redacted_password", "")


_SAMPLES = r"""<password> ${DB_PASSWORD_1} $API_KEY_2 %(secret1)s {{vault_token1}} your-password1 yourApiKey1 changeme123
    ChangeMe1! password1 test-token-1 TestPassword1 xxxxxxxx1 sk-xxxxxxxx1234 ***1*** abcdef123456 qwerty123456
    example_key_1 access_token_v2 YOUR_API_KEY_1 get_token(1) [a-z0-9]{8} \x00abc123"""
_SECRETS = """hunter2Secret!xx tiger-Test-Lamp77 Zk39fjQw22xA myT0ken!rq7 wJal/XUtnFEMI+K7MDENG blue-horse-42-run
    correct1horse2battery 3f9a8b7c6d5e4f3a Пароль2024 密码1234"""
SAMPLES, SECRETS = [*_SAMPLES.split(), "{{ vault_token1 }}"], _SECRETS.split()


def test_what_stands_where_a_secret_would_is_a_sample_and_what_somebody_may_use_is_none():
    assert [value for value in SAMPLES if not is_sample(value)] == []
    assert [value for value in SECRETS if is_sample(value)] == []


def test_of_chance_almost_nothing_is_a_sample():
    rng = random.Random(0)
    drawn = ["".join(rng.choices(string.ascii_letters + string.digits + "-_", k=14)) for _ in range(5000)]
    samples = [value for value in drawn if is_sample(value)]
    assert len(samples) <= 10, samples


def redacted(meta):
    return redact_columns(meta, REDACTED_KINDS)


@pytest.mark.parametrize(("name", "value", "left"), rows("what_stands_beside_a_text_is_redacted"))
def test_what_stands_beside_a_text_is_redacted(name, value, left):
    assert redacted({"a": "b", name: value}) == {"a": "b", name: left}


def test_what_stands_in_another_column_says_nothing_of_a_value():
    assert redacted({"title": "GNU release", "url": "81.2.69.142"})["url"] == "<IP_ADDRESS>"


def test_what_only_resembles_it_stays_in_a_column():
    meta = {f"c{n}": value for n, value in enumerate(NEGATIVES)}
    assert redacted(meta) is meta
