"""Tokens of a corpus: those that one walk through its documents gives, in any number of processes, after any kill."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random

import fsspec
import pytest
from fault_plan import FaultPlan, faults
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from headwater.core.disk import install
from headwater.core.errors import DataError, LockedError, StorageError, StoreError
from headwater.core.manifests import is_current
from headwater.core.owners import guarded
from headwater.corpus.build import build_corpus
from headwater.corpus.document import plain_text
from headwater.corpus.engine import local
from headwater.corpus.engine.tasks import doer_of
from headwater.corpus.load import list_shards, read_documents
from headwater.corpus.sources.settings import CorpusSettings, EngineSettings
from headwater.tokens import build, encode, sample, work
from headwater.tokens.build import build_tokens
from headwater.tokens.format import tokens_key
from headwater.tokens.read import TokenStore, open_stores
from headwater.tokens.sample import sampled_corpus
from headwater.tokens.tokenizer.settings import BEGIN_ID, END_ID, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import sample_parts, train_tokenizer
from headwater.tokens.write import EncodedDocument, write_store

SYLLABLES = ["ri", "ver", "mil", "lo", "sta", "ne", "bri", "dge", "val", "ley", "mu", "tor"]
SOURCES, SPLITS = ("letters", "notes"), ("train", "validation")
IN_ONE = EngineSettings(workers=1)
drawn = settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.shrink}
)


def prose(random: Random) -> str:
    """Sentences of invented words: no two alike, so that no rule of the corpus drops them."""
    words = ["".join(random.choices(SYLLABLES, k=random.randint(1, 3))) for _ in range(120)]
    return "".join(" ".join(words[at : at + 10]).capitalize() + ".\n\n" for at in range(0, 120, 10))


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory):
    """A corpus of 40 documents in shards of a few."""
    folder, random = tmp_path_factory.mktemp("corpus"), Random(0)
    for source in SOURCES:
        (folder / source).mkdir()
        for number in range(20):
            (folder / source / f"{number}.txt").write_text(prose(random))
    sources = {name: {"kind": "text", "paths": [str(folder / name)]} for name in SOURCES}
    sizes = {"shard_bytes": 2500, "task_bytes": 9000}
    settings = CorpusSettings(sources=sources, validation_fraction=0.2, dedup={"near": False}, **sizes)
    build_corpus(settings, folder / "corpus", lambda line: None)
    return folder / "corpus"


@pytest.fixture(scope="module")
def tokenizer_dir(corpus_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    texts = {name: [document.text for document in read_documents(corpus_dir, "train", name)] for name in SOURCES}
    train_tokenizer(texts, TokenizerSettings(vocab_size=320), folder, "key", lambda line: None)
    return folder


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir) -> Tokenizer:
    return Tokenizer.load(tokenizer_dir)


@contextmanager
def sizes(group_bytes: int = 1, shard_tokens: int = 1500, batch_chars: int = 1500, worker_bytes: int = 1):
    """Let tasks have some shards, and shards of tokens some documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "GROUP_BYTES", group_bytes)
        patch.setattr(work, "MIN_WORKER_BYTES", worker_bytes)
        patch.setattr(build, "MAX_SHARD_TOKENS", shard_tokens)
        patch.setattr(encode, "_BATCH_CHARS", batch_chars)
        yield


@pytest.fixture
def small():
    with sizes():
        yield


@pytest.fixture
def build_quietly(corpus_dir, tokenizer_dir):
    def build(out_dir, key="sha256:key", is_mine=lambda: None, engine=IN_ONE):
        with guarded(out_dir.parent, is_mine):
            return build_tokens(corpus_dir, tokenizer_dir, out_dir, key, lambda line: None, engine=engine)

    return build


@pytest.fixture(scope="module")
def expected(corpus_dir, tokenizer, tmp_path_factory):
    """Return the stores that documents give which are encoded one after another, in shards of some tokens."""
    folder, encoded = tmp_path_factory.mktemp("expected"), {}
    for split in SPLITS:
        for source in SOURCES:
            encoded[split, source] = [
                EncodedDocument(tokenizer.encode(document.text), len(document.text.encode()), document.id)
                for document in read_documents(corpus_dir, split, source)
            ]

    def stores(shard_tokens: int) -> dict[str, object]:
        if not (folder / str(shard_tokens)).is_dir():
            for (split, source), documents in encoded.items():
                out = folder / str(shard_tokens) / split / source
                write_store(out, documents, tokenizer.vocab_size, tokenizer.digest, shard_tokens)
        return contents_of(folder / str(shard_tokens))

    return stores


