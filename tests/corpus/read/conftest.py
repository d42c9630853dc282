"""One file through the reader that its name asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings

Read = Callable[..., tuple[list[Document], list[Drop]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that writes one file and returns the documents and the drops that reading it gives."""

    def read_one(
        name: str, content: bytes | None, kind: str = "text", of_source: dict[str, Any] | None = None, **limits: Any
    ) -> tuple[list[Document], list[Drop]]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        source = {"kind": kind, "paths": [str(path)], **(of_source or {})}
        settings = CorpusSettings.model_validate({"sources": {"mine": source}, **limits})
        pieces = list(read_source("mine", settings))
        documents = [piece for piece in pieces if isinstance(piece, Document)]
        return documents, [piece for piece in pieces if isinstance(piece, Drop)]

    return read_one
