"""Token stores of drawn documents, as a run has them: a manifest over those of every split and source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from headwater.core.files import digest_json, write_json
from headwater.core.manifests import seal
from headwater.tokens.format import TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.write import EncodedDocument, write_store

Splits = Mapping[str, Mapping[str, Iterable[EncodedDocument]]]


@pytest.fixture
def make_tokens() -> Callable[[Path, Splits], Path]:
    """Return a function that writes {split: {source: documents}} to a folder of tokens."""

    def make(folder: Path, splits: Splits) -> Path:
        listed: dict[str, dict[str, dict]] = {split: {} for split in splits}
        for split, sources in splits.items():
            for name, documents in sources.items():
                store = write_store(folder / split / name, documents, 512, "t")
                listed[split][name] = {"digest": store["digest"], "num_documents": store["num_documents"]}
        facts = {"format": TOKENS_FORMAT, "format_version": TOKENS_VERSION, "splits": listed}
        write_json(folder / "manifest.json", seal(facts | {"digest": digest_json(listed)}))
        return folder

    return make