def contents_of(folder) -> dict[str, object]:
    """Return what the stores below a folder hold, document by document, however it is divided into shards."""
    found: dict[str, object] = {}
    for path in sorted(folder.glob("*/*/manifest.json")):
        store = TokenStore(path.parent)
        starts = store.starts.tolist()
        found[str(path.parent.relative_to(folder))] = (
            store.slice(0, store.num_tokens).tolist(),
            starts,
            names_of(store),
            store.num_bytes,
        )
    return found


@contextmanager
def texts_encoded(before=lambda number: None):
    """Yield the texts that are encoded meanwhile, in this process; `before` is called with the number of each batch."""
    texts, encode_arrays, numbers = [], Tokenizer.encode_arrays, iter(range(10**9))

    def noting(self, batch):
        before(next(numbers))
        found = encode_arrays(self, batch)
        texts.extend(batch)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokenizer, "encode_arrays", noting)
        yield texts


class Killed(BaseException):
    pass


def dying_at(place):
    """Return what raises, as a kill does, when it is called the given time."""

    def before(number):
        if number == place:
            raise Killed

    return before


def names_of(store):
    return [store.document_id(number) for number in range(store.num_documents)]


def test_every_document_of_every_split_is_in_its_store(corpus_dir, tokenizer_dir, tokenizer, tmp_path):
    said = []
    manifest = build_tokens(corpus_dir, tokenizer_dir, tmp_path / "tokens", "key", said.append)
    for split in SPLITS:
        stores = open_stores(tmp_path / "tokens", split)
        for source in SOURCES:
            documents = list(read_documents(corpus_dir, split, source))
            store = stores[source]
            assert names_of(store) == [document.id for document in documents]
            assert store.num_bytes == sum(len(document.text.encode()) for document in documents)
            places = zip(documents, store.starts[:-1].tolist(), store.starts[1:].tolist(), strict=True)
            for document, start, stop in places:
                ids = store.slice(start, stop).tolist()
                assert (ids[0], ids[-1]) == (BEGIN_ID, END_ID)
                assert tokenizer.decode(ids[1:-1]) == document.text
            facts = manifest["splits"][split][source]
            assert (facts["num_documents"], facts["num_tokens"]) == (store.num_documents, store.num_tokens)
            rate = store.num_bytes / (store.num_tokens - 2 * store.num_documents)
            assert facts["bytes_per_token"] == pytest.approx(rate, abs=1e-4)
    assert is_current(tmp_path / "tokens", "key")
    assert len(said) == 1 + 4  # what is encoded, and each store


def test_the_key_follows_corpus_and_tokenizer():
    assert len({tokens_key(corpus, tokenizer) for corpus in "ab" for tokenizer in "ab"}) == 4


SIZES = {
    "group_bytes": st.sampled_from([1, 3000, 9000, 10**9]),
    "shard_tokens": st.sampled_from([1, 700, 1500, 4000, 1 << 26]),
    "batch_chars": st.integers(1, 5000),
}


@drawn
@given(st.fixed_dictionaries(SIZES), st.integers(0, 40))
def test_tasks_of_any_size_that_are_killed_at_any_time_give_the_tokens_of_one_walk(
    build_quietly, expected, tmp_path_factory, drawn_sizes, place
):
    folder = tmp_path_factory.mktemp("drawn")
    with sizes(**drawn_sizes):
        is_killed = False
        with texts_encoded(dying_at(place)):
            try:
                build_quietly(folder / "tokens")
            except Killed:
                is_killed = True
        assert (folder / "tokens").exists() == (not is_killed)
        build_quietly(folder / "tokens")
    assert contents_of(folder / "tokens") == expected(drawn_sizes["shard_tokens"])
    assert [path.name for path in folder.iterdir()] == ["tokens"]


