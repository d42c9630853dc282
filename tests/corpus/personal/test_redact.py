from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.corpus.document import Document
from headwater.corpus.personal.addresses import _is_public
from headwater.corpus.personal.replace import contexts, placeholder, redact, redact_step
from headwater.corpus.sources.settings import REDACTED_KINDS, RedactSettings
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

sys.path.insert(0, str(Path(__file__).parent))
from planted_data import NEGATIVES, PLANTED

KINDS = list(REDACTED_KINDS)
NUM_PLANTED = 300


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


def _secret_left(kind, text, planted):
    """Whether half of what was planted is still there; of a password and of links, names around it stay."""
    if kind == "password":
        return False
    letters = planted.removeprefix("https://")
    return letters[: len(letters) // 2 + 1] in text and kind not in ("email", "phone")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Tél. : 01 42 68 53 00 (accueil)", "Tél. : <PHONE> (accueil)"),
        ("TEL：03-3581-4111、年中無休", "TEL：<PHONE>、年中無休"),
        ("请致电+86 10 6512 3456预约，或邮件zhang@b.cn。", "请致电<PHONE>预约，或邮件<EMAIL>。"),
        ("тел. для справок: 8 (495) 123-45-67", "тел. для справок: <PHONE>"),
        ("هاتف: ٠٢ ٢٣٤٥ ٦٧٨٩", "هاتف: <PHONE>"),
        ("Hotel Adler, (030) 23125000, offen", "Hotel Adler, <PHONE>, offen"),
        ("Tel. 030 23125000, 030 23125001", "Tel. <PHONE>, <PHONE>"),
        ("Phone no. 9876543210", "Phone no. <PHONE>"),
        ("+44 (0) 20 7946 0958, +49 (0)30 23125000", "<PHONE>, <PHONE>"),
        ("+48 (0) 22 555 22 77; +47 (0)22 12 34 56; +39 (0)6 69812345", "<PHONE>; <PHONE>; <PHONE>"),
        ("jürgen.müller@firma.de, 用户@例子.公司联系", "<EMAIL>, <EMAIL>联系"),
        ("x@empresa.com.py x@gov.md x@a.sh x@uni.berlin", "<EMAIL> <EMAIL> <EMAIL> <EMAIL>"),
        ("a@b.com+49 30 901820", "<EMAIL><PHONE>"),
        ("_anna@b.com_, __c@d.com__", "<EMAIL>_, <EMAIL>__"),
        ("2606:2800:220:1::1946 (030) 901820", "<IP_ADDRESS> <PHONE>"),
    ],
)
def test_data_of_any_country_is_found_whole(text, redacted):
    assert redact(text, KINDS)[0] == redacted


def test_of_the_samples_that_gitleaks_tests_its_rules_with_nearly_all_are_found():
    """Three of each rule, made by its generator (MIT, commit b58d3f102cf3); compressed, since scanners take them for real."""
    lines = gzip.decompress((Path(__file__).parent / "gitleaks_samples.jsonl.gz").read_bytes()).decode().splitlines()
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


NOBODY = ["3fff::1", "2001:db8::1:2", "2001:20::1", "2002:102:304::1", "64:ff9b:1::1", "fc00::1:2", "fdab:1:2::3"]
NOBODY += ["fe80::1:2", "ff02::1:2", "10.20.30.40", "192.88.99.15", "203.0.113.17", "239.255.255.250", "127.30.20.10"]


def test_addresses_of_nobody_stay_whatever_pythons_own_table_says(monkeypatch):
    monkeypatch.setattr("ipaddress.IPv4Address.is_global", True)
    monkeypatch.setattr("ipaddress.IPv6Address.is_global", True)
    text = "\n".join(f"at {address} it is" for address in NOBODY)
    assert redact(text, KINDS)[0] == text
    assert not [address for address in NOBODY if _is_public(address)]


def test_addresses_in_use_go_whatever_pythons_own_table_says(monkeypatch):
    monkeypatch.setattr("ipaddress.IPv4Address.is_global", False)
    monkeypatch.setattr("ipaddress.IPv6Address.is_global", False)
    assert redact("at 93.184.216.34 and 2606:2800:220:1::1946", KINDS)[0] == "at <IP_ADDRESS> and <IP_ADDRESS>"


