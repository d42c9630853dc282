from __future__ import annotations

from headwater.corpus.samples.almanac.causes import Thing, join, mechanisms


def test_no_thing_stands_twice_and_no_effect_on_both_sides():
    for mechanism in mechanisms():
        assert len(set(mechanism.things)) == len(mechanism.things), mechanism.things
        assert not set(mechanism.first_effects) & set(mechanism.second_effects), mechanism.things
        assert not set(mechanism.first_causes) & set(mechanism.second_causes), mechanism.things


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