def test_what_was_done_before_a_kill_is_not_encoded_again(build_quietly, tmp_path, small):
    with texts_encoded() as every:
        build_quietly(tmp_path / "whole")
    with texts_encoded(dying_at(9)) as before, pytest.raises(Killed):
        build_quietly(tmp_path / "tokens")
    with texts_encoded() as after:
        build_quietly(tmp_path / "tokens")
    assert before and after and before + after == every


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_any_number_of_processes_gives_the_tokens_of_one_walk(build_quietly, expected, tmp_path, workers):
    """A second for each: they import what reads and encodes."""
    with sizes(shard_tokens=2000), texts_encoded() as here:
        build_quietly(tmp_path / "tokens", engine=EngineSettings(workers=workers))
    assert here == []
    assert contents_of(tmp_path / "tokens") == expected(2000)


def test_work_in_a_store_gives_the_tokens_and_the_sample_of_one_walk(
    build_quietly, expected, corpus_dir, tmp_path, small
):
    store, engine = fsspec.filesystem("memory"), EngineSettings(workers=1, store="memory://tokens/of-a-run")
    with texts_encoded(dying_at(9)) as before, pytest.raises(Killed):
        build_quietly(tmp_path / "tokens", engine=engine)
    assert store.find("/tokens/of-a-run/work/tokens")
    with texts_encoded() as after:
        build_quietly(tmp_path / "tokens", engine=engine)
    assert before and after and not {*before} & {*after}
    assert contents_of(tmp_path / "tokens") == expected(1500)
    given = corpus_dir, TokenizerSettings(), tmp_path / "tokenizer", "sha256:key", lambda line: None
    with sampled_corpus(*given, engine=engine) as texts:
        walk = (document.text for document in read_documents(corpus_dir, "train", "notes"))
        assert texts["notes"] == sample_parts(walk, TokenizerSettings().max_bytes)
    assert not store.find("/tokens") and [path.name for path in tmp_path.iterdir()] == ["tokens"]


@drawn
@given(st.data())
def test_what_was_damaged_meanwhile_is_made_again(build_quietly, expected, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")

    def refuse_the_last() -> None:
        if list(folder.glob(".tmp-tokens-*/*/*/*.bin")):
            raise LockedError("taken over")

    with sizes():
        with pytest.raises(LockedError):
            build_quietly(folder / "tokens", "sha256:key", refuse_the_last)
        made = sorted(path for path in folder.glob(".tokens-work/*/*/*") if path.is_file() or path.is_dir())
        files = [file for path in made for file in ([path] if path.is_file() else path.iterdir())]
        path = data.draw(st.sampled_from([file for file in files if file.stat().st_size]))
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content[: data.draw(st.sampled_from([len(content), 0]))])
        with texts_encoded() as again:
            build_quietly(folder / "tokens")
    assert len(again) <= 3, "no more than one task's"
    assert contents_of(folder / "tokens") == expected(1500)


def test_the_work_of_another_key_is_removed(build_quietly, tmp_path, small):
    names = []
    for key in ("sha256:other", "sha256:key"):
        with texts_encoded(dying_at(5)), pytest.raises(Killed):
            build_quietly(tmp_path / "tokens", key)
        (only,) = (tmp_path / ".tokens-work").iterdir()
        names.append(only.name)
    assert len(set(names)) == 2


@pytest.mark.parametrize("at_the_end", ["the owner", "the disk"])
def test_what_fails_at_the_end_costs_no_encoding(build_quietly, expected, tmp_path, small, at_the_end):
    """The commit is refused, or the last operations on the disk are: everything that was encoded is kept."""
    with faults("") as plan:
        build_quietly(tmp_path / "whole")
    last_link = len(plan.operations) - plan.operations[::-1].index("hardlink")

    def refuse_the_last() -> None:
        if (tmp_path / ".tokens-work").exists() and list(tmp_path.glob(".tmp-tokens-*/*/*/*.bin")):
            raise LockedError("taken over")

    if at_the_end == "the owner":
        with pytest.raises(LockedError):
            build_quietly(tmp_path / "tokens", "sha256:key", refuse_the_last)
    else:
        with faults(f"errno=ENOSPC@{last_link}+"), pytest.raises(StorageError):
            build_quietly(tmp_path / "tokens")
    with texts_encoded() as again:
        build_quietly(tmp_path / "tokens")
    assert again == []
    assert contents_of(tmp_path / "tokens") == expected(1500)


