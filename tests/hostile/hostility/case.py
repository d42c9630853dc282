"""One kind of hostile file: how it is made, and what may become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

KEPT = "kept"
MIB = 1 << 20

Write = Callable[[Path, int], None]


@dataclass(frozen=True)
class Case:
    """`write` makes one or more files in a folder; `outcomes` are KEPT and the reasons that are right for them.

    `write` is given a size in bytes, about which what grows is made: a mebibyte in a test, a gigabyte in the program.
    """

    name: str
    outcomes: frozenset[str]
    write: Write
    largest: int = 1 << 40


class Cases:
    """Collects cases: `@cases("a name", "reason", …)` above the function that writes them."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def __call__(self, name: str, *outcomes: str, largest: int = 1 << 40) -> Callable[[Write], Write]:
        def keep(write: Write) -> Write:
            self.all.append(Case(name, frozenset(outcomes), write, largest))
            return write

        return keep

    def file(self, name: str, *outcomes: str, content: bytes) -> None:
        """Add a case of one small file, whose name is the last word of the case's."""

        def write(folder: Path, size: int) -> None:
            (folder / name.split()[-1]).write_bytes(content)

        self.all.append(Case(name, frozenset(outcomes), write))


def write_repeated(path: Path, piece: bytes, size: int, start: bytes = b"", end: bytes = b"") -> None:
    """Write as many of `piece` as `size` bytes hold, a block at a time."""
    size -= size % len(piece)
    block = piece * max(1, MIB // len(piece))
    with open(path, "wb") as file:
        file.write(start)
        for at in range(0, size, len(block)):
            file.write(block[: size - at])
        file.write(end)
