from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from headwater.corpus.document import Document
from headwater.corpus.samples.almanac.causes import HELD_OUT_JOINTS, Thing, mechanisms
from headwater.corpus.samples.almanac.facts import countries
from headwater.corpus.samples.almanac.probes import held_out_patterns
from headwater.corpus.samples.almanac.sums import held_out_pairs, shown_pairs
from headwater.corpus.samples.almanac.write import SHARES, almanac_documents

NUM_BYTES = 2_000_000


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(almanac_documents(seed=0, num_bytes=NUM_BYTES))


def part(documents: list[Document], name: str) -> list[str]:
    return [document.text for document in documents if document.meta["part"] == name]


def test_parts_have_their_shares_of_the_bytes(documents):
    for name, share in SHARES.items():
        num_bytes = sum(len(text.encode()) for text in part(documents, name))
        assert abs(num_bytes / NUM_BYTES - share) < 0.005, (name, num_bytes)


def test_the_seed_decides_the_text():
    first, again, other = (list(almanac_documents(seed=seed, num_bytes=50_000)) for seed in (3, 3, 4))
    assert first == again
    assert {document.text for document in first} & {document.text for document in other} == set()


def test_no_document_and_no_id_comes_twice(documents):
    assert len({document.text for document in documents}) == len(documents)
    assert len({document.id for document in documents}) == len(documents)


def test_no_document_contains_what_is_held_out(documents):
    found = [
        (document.id, match.group())
        for document in documents
        for pattern in held_out_patterns()
        if (match := pattern.search(document.text))
    ]
    assert found == []


def test_every_capital_is_stated_often_and_all_equally(documents):
    texts = part(documents, "countries")
    counts = Counter(
        country.name
        for text in texts
        for country in countries()
        if country.capital in text and country.name in text.replace("The ", "the ")
    )
    assert min(counts.values()) >= 40, counts.most_common()[-3:]
    # Guinea-Bissau's Bissau and the like are found inside other names, so only the lower end is bounded.
    assert len(counts) == len(countries())


def test_sentences_are_whole(documents):
    for text in part(documents, "countries") + part(documents, "causes"):
        assert re.search(r"[.!?]$", text), text
        assert not re.search(r"\{|\}|None|\.\.|  ", text), text


def numbers_of(sentence: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", sentence)]


def test_every_sum_is_right(documents):
    stated = 0
    for text in part(documents, "sums"):
        for a, b, c in re.findall(r"(?<!plus )\b(\d+) (?:\+|plus) (\d+) (?:=|is) (\d+)", text):
            assert int(a) + int(b) == int(c), (a, b, c)
            stated += 1
    assert stated > 8_000, stated


def test_held_out_pairs_are_never_added_in_any_words(documents):
    """Independently of the patterns: no sentence has the two numbers and then their sum, in a row."""
    hidden = set(held_out_pairs())
    for text in part(documents, "sums"):
        for sentence in re.split(r"[.\n] ?", text):
            if sentence.startswith(("In order", "Of ", "Count")):
                continue  # three numbers that stand in a row, not a sum
            numbers = numbers_of(sentence)
            for a, b, c in zip(numbers, numbers[1:], numbers[2:]):
                assert a + b != c or (min(a, b), max(a, b)) not in hidden, sentence


def test_shown_pairs_are_all_shown_and_equally_often(documents):
    shown = {*shown_pairs(carrying=False), *shown_pairs(carrying=True)}
    counts: Counter[tuple[int, int]] = Counter(dict.fromkeys(shown, 0))
    for text in part(documents, "sums"):
        for a, b in re.findall(r"\b([1-4]\d) (?:\+|plus) ([1-4]\d) (?:=|is)", text):
            counts[int(a), int(b)] += 1
    assert set(counts) == shown
    assert min(counts.values()) >= 3, counts.most_common()[-3:]


def test_comparisons_and_counting_are_true(documents):
    for text in part(documents, "sums"):
        for high, low in re.findall(r"(\d+) is greater than (\d+)", text):
            assert int(high) > int(low)
        for low, high in re.findall(r"(\d+) is less than (\d+)", text):
            assert int(low) < int(high)
        for run in re.findall(r"Count on by ones: ([\d, ]+)\.", text):
            assert all(second - first == 1 for first, second in pairwise(numbers_of(run)))
        for word, n, more in re.findall(r"(One|Two|Ten) more than (\d+) is (\d+)", text):
            assert int(more) - int(n) == {"One": 1, "Two": 2, "Ten": 10}[word]


def test_held_out_things_never_meet_the_causes_of_their_mechanism(documents):
    sentences = [s for text in part(documents, "causes") for s in re.split(r"(?<=\.) ", text)]
    for mechanism in mechanisms():
        clauses = [clause for clause in mechanism.first_causes + mechanism.second_causes if "{s}" not in clause]
        for clause in clauses:
            about = [s for s in sentences if clause.lower() in s.lower()]
            for name in (Thing.parse(text).name for text in mechanism.held_out_things):
                shown = [Thing.parse(text).name for text in mechanism.shown_things]
                hits = [
                    s for s in about if re.search(rf"\b{name}\b", s, re.I) and not any(t in s.lower() for t in shown)
                ]
                hits = [s for s in hits if not _belongs_elsewhere(mechanism, clause, name)]
                assert hits == [], hits[:2]


def _belongs_elsewhere(mechanism, clause: str, name: str) -> bool:
    """The same clause may be a cause of another mechanism in which the thing is shown."""
    return any(
        clause in other.first_causes + other.second_causes
        and name in [Thing.parse(text).name for text in other.shown_things]
        for other in mechanisms()
        if other is not mechanism
    )


def test_held_out_joints_are_never_used(documents):
    text = " ".join(part(documents, "causes"))
    assert "Owing to the fact" not in text and "for that reason" not in text
    assert len(HELD_OUT_JOINTS) == 2
