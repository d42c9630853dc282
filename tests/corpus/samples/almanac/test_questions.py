"""Who is asked for what: halves that share nothing, made-up names that are nobody's."""

from __future__ import annotations

from headwater.corpus.samples.almanac import questions
from headwater.corpus.samples.almanac.facts import countries
from headwater.corpus.samples.almanac.questions import (
    filled,
    for_examples,
    made_up_countries,
    rewarded,
    split_countries,
)


def test_every_country_is_in_one_half_and_seeds_divide_otherwise():
    splits = [split_countries(seed) for seed in (0, 0, 1)]
    for seed, split in zip((0, 0, 1), splits, strict=True):
        assert set(split.known_tuned) | set(split.known_held_out) == set(countries())
        assert set(split.unknown_tuned) | set(split.unknown_held_out) == set(made_up_countries(seed))
        assert not set(split.known_tuned) & set(split.known_held_out)
        assert not set(split.unknown_tuned) & set(split.unknown_held_out)
        assert abs(len(split.known_tuned) - len(split.known_held_out)) <= 1
    assert splits[0] == splits[1] != splits[2]


def test_made_up_names_are_nobodys_and_never_twice():
    real = {word.lower() for country in countries() for word in f"{country.name} {country.capital}".split()}
    names = [name.lower() for country in made_up_countries() for name in (country.name, country.capital)]
    assert len(set(names)) == len(names) == 2 * questions.NUM_MADE_UP
    assert not set(names) & real


def test_examples_and_rewards_share_no_country_and_rewards_are_measured_on_others():
    split = split_countries()
    examples, (reinforced, measured) = for_examples(split).known_tuned, rewarded(split)
    answers = [{answer for _, answer in pairs} for pairs in (reinforced, measured)]
    named = {filled(questions.ANSWER, country) for country in examples}
    assert not answers[0] & answers[1] and not named & (answers[0] | answers[1])
    assert {filled(questions.ANSWER, country) for country in split.known_tuned} == named | answers[0]
    assert len(measured) == questions.NUM_MEASURED and len(reinforced) == 3 * len(answers[0])
