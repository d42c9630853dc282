"""Paragraphs about countries: profiles, tours of several countries, lists and question-and-answer pages."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from headwater.corpus.samples.almanac.facts import Country
from headwater.corpus.samples.almanac.shuffled_cycle import ShuffledCycle

NUMBER_WORDS = {2: "two", 3: "three"}


@dataclass(frozen=True, slots=True)
class Frames:
    """Sentences with a place for what is said; `facts` by field, `held_out` by the name of a probe."""

    forward: list[str]
    reverse: list[str]
    pairs: list[str]
    list_lines: list[str]
    list_titles: list[str]
    held_out_patterns: list[str]
    held_out: dict[str, str]
    facts: dict[str, list[str]]


@cache
def frames() -> Frames:
    text = (resources.files(__package__) / "frames.toml").read_text(encoding="utf-8")
    return Frames(**tomllib.loads(text))


def country_documents(countries: tuple[Country, ...], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (title, text) without end, every country and every capital frame equally often.

    A text states the capital of a country once: a second mention could be copied from the first and would
    teach nothing.
    """
    desk = _Desk(countries, rng)
    kinds: ShuffledCycle[Callable[[_Desk], tuple[str, str]]] = ShuffledCycle(
        [_profile] * 4 + [_tour] * 8 + [_list] * 3 + [_questions] * 3, rng
    )
    while True:
        title, text = kinds.draw()(desk)
        yield title, text.replace("D.C..", "D.C.")


class _Desk:
    """The packs of cards from which one almanac is dealt."""

    def __init__(self, countries: tuple[Country, ...], rng: random.Random) -> None:
        self.rng = rng
        self.countries = ShuffledCycle(countries, rng)
        self.pairs = ShuffledCycle(frames().pairs, rng)
        self.titles = ShuffledCycle(frames().list_titles, rng)
        self.lines = ShuffledCycle(frames().list_lines, rng)
        self.questions = ShuffledCycle([frame for frame in frames().forward if "?" in frame], rng)
        self._forward = ShuffledCycle(frames().forward, rng)
        self._reverse = ShuffledCycle(frames().reverse, rng)

    def capital_sentence(self, country: Country) -> str:
        return fill(self._reverse if self.rng.random() < 0.2 else self._forward, country)

    def fact_sentences(self, country: Country, count: int) -> list[str]:
        values = fact_values(country)
        fields = [field for field in frames().facts if field in values]
        chosen = self.rng.sample(fields, min(count, len(fields)))
        return [self.rng.choice(frames().facts[field]).format_map(values) for field in chosen]


def fill(cycle: ShuffledCycle[str], country: Country) -> str:
    """Return the next frame that this country has the facts for, filled in."""
    values = fact_values(country)
    while True:
        frame = cycle.draw()
        if ("{region}" in frame and not country.region) or ("{adj}" in frame and not country.adjective):
            continue
        return frame.format_map(values)


def fact_values(country: Country) -> dict[str, str]:
    """Return what the frames may name; a field that the country lacks is absent."""
    values = {
        "x": country.name,
        "X": country.start,
        "x_s": country.possessive,
        "X_s": country.possessive[0].upper() + country.possessive[1:],
        "y": country.capital,
        "adj": country.adjective,
        "region": country.region,
        "currency": country.currency,
        "money": country.money,
        "population": country.population,
        "highest_point": country.highest_point,
        "climate": country.climate,
        "products": and_list(country.products),
        "colors": and_list(country.colors),
        "neighbours": and_list(country.neighbours) if len(country.neighbours) > 1 else None,
        "neighbour": country.neighbours[0] if len(country.neighbours) == 1 else None,
        "language": country.languages[0] if len(country.languages) == 1 else None,
        "languages": and_list(country.languages) if len(country.languages) > 1 else None,
        "num_languages": NUMBER_WORDS.get(len(country.languages)),
        "government": _with_article(country.government),
        "independent_from": country.independent_from,
        "independence_day": country.independence_day,
        "independence": country.independence_day,
    }
    return {key: value for key, value in values.items() if value}


def and_list(words: tuple[str, ...] | list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def _with_article(noun: str | None) -> str | None:
    return noun and ("an " if noun[0] in "aeiou" else "a ") + noun


def _profile(desk: _Desk) -> tuple[str, str]:
    country = desk.countries.draw()
    facts = desk.fact_sentences(country, desk.rng.randint(3, 5))
    facts.insert(desk.rng.randint(0, 2), desk.capital_sentence(country))
    return country.start, " ".join(facts)


def _tour(desk: _Desk) -> tuple[str, str]:
    """Several countries; sometimes with another fact between, often two capitals in one sentence."""
    travelled = desk.countries.deal(desk.rng.randint(4, 7))
    sentences: list[str] = []
    left = list(travelled)
    while left:
        if len(left) >= 2 and desk.rng.random() < 0.2:
            sentences.append(_pair_sentence(desk, left.pop(), left.pop()))
            continue
        country = left.pop()
        sentences.append(desk.capital_sentence(country))
        if desk.rng.random() < 0.25:
            sentences.extend(desk.fact_sentences(country, 1))
    return "Countries and capitals", " ".join(sentences)


def _pair_sentence(desk: _Desk, first: Country, second: Country) -> str:
    others = {f"{key}2": value for key, value in fact_values(second).items()}
    return desk.pairs.draw().format_map(fact_values(first) | others)


def _list(desk: _Desk) -> tuple[str, str]:
    line = desk.lines.draw()
    entries = [line.format_map(fact_values(country)) for country in desk.countries.deal(desk.rng.randint(6, 10))]
    title = desk.titles.draw()
    separator = desk.rng.choice(("\n", "; "))
    return title.removesuffix("."), title + ("\n" if separator == "\n" else " ") + separator.join(entries) + "."


def _questions(desk: _Desk) -> tuple[str, str]:
    countries = desk.countries.deal(desk.rng.randint(4, 6))
    lines = []
    for country in countries:
        lines.append(fill(desk.questions, country))
    return "Questions about capitals", desk.rng.choice(("\n", " ")).join(lines)
