"""One kind of hostile file: what is in it, and what may become of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

KEPT = "kept"
MIB = 1 << 20
# what the filters say of text without words: every one is right
JUNK = "low_alpha_fraction long_words repeated_lines exact_duplicate near_duplicate repeated_ngrams"
SLOW = "parser_took_too_long parser_took_too_much_memory parser_died parser_failed"
TEXT = f"{KEPT} {JUNK} empty too_short short_words repeated_passages"
WORDS = "river stone cloud winter garden letter window silver morning yellow forest bridge music harbour candle island"


class Repeated(NamedTuple):
    """As many of `piece` as `share` of the size that is asked for holds, between a start and an end."""

    piece: bytes
    start: bytes = b""
    end: bytes = b""
    share: float = 1.0
    least: int = 0

    def write(self, path: Path, size: int) -> None:
        """Write it, a block at a time."""
        size = max(int(size * self.share), self.least)
        size -= size % len(self.piece)
        block = self.piece * max(1, MIB // len(self.piece))
        with open(path, "wb") as file:
            file.write(self.start)
            for at in range(0, size, len(block)):
                file.write(block[: size - at])
            file.write(self.end)


Files = Mapping[str, bytes | str | Repeated]


@dataclass(frozen=True)
class Case:
    """`outcomes` are KEPT and the reasons that are right, divided by spaces; `files` what is in them, or what gives it.

    What grows is made about as large as the size that is asked for: small in a test, a gigabyte in the program. `write`
    makes what isn't a plain file.
    """

    name: str
    said: str
    files: Files | Callable[[int], Files] | None = None
    largest: int = 1 << 40
    write: Callable[[Path, int], None] | None = None

    @property
    def outcomes(self) -> frozenset[str]:
        return frozenset(self.said.split())

    def make(self, folder: Path, size: int) -> None:
        if self.write is not None:
            self.write(folder, size)
        files = self.files(size) if callable(self.files) else self.files or {}
        for name, content in files.items():
            if isinstance(content, Repeated):
                content.write(folder / name, size)
            else:
                (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def prose(seed: str, num_sentences: int = 6) -> str:
    """Return sentences that no rule of a corpus drops; those of another seed are no near duplicate of them."""
    chance = random.Random(seed)
    return "".join(f"{' '.join(chance.choices(WORDS.split(), k=9)).capitalize()}.\n" for _ in range(num_sentences))


PROSE = prose("river")


def changed(data: bytes, seed: int, count: int, num_bytes: int, start: float = 0, most: int = 1 << 40) -> list[bytes]:
    """Return a file `count` times with some bytes changed; each third is cut short, too, where nothing is spared."""
    chance, found = random.Random(seed), []
    for number in range(count):
        copy = bytearray(data[: chance.randrange(1, len(data))] if number % 3 == 0 and not start else data)
        for _ in range(num_bytes):
            copy[chance.randrange(int(start * len(copy)), min(len(copy), most))] = chance.randrange(256)
        found.append(bytes(copy))
    return found