def test_a_key_of_putty_goes_whole():
    lines = "\n".join("AAAAB3NzaC1yc2EAAAABJQAAAQEAk5Zk9qW2xYt7Lm3q8Zk9qW2xYt7Lm3" for _ in range(4))
    key = (
        f"PuTTY-User-Key-File-3: ssh-rsa\nPublic-Lines: 2\n{lines}\nPrivate-Lines: 2\n{lines}\nPrivate-MAC: {'0f' * 32}"
    )
    assert redact(f"My key:\n{key}\nand on", KINDS)[0] == "My key:\n<PRIVATE_KEY>\nand on"


@pytest.mark.parametrize("text", NEGATIVES)
def test_what_only_resembles_it_stays(text):
    around = f"Here: {text} and on."
    assert redact(around, KINDS) == (around, {})


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("212-555-7812 212-555-7813 (03) 1234-5678", "<PHONE> <PHONE> <PHONE>"),
        ("212-555-7812 +49 30 1234567 212-555-7813", "<PHONE> <PHONE> <PHONE>"),
        ("(03) 1234-5678 3.50 1998", "<PHONE> 3.50 1998"),
        ("<PHONE> 3.50 1998", "<PHONE> 3.50 1998"),
        ("Tel. 030 901820 040 123456", "Tel. <PHONE> <PHONE>"),
        ("phone 01 42 68 53 00 01 42 68 53 01", "phone <PHONE> <PHONE>"),
        ("Tel. (212) 555-7812 / (212) 555-7813", "Tel. <PHONE> / <PHONE>"),
        ("Tel. +49 30 901820  2024", "Tel. <PHONE>  2024"),
        ("x = +35236450.6", "x = +35236450.6"),
    ],
)
def test_numbers_side_by_side_are_all_found(text, redacted):
    assert redact(text, ["phone"])[0] == redacted


@pytest.mark.parametrize("unit", ["+4930901820", "(030)901820", "030/901820\n", "+4930901820\n(030)901820"])
def test_numbers_chained_to_one_another_all_go(unit):
    text, replaced = redact(unit * 6, KINDS)
    assert text.strip("\n<>PHONE") == "" and len(replaced["phone"]) == text.count("<PHONE>")


@given(
    st.lists(
        st.sampled_from([*NEGATIVES, "a@b.org", "+44 20 7946 0958", " ", "\n", "1", "-", "@", ":", "é"]), max_size=12
    )
)
def test_redacting_twice_changes_nothing_and_what_is_kept_is_unchanged(parts):
    text = "".join(parts)
    once, replaced = redact(text, KINDS)
    assert redact(once, KINDS) == (once, {})
    for kind, found in replaced.items():
        for each in found:
            assert each in text
            once = once.replace(placeholder(kind), each, 1) if len(replaced) == 1 else once
    assert len(replaced) != 1 or once == text


def test_of_two_that_overlap_one_placeholder_is_left():
    text, replaced = redact("Mail anna@8.31.52.93.gmx.de or postgres://anna:s7cr3tq9x@gmx.de/x", KINDS)
    assert text.count("<") == sum(map(len, replaced.values())) == 2


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgres://bob:Zk39fjQw@host:5432/db", "postgres://bob:<PASSWORD>@host:5432/db"),
        ("postgres://bob:Zk39fjQw@db.acme.com:5432/db", "postgres://bob:<PASSWORD>@db.acme.com:5432/db"),
        ("redis://:Zk39fjQw@cache.acme.com/0", "redis://:<PASSWORD>@cache.acme.com/0"),
        ("DB_PASS=Zk39fjQw22xA\nDB_HOST=db.acme.com\n", "DB_PASS=<PASSWORD>\nDB_HOST=db.acme.com\n"),
        ("db_password: Zk39fjQw22xA # ours", "db_password: <PASSWORD> # ours"),
        ('{"password": "hunter2Secret!xx"}', '{"password": "<PASSWORD>"}'),
        ('{"SecretAccessKey": "wJal/XUtnFEMI+K7MDENG+bPxRfiCYzk39fjQw22"}', '{"SecretAccessKey": "<PASSWORD>"}'),
        ("SECRET_KEY_BASE=3f9a8b7c6d5e4f3a2b1c", "SECRET_KEY_BASE=<PASSWORD>"),
        ("postgres://admin:correcthorse@db.corp.com", "postgres://admin:<PASSWORD>@db.corp.com"),
        ("https://bob:secretpw@intranet.corp.org/a", "https://bob:<PASSWORD>@intranet.corp.org/a"),
        ("postgres://u:p4st@db.corp.com and on", "postgres://u:<PASSWORD>@db.corp.com and on"),
        ("smtp://joe@corp.com:hunter@mail.corp.com", "smtp://<EMAIL>:<PASSWORD>@mail.corp.com"),
        ("https://bob:Пароль@corp.org", "https://bob:<PASSWORD>@corp.org"),
        (f'f("ghp_{"aB3xY9kLmQ2wE7rT5u" * 2}",password="Xk9vQz7r1t")', 'f("<TOKEN>",password="<PASSWORD>")'),
        ('password: "Пароль2024"', 'password: "<PASSWORD>"'),
        ("SECRET_KEY=dGhpc2lzYXNlY3JldDEyMzQ1Njc4OTA=", "SECRET_KEY=<PASSWORD>"),
        ("SECRET_KEY=dGhpc2lzYXNlY3JldDEyMzQ1Njc4OQ==\n", "SECRET_KEY=<PASSWORD>\n"),
        ("DB_PASSWORD=Pa$$w0rd12x", "DB_PASSWORD=<PASSWORD>"),
        ('-e "DB_PASS=Zk39fjQw22xA"', '-e "DB_PASS=<PASSWORD>"'),
        ("UID=sa;PWD=Zk39fjQw22xA;", "UID=sa;PWD=<PASSWORD>;"),
        ("DB_PASSWORD=/Zk39fjQw22xA", "DB_PASSWORD=<PASSWORD>"),
    ],
)
def test_of_what_a_password_stands_in_nothing_else_goes(text, redacted):
    assert redact(text, KINDS)[0] == redacted


