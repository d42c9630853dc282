from __future__ import annotations

import random
from collections import Counter

from headwater.corpus.samples.almanac.shuffled_cycle import ShuffledCycle


def test_counts_never_differ_by_more_than_one():
    cycle = ShuffledCycle("abcdefg", random.Random(0))
    counts = Counter(dict.fromkeys("abcdefg", 0))
    for _ in range(100):
        counts[cycle.draw()] += 1
        assert max(counts.values()) - min(counts.values()) <= 1


def test_a_hand_has_no_item_twice_and_keeps_the_rounds_even():
    cycle = ShuffledCycle(range(10), random.Random(1))
    counts: Counter[int] = Counter()
    for _ in range(200):
        hand = cycle.deal(4)
        assert len(set(hand)) == 4
        counts.update(hand)
    assert max(counts.values()) - min(counts.values()) <= 2, counts
