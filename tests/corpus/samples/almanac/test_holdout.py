from __future__ import annotations

import pytest

from headwater.corpus.samples.almanac.holdout import find_held_out
from headwater.corpus.samples.almanac.sums import LARGEST, SMALLEST, carries, held_out_pairs


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


def test_fifteen_per_cent_of_the_plain_pairs_are_held_out_and_half_as_many_that_carry():
    num_plain = sum(not carries(a, b) for a in range(10, 50) for b in range(a, 50))
    held_plain = [pair for pair in held_out_pairs() if not carries(*pair)]
    assert len(held_plain) == round(0.15 * num_plain)
    assert len(held_out_pairs()) - len(held_plain) == len(held_plain) // 2