@pytest.mark.parametrize(
    ("kinds", "redacted"),
    [
        (["email"], "ftp://bob:<EMAIL>/x ftp://u:pass@db.corp.com"),
        (["password"], "ftp://bob:<PASSWORD>@db.corp.com/x ftp://u:pass@db.corp.com"),
    ],
)
def test_a_password_in_an_address_is_hidden_by_either_kind_alone(kinds, redacted):
    assert redact("ftp://bob:hunter@db.corp.com/x ftp://u:pass@db.corp.com", kinds)[0] == redacted


def step(text, **settings):
    return redact_step(RedactSettings(**settings))(Candidate(Document(text, "s", "i", "o", "text"), WordHasher()))


def test_the_account_says_how_many_and_never_which():
    verdict = step("Ask a@b.org, b@b.org or +44 20 7946 0958.")
    assert verdict.candidate.document.text == "Ask <EMAIL>, <EMAIL> or <PHONE>."
    told = {cut.reason: (cut.num_bytes, cut.note, cut.because, cut.excerpt) for cut in verdict.cuts}
    around = "Ask <EMAIL>, <EMAIL> or <PHONE>."
    assert told == {
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
    text = "password = 'kV9x2qLm7Tz' and then she typed kV9x2qLm7Tz once more."
    (cut,) = step(text).cuts
    assert (cut.reason, cut.excerpt) == ("redacted_password", "")


def test_only_the_kinds_requested_are_replaced():
    verdict = step("Ask a@b.org or +44 20 7946 0958.", kinds=["phone"])
    assert verdict.candidate.document.text == "Ask a@b.org or <PHONE>."


def test_a_text_without_any_goes_on_as_it_is():
    text = "Nothing here."
    verdict = step(text)
    assert verdict.cuts == ()
    assert verdict.candidate.document.text is text


def test_unknown_kinds_are_refused():
    with pytest.raises(ValidationError):
        RedactSettings(kinds=["name"])


@pytest.mark.parametrize("between", ["-", "_", "[", "(", ":1", "+49 30 901820", ", "])
@pytest.mark.parametrize("count", [2, 3, 40])
def test_of_addresses_in_a_row_none_stays_and_a_second_pass_changes_nothing(between, count):
    text, _ = redact(between.join(["max.m@firma.de"] * count), KINDS)
    assert "max" not in text and "firma" not in text and "9018" not in text
    assert redact(text, KINDS) == (text, {})


def test_a_size_of_an_icon_is_part_of_a_file_name_and_no_domain():
    assert redact("logo@2x.md and joe@2x.com", ["email"])[0] == "logo@2x.md and <EMAIL>"


def test_a_key_of_one_line_is_found_without_its_end():
    ed25519 = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g"
    text = f"-----BEGIN PRIVATE KEY-----\n{ed25519}\nis what you need"
    assert redact(text, ["private_key"])[0] == "<PRIVATE_KEY>\nis what you need"
