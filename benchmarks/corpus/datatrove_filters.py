"""What datatrove's filters say of labelled pages, as its FineWeb example sets them; runs in an environment of its own.

The pages are a file of JSON lines, {"id": ..., "text": ...}, named on the command line. Prints
{"version": ..., "seconds": {filter: ...}, "dropped": {filter: {page: reason or null}}}. Needs
`pip install "datatrove[io,processing]" spacy`; called by filtering.py, which needs neither.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from time import process_time


def main() -> None:
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    filters = {
        "Gopher repetition": GopherRepetitionFilter(),
        "Gopher quality": GopherQualityFilter(),
        "C4": C4QualityFilter(filter_no_terminal_punct=False),
        "FineWeb": FineWebQualityFilter(),
    }
    with open(sys.argv[1], encoding="utf-8") as file:
        pages = [json.loads(line) for line in file]
    dropped: dict[str, dict[str, str | None]] = {name: {} for name in filters}
    seconds = dict.fromkeys(filters, 0.0)
    for page in pages:
        for name, one in filters.items():
            document = Document(text=page["text"], id=page["id"])  # a new one each: C4's filter changes the text
            started_at = process_time()
            answer = one.filter(document)
            seconds[name] += process_time() - started_at
            is_kept, reason = answer if isinstance(answer, tuple) else (answer, "dropped")
            dropped[name][page["id"]] = None if is_kept else reason
    json.dump({"version": version("datatrove"), "seconds": seconds, "dropped": dropped}, sys.stdout)


if __name__ == "__main__":
    main()
