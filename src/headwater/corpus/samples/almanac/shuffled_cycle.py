"""Deals items in shuffled rounds, so that after any number of draws no item is more than one ahead of another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ShuffledCycle(Generic[Item]):
    """An endless pack of cards: every item once a round, in a new order each round."""

    def __init__(self, items: Sequence[Item], rng: random.Random) -> None:
        assert items, "a cycle needs at least one item"
        self._items = list(items)
        self._rng = rng
        self._left: list[Item] = []

    def draw(self) -> Item:
        if not self._left:
            self._left = self._rng.sample(self._items, len(self._items))
        return self._left.pop()

    def deal(self, count: int) -> list[Item]:
        """Return `count` different items (as far as there are that many)."""
        hand: list[Item] = []
        skipped: list[Item] = []
        while len(hand) < min(count, len(self._items)):
            item = self.draw()
            (skipped if item in hand else hand).append(item)
        self._left.extend(skipped)  # back on top: a round still deals every item once
        return hand
