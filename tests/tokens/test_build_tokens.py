from __future__ import annotations

from random import Random

import pytest

from headwater.corpus.build import build_corpus
from headwater.corpus.load import read_documents
from headwater.corpus.settings import CorpusSettings
from headwater.files import is_current
from headwater.tokenizer.settings import TokenizerSettings
from headwater.tokenizer.special import BEGIN_ID, END_ID
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokenizer.train import train_tokenizer
from headwater.tokens import build
from headwater.tokens.build import build_tokens, tokens_key
from headwater.tokens.read import open_stores

SYLLABLES = ["ri", "ver", "mil", "lo", "sta", "ne", "bri", "dge", "val", "ley", "mu", "tor"]


def prose(random: Random) -> str:
    """Sentences of invented words: no two alike, so that no rule of the corpus drops them."""
    words = ["".join(random.choices(SYLLABLES, k=random.randint(1, 3))) for _ in range(120)]
    return "".join(" ".join(words[at : at + 10]).capitalize() + ".\n\n" for at in range(0, 120, 10))


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("corpus"), Random(0)
    for source in ("notes", "letters"):
        (folder / source).mkdir()
        for number in range(20):
            (folder / source / f"{number}.txt").write_text(prose(random))
    sources = {name: {"kind": "text", "paths": [str(folder / name)]} for name in ("notes", "letters")}
    settings = CorpusSettings(sources=sources, validation_fraction=0.2, dedup={"near": False})
    build_corpus(settings, folder / "corpus", lambda line: None)
    return folder / "corpus"


@pytest.fixture(scope="module")
def tokenizer(corpus_dir, tmp_path_factory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    texts = {
        name: [document.text for document in read_documents(corpus_dir, "train", name)] for name in ("notes", "letters")
    }
    train_tokenizer(texts, TokenizerSettings(vocab_size=320), folder, "key", lambda line: None)
    return Tokenizer.load(folder)


def test_every_document_of_every_split_is_in_its_store(corpus_dir, tokenizer, tmp_path):
    said = []
    manifest = build_tokens(corpus_dir, tokenizer, tmp_path / "tokens", "key", said.append)
    for split in ("train", "validation"):
        stores = open_stores(tmp_path / "tokens", split)
        for source in ("letters", "notes"):
            documents = list(read_documents(corpus_dir, split, source))
            store = stores[source]
            assert store.document_ids == [document.id for document in documents]
            assert store.document_bytes.tolist() == [len(document.text.encode()) for document in documents]
            for document, start, stop in zip(
                documents, store.starts[:-1].tolist(), store.starts[1:].tolist(), strict=True
            ):
                ids = store.slice(start, stop).tolist()
                assert (ids[0], ids[-1]) == (BEGIN_ID, END_ID)
                assert tokenizer.decode(ids[1:-1]) == document.text
            facts = manifest["splits"][split][source]
            assert (facts["num_documents"], facts["num_tokens"]) == (store.num_documents, store.num_tokens)
            assert facts["bytes_per_token"] == pytest.approx(
                store.num_bytes / (store.num_tokens - 2 * store.num_documents), abs=1e-4
            )
    assert is_current(tmp_path / "tokens", "key")
    assert len(said) == 4


def test_the_size_of_the_encoding_batches_changes_nothing(corpus_dir, tokenizer, tmp_path, monkeypatch):
    digest = build_tokens(corpus_dir, tokenizer, tmp_path / "1", "key", lambda line: None)["digest"]
    monkeypatch.setattr(build, "_BATCH_CHARS", 700)
    assert build_tokens(corpus_dir, tokenizer, tmp_path / "2", "key", lambda line: None)["digest"] == digest


def test_the_key_follows_corpus_and_tokenizer():
    assert len({tokens_key(corpus, tokenizer) for corpus in "ab" for tokenizer in "ab"}) == 4
