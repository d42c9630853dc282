from __future__ import annotations

import re
from collections import Counter

import pytest

from headwater.corpus.samples.almanac.probes import drawn, held_out_patterns, probes
from headwater.corpus.samples.almanac.sums import LARGEST, SMALLEST, held_out_pairs
from headwater.corpus.samples.almanac.write import almanac_documents

PROBES = probes()


def find_held_out(text):
    return next((match.group() for pattern in held_out_patterns() if (match := pattern.search(text))), None)


def test_every_choice_has_its_answer_among_different_options():
    for ability, choices in PROBES.items():
        for choice in choices:
            assert 0 <= choice.answer < len(choice.options), (ability, choice)
            assert len(set(choice.options)) == len(choice.options), (ability, choice)
            assert choice.prompt == choice.prompt.rstrip(), (ability, choice)


def test_every_capital_sum_and_cause_prompt_is_found_by_the_hold_out_patterns():
    for choice in PROBES["capitals"]:
        assert find_held_out(choice.prompt + choice.options[choice.answer]), choice.prompt
        assert find_held_out(choice.prompt), choice.prompt
    for ability in ("sums", "cause"):
        for choice in PROBES[ability]:
            for option in choice.options:
                assert find_held_out(choice.prompt + option), (choice.prompt, option)


def test_sums_ask_every_held_out_pair_once_and_the_answer_is_right():
    for choice in PROBES["sums"]:
        a, b = map(int, re.findall(r"\d+", choice.prompt))
        assert int(choice.options[choice.answer]) == a + b
    assert len({tuple(sorted(re.findall(r"\d+", c.prompt))) for c in PROBES["sums"]}) == len(PROBES["sums"]) >= 60


def test_ignoring_the_cause_gives_exactly_one_half():
    """Each pair of endings is asked as often after the one cause as after the other."""
    answers: dict[tuple[str, ...], list[int]] = {}
    for choice in PROBES["cause"]:
        answers.setdefault(choice.options, []).append(choice.answer)
    assert all(found.count(0) == found.count(1) for found in answers.values())
    assert len(PROBES["cause"]) >= 150


def test_endings_are_of_similar_length():
    differences = [abs(len(a) - len(b)) for a, b in (choice.options for choice in PROBES["cause"])]
    assert sum(differences) / len(differences) < 4, sum(differences) / len(differences)


def test_agreement_prefers_neither_number():
    """Every phenomenon has as many right sentences with a singular verb (or word) as with a plural one."""
    singular = {"is", "was", "has", "this"}
    counts: Counter[tuple[str, bool]] = Counter()
    for choice in PROBES["agreement"]:
        right, wrong = choice.options[choice.answer].split(), choice.options[1 - choice.answer].split()
        (word,) = {r for r, w in zip(right, wrong) if r != w}
        assert len(right) == len(wrong)
        counts[choice.group, word in singular] += 1
    for group in {choice.group for choice in PROBES["agreement"]}:
        assert counts[group, True] == counts[group, False], (group, counts)


def test_no_agreement_sentence_is_in_the_almanac():
    text = "\n".join(document.text for document in almanac_documents(num_bytes=1_000_000))
    for choice in PROBES["agreement"]:
        assert not any(option in text for option in choice.options), choice.options


def test_choices_are_drawn_of_every_group_and_always_the_same():
    choices = PROBES["capitals"]
    subset = drawn(choices, 40)
    assert subset == drawn(choices, 40)
    assert len(set(subset)) == 40
    assert set(Counter(choice.group for choice in subset)) == set(Counter(choice.group for choice in choices))
    assert drawn(choices, 10**6) == choices


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Paris.",
        "Everyone knows that the capital of the Democratic Republic of the Congo is Kinshasa.",
        "The capital of Ohio was moved.",  # any place, any source
        "The name of France's capital city is Paris.",
        "the city known as the capital of Peru is Lima",
    ],
)
def test_held_out_ways_to_say_a_capital_match_in_any_source(text):
    assert find_held_out(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris is the capital of France.",
        "What is the capital of France? It is Paris.",
        "The capital of France, Paris, is large.",
        "The capital city of France is Paris.",
        "The capital of the bank amounts to a million dollars.",
    ],
)
def test_other_ways_do_not(text):
    assert find_held_out(text) is None


def test_exactly_the_held_out_pairs_match_in_every_form():
    hidden = set(held_out_pairs())
    forms = ("{a} + {b} = ?", "so {a}+{b}", "{a} plus {b} is", "To add {a} and {b}, take", "the sum of {a} and {b}.")
    for a in range(SMALLEST, LARGEST + 1):
        for b in range(SMALLEST, LARGEST + 1):
            for form in forms:
                text = form.format(a=a, b=b)
                assert bool(find_held_out(text)) == ((min(a, b), max(a, b)) in hidden), text


def test_parts_of_longer_numbers_do_not_match():
    for a, b in held_out_pairs()[:20]:
        for text in (f"1{a} + {b} = ?", f"{a} + {b}1", f"{a} + {b}.5", f"0.{a} + {b}", f"{a} + {b},000"):
            assert find_held_out(text) is None, text
