"""corpus show --dropped: examples of what a corpus dropped."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from headwater.cli.arguments import print_json, say_beside
from headwater.cli.terminal import safe
from headwater.report.numbers import count as short_count

_SHOWN_LINES = 6
_WIDTH = 110


def show_dropped(corpus: Path, reason: str | None, source: str | None, count: int, as_json: bool) -> None:
    from headwater.corpus.dropped import dropped_sample
    from headwater.corpus.too_little import kept_too_little, too_little_folder

    if kept_too_little(corpus):
        say_beside(as_json)("the last build kept too little text for a corpus; this is what it dropped")
        corpus = too_little_folder(corpus)
    found = dropped_sample(corpus, reason, source, count)
    if as_json:
        print_json({"dropped": found})
        return
    if not found:
        print("nothing was dropped")
    for name, entry in found.items():
        print(safe(f"{name}: {entry['documents']:,} documents, {short_count(entry['bytes'])} bytes"))
        for example in entry["examples"]:
            print(safe(f"  {example['source']} {example['id']}, {short_count(example['bytes'])} bytes"))
            if "because" in example:
                print(safe(f"    because: {example['because']}"))
            if "duplicate_of" in example:
                print(safe(f"    a duplicate of {example['duplicate_of']}"))
            for line in _shown(example):
                print(f"    {line}")


def _shown(example: dict[str, Any]) -> list[str]:
    """Return the first lines of an excerpt, wrapped and made safe: what was dropped may be hostile to a terminal."""
    from headwater.evaluate.printable import printable

    lines = [line for line in printable(example["excerpt"], keep="\n").split("\n") if line.strip()]
    wrapped = [safe(part) for line in lines[:_SHOWN_LINES] for part in textwrap.wrap(line[:2000], _WIDTH)]
    is_more = len(wrapped) > _SHOWN_LINES or len(lines) > _SHOWN_LINES
    return wrapped[:_SHOWN_LINES] + (["…"] if is_more else [])