class ShardFlushFails(FaultPlan):
    """The first flush of a shard's file fails."""

    has_failed = False

    def begin(self, kind, path, details):
        if kind == "sync" and ".bin" in Path(path).name and not self.has_failed:
            self.has_failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().begin(kind, path, details)


def test_a_shard_that_could_not_be_flushed_is_written_again(build_quietly, expected, tmp_path, small):
    install(ShardFlushFails())
    try:
        with pytest.raises(StorageError, match="input/output error"):
            build_quietly(tmp_path / "tokens")
    finally:
        install(None)
    with texts_encoded() as again:
        build_quietly(tmp_path / "tokens")
    assert 0 < len(again) <= 3, "what that task encoded"
    assert contents_of(tmp_path / "tokens") == expected(1500)


def test_a_process_that_was_taken_over_replaces_nothing(build_quietly, expected, tmp_path, small):
    """It comes back in the middle, when the one that took over is done: neither is disturbed."""
    begun, taken_over = [], []

    def require_owner() -> None:
        if taken_over:
            raise LockedError("taken over")

    def take_over(number: int) -> None:
        if number == 9 and not begun:  # it is stopped here, and the other continues to the end
            begun.append(True)
            build_quietly(tmp_path / "tokens")
            taken_over.append(True)

    with texts_encoded(take_over), pytest.raises((LockedError, StorageError, OSError)):
        build_quietly(tmp_path / "tokens", "sha256:key", require_owner)
    assert contents_of(tmp_path / "tokens") == expected(1500)


def test_work_that_lacks_documents_becomes_no_store(build_quietly, tmp_path, small, monkeypatch):
    lines = work.shard_lines
    monkeypatch.setattr(work, "shard_lines", lambda *where: islice(lines(*where), 1))
    with pytest.raises(StoreError, match="give the same command again"):
        build_quietly(tmp_path / "tokens")
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize("is_missing", [False, True])
def test_a_damaged_shard_of_the_corpus_is_found_by_the_task_that_reads_it(
    corpus_dir, tokenizer_dir, tmp_path, small, is_missing
):
    import shutil

    shutil.copytree(corpus_dir, tmp_path / "corpus")
    name = list(list_shards(corpus_dir, "train/notes/"))[1]
    path = tmp_path / "corpus" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink() if is_missing else path.write_bytes(data)
    given = tmp_path / "corpus", tokenizer_dir, tmp_path / "tokens", "key", lambda line: None
    with pytest.raises(DataError, match=rf"{name} is {'missing' if is_missing else 'damaged'}.*build the corpus again"):
        build_tokens(*given, engine=IN_ONE)


@drawn
@given(st.integers(1, 10_000), st.sampled_from([1, 5000, 10**9]), st.sampled_from([0.02, 1.5]), st.integers(0, 30))
@example(700, 1, 0.02, 3)
def test_tasks_sample_what_one_walk_samples(corpus_dir, tmp_path_factory, max_bytes, group_bytes, margin, place):
    """Also where what the tasks look for at first is too little, and where they are killed."""
    folder = tmp_path_factory.mktemp("sampled")
    wanted = TokenizerSettings.model_construct(vocab_size=320, max_bytes=max_bytes)
    numbers = iter(range(10**9))

    def mortal(*maker):
        do = doer_of(*maker)
        return lambda task: (dying_at(place)(next(numbers)), do(task))

    with sizes(group_bytes), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "_MARGIN", margin)
        patch.setattr(local, "doer_of", mortal)
        given = corpus_dir, wanted, folder / "tokenizer", "sha256:key", lambda line: None
        try:
            with sampled_corpus(*given, engine=IN_ONE) as texts:
                pass
        except Killed:
            with sampled_corpus(*given, engine=IN_ONE) as texts:
                pass
    for source in SOURCES:
        walk = (plain_text(document) for document in read_documents(corpus_dir, "train", source))
        assert texts[source] == sample_parts(walk, max_bytes) == sample_parts(texts[source], max_bytes)
    assert not list(folder.iterdir())
