"""Deals the almanac: its parts in fixed shares of the bytes, documents of all parts mixed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from headwater.corpus.samples.almanac.causes import cause_documents
from headwater.corpus.samples.almanac.country_prose import country_documents
from headwater.corpus.samples.almanac.descriptions import description_documents
from headwater.corpus.samples.almanac.facts import countries
from headwater.corpus.samples.almanac.sums import sum_documents
from headwater.corpus.samples.texts import SampleText

# Shares of the bytes. Digits are tokens of their own, so that sums take about twice this share of the tokens.
SHARES = {"countries": 0.28, "sums": 0.24, "causes": 0.33, "descriptions": 0.15}


def almanac_documents(seed: int = 0, num_bytes: int = 5_000_000) -> Iterator[SampleText]:
    """Yield texts until they hold `num_bytes` UTF-8 bytes; the same for the same seed.

    A longer almanac begins with the shorter one. Raises DataError when the World Factbook is not installed.
    """
    parts = {
        "countries": country_documents(countries(), random.Random(f"countries {seed}")),
        "sums": sum_documents(random.Random(f"sums {seed}")),
        "causes": cause_documents(random.Random(f"causes {seed}")),
        "descriptions": description_documents(random.Random(f"descriptions {seed}")),
    }
    written = dict.fromkeys(parts, 0)
    seen: set[str] = set()
    number = 0
    while sum(written.values()) < num_bytes:
        part = min(parts, key=lambda name: written[name] / SHARES[name])
        title, text = next(parts[part])
        if text in seen:  # a short one, such as counting on by tens
            continue
        seen.add(text)
        written[part] += len(text.encode("utf-8"))
        yield SampleText(text, f"almanac-{number:06d}", f"almanac/{part}", {"title": title, "part": part})
        number += 1
