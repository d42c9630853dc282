"""A corpus made from a few files: what most tests of this folder start from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from s3_server import s3_server

from headwater.corpus.build import build_corpus
from headwater.corpus.read import source
from headwater.corpus.read.sandbox import Sandbox
from headwater.corpus.sources.settings import CorpusSettings

_WORDS = (
    "river stone cloud mountain winter garden letter window silver morning yellow paper forest bridge music harbour "
    "candle island market doctor village thunder orchard shadow kitchen journey lantern meadow engine feather copper "
    "station blanket mirror pepper saddle anchor basket canyon desert"
)
WORDS = _WORDS.split()


def prose(num_words: int, seed: int = 0) -> str:
    """Return sentences of random words, in paragraphs; different seeds share almost no run of five words."""
    words = random.Random(seed).choices(WORDS, k=num_words)
    sentences = [" ".join(words[at : at + 9]).capitalize() + "." for at in range(0, num_words, 9)]
    return "\n\n".join(" ".join(sentences[at : at + 4]) for at in range(0, len(sentences), 4)) + "\n"


class SharedSandbox(Sandbox):
    """The process that parses, which stays for the next source; tests/hostile/test_sandbox.py tests its beginning and end."""

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session", autouse=True)
def one_process_that_parses() -> Iterator[None]:
    """Starting one takes a tenth of a second and more, at every file of most tests of this folder."""
    sandbox = SharedSandbox()
    with mock.patch.object(source, "Sandbox", lambda: sandbox):
        yield
    sandbox.close()


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[str]:
    """The address of a server that speaks S3."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with s3_server(tmp_path_factory.mktemp("moto")) as address:
        yield address


@pytest.fixture
def make_prose() -> Callable[..., str]:
    return prose


Build = Callable[..., dict[str, Any]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return a function that builds `tmp_path/corpus` from files under `tmp_path/in` (name → text or bytes)."""

    def build_from(files: dict[str, str | bytes] | None = None, **settings: Any) -> dict[str, Any]:
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        for name, content in (files or {}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        table: dict[str, Any] = {"sources": {"mine": {"paths": [str(folder)]}}, **settings}
        return build_corpus(CorpusSettings.model_validate(table), tmp_path / "corpus", lambda line: None)

    return build_from
