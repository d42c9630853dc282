"""What the benchmarks of the corpus count with is right: planted copies, exact similarity, measured processes."""

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


def test_every_kind_of_planted_copy_differs_from_its_original_and_comes_back_the_same():
    from planting import CHANGES, plant

    texts = [
        "\n\n".join(" ".join(words(30, seed + part)).capitalize() + ", so. And on." for part in range(6))
        for seed in range(99)
    ]
    planted = list(plant(texts, 3, seed=5))
    assert {each.kind for each in planted} == set(CHANGES) and len(planted) == 3 * len(CHANGES)
    assert len({each.of for each in planted}) == len(planted), "a text is copied once at most"
    same = [each.kind for each in planted if each.text == texts[each.of]]
    assert len(same) < 8, f"one word of two hundred may be spared by chance, and parts may change places twice: {same}"
    assert planted == list(plant(texts, 3, seed=5))


def test_duplicates_are_counted_on_a_small_corpus(tmp_path):
    from duplicates import dropped_by_headwater, make_case
    from similar_pairs import earlier_similar, shingle_set

    texts = [" ".join(words(300, seed)) for seed in range(80)]
    case = make_case(texts, 2, seed=1)
    truth = set(earlier_similar([shingle_set(text) for text in case.texts], 0.8))
    dropped = dropped_by_headwater(case, tmp_path)
    assert dropped <= truth, "nothing is dropped that is no duplicate"
    assert len(dropped & truth) >= 0.8 * len(truth) > 0
