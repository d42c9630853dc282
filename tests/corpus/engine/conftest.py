"""A small corpus of four sources, some of its texts copies and versions of others, built by any engine."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from headwater.core.files import json_bytes
from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings

NUM_FILES = 12
SOURCES = ("0", "1", "2", "page")


@pytest.fixture(scope="session")
def texts(tmp_path_factory) -> Path:
    folder, chance = tmp_path_factory.mktemp("texts"), random.Random(0)
    ends = ("ver", "ne", "den", "ter")
    words = [f"{first}{second}" for first in ("ri", "sto", "clou", "gar", "win") for second in ends]
    documents = [" ".join(chance.choices(words, k=90)) for _ in range(70)]
    documents += [chance.choice(documents) + end for end in ["", " and more"] * 15]
    chance.shuffle(documents)
    for number in range(NUM_FILES):
        lines = [json.dumps({"text": text}) for text in documents[number::NUM_FILES]]
        (folder / f"{number % 3}{number:02d}.jsonl").write_text("\n".join(lines))
    (folder / "page.html").write_text(f"<html><body><p>{documents[0]} once</p></body></html>")
    return folder


@pytest.fixture(scope="session")
def table_of() -> Callable[..., dict[str, Any]]:
    """Return a function that returns the settings of a corpus of a folder of such texts."""

    def table(folder: Path | str, task_bytes: int = 12_000, limits: Any = None, **engine: Any) -> dict[str, Any]:
        sources = {name: {"paths": [f"{folder}/{name}*"]} for name in SOURCES}
        return {"sources": sources, "task_bytes": task_bytes, "limits": limits or {}, "engine": engine}

    return table


@pytest.fixture(scope="session")
def build_of(texts, table_of) -> Callable[..., dict[str, Any]]:
    def build(out: Path, say: Callable[[str], None] = lambda line: None, **changed: Any) -> dict[str, Any]:
        return build_corpus(CorpusSettings.model_validate(table_of(texts, **changed)), out, say)

    return build


@pytest.fixture(scope="session")
def expected(build_of, files_of, tmp_path_factory) -> dict[str, bytes]:
    """The files of the corpus as one process makes them."""
    out = tmp_path_factory.mktemp("expected") / "corpus"
    manifest = build_of(out, workers=1)
    assert manifest["sources"]["1"]["dropped"].keys() >= {"exact_duplicate", "near_duplicate"}
    return files_of(out)


@pytest.fixture(scope="session")
def files_of() -> Callable[[Path], dict[str, bytes]]:
    return lambda top: {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


@pytest.fixture
def is_as_expected(expected, corpus_files) -> Callable[[Path], bool]:
    return lambda folder: corpus_files(folder) == expected


@pytest.fixture(scope="session")
def corpus_files(files_of) -> Callable[[Path], dict[str, bytes]]:
    """Return a function that returns the files of a corpus, wherever they are; no manifest says where."""

    def files(folder: Path) -> dict[str, bytes]:
        found = files_of(folder)
        if address := (manifest := json.loads(found["manifest.json"])).pop("store", None):
            store, top = fsspec.core.url_to_fs(address)
            found = {path.removeprefix(f"{top}/"): store.cat_file(path) for path in store.find(top)}
            assert json.loads(found["manifest.json"]) == {**manifest, "store": address}
            found["manifest.json"] = json_bytes(manifest)
        return found

    return files
