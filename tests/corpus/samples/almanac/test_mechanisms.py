from __future__ import annotations

import re

from headwater.corpus.samples.almanac.causes import Thing, join, mechanisms


def test_there_are_at_least_sixty_with_several_ways_to_say_each_side():
    assert len(mechanisms()) >= 60
    for mechanism in mechanisms():
        assert len(mechanism.shown_things) >= 6, mechanism.things
        assert min(len(mechanism.first_causes), len(mechanism.second_causes)) >= 2, mechanism.things
        assert mechanism.first_effects and mechanism.second_effects, mechanism.things


def test_no_thing_stands_twice_and_no_effect_on_both_sides():
    for mechanism in mechanisms():
        assert len(set(mechanism.things)) == len(mechanism.things), mechanism.things
        assert not set(mechanism.first_effects) & set(mechanism.second_effects), mechanism.things
        assert not set(mechanism.first_causes) & set(mechanism.second_causes), mechanism.things


def test_plural_things_have_no_clause_with_a_singular_verb():
    for mechanism in mechanisms():
        if any(Thing.parse(text).pronoun == "they" for text in mechanism.things):
            for clause in mechanism.first_causes + mechanism.second_causes:
                assert not re.search(r"\{s\} (was|is|has)\b", clause), clause
            for effect in mechanism.first_effects + mechanism.second_effects:
                assert not re.search(r"\b(was|is|has|its)\b", effect.replace("{was}", "")), effect


def test_the_thing_is_named_once_and_then_a_pronoun():
    choir = Thing.parse("the choir/they")
    clause = "{s} practised every day"
    assert (
        join("Because {c}, {e}.", clause, "{was} ready", choir)
        == "Because the choir practised every day, they were ready."
    )
    assert (
        join("{E} because {c}.", clause, "{was} ready", choir)
        == "The choir were ready because they practised every day."
    )
