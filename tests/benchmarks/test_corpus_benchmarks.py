"""The similarity that the benchmarks of the corpus count with is exact."""

import itertools
import random
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "corpus"


@pytest.fixture(autouse=True)
def _programs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def words(count, seed):
    chance = random.Random(seed)
    return [f"w{chance.randrange(400)}" for _ in range(count)]


def test_all_similar_pairs_are_those_of_a_comparison_of_all_with_all():
    from similar_pairs import earlier_similar, jaccard, shingle_set

    chance = random.Random(3)
    texts = [" ".join(words(60, seed)) for seed in range(30)]
    for text in list(texts):
        for _ in range(3):
            changed = text.split()
            for _ in range(chance.randrange(6)):
                changed[chance.randrange(len(changed))] = f"x{chance.randrange(1000)}"
            texts.append(" ".join(changed))
    chance.shuffle(texts)
    sets = [shingle_set(text) for text in texts]
    for threshold in (0.5, 0.8):
        expected = {}
        for first, second in itertools.combinations(range(len(sets)), 2):
            if jaccard(sets[first], sets[second]) >= threshold:
                expected.setdefault(second, []).append(first)
        assert earlier_similar(sets, threshold) == expected
        assert expected, "without any pair this says nothing"
