from __future__ import annotations

import random
import re
from itertools import islice

from headwater.corpus.samples.almanac.agreement import NOUNS, OWNED, OWNERS
from headwater.corpus.samples.almanac.descriptions import PEOPLE, THINGS, description_documents

TEXTS = [text for _, text in islice(description_documents(random.Random(0)), 5000)]
SENTENCES = [sentence for text in TEXTS for sentence in re.findall(r"[^.]+\.", text)]
PLURALS = {plural for _, plural in THINGS + PEOPLE}


def test_no_noun_of_the_agreement_probes_is_used():
    probed = {word for pair in NOUNS + OWNED + OWNERS for word in pair}
    used = {word for sentence in SENTENCES for word in re.findall(r"[a-z]+", sentence.lower())}
    assert not probed & used, probed & used


def test_every_verb_agrees_with_its_subject():
    pattern = r"(?:[Tt]he|This|These|That|Those) (\w+)(?: (?:near|behind|beside|in front of|of) the \w+)? (is|are|was|were|has|have)\b"
    found = 0
    for sentence in SENTENCES:
        match = re.search(pattern, sentence)
        if match and not sentence.strip().startswith("There"):
            found += 1
            assert (match[1] in PLURALS) == (match[2] in ("are", "were", "have")), sentence
    assert found > len(SENTENCES) / 2
