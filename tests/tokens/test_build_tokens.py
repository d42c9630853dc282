from __future__ import annotations

from random import Random

import pytest
from fault_plan import faults

from headwater.core.errors import LockedError, StorageError
from headwater.core.manifests import is_current
from headwater.corpus.build import build_corpus
from headwater.corpus.load import read_documents
from headwater.corpus.sources.settings import CorpusSettings
from headwater.tokens import build
from headwater.tokens.build import TokensProgress, build_tokens
from headwater.tokens.read import open_stores
from headwater.tokens.tokenizer.settings import BEGIN_ID, END_ID, TokenizerSettings
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.tokenizer.train import train_tokenizer

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


def names_of(store):
    return [store.document_id(number) for number in range(store.num_documents)]


def test_every_document_of_every_split_is_in_its_store(corpus_dir, tokenizer, tmp_path):
    said = []
    manifest = build_tokens(corpus_dir, tokenizer, tmp_path / "tokens", "key", said.append)
    for split in ("train", "validation"):
        stores = open_stores(tmp_path / "tokens", split)
        for source in ("letters", "notes"):
            documents = list(read_documents(corpus_dir, split, source))
            store = stores[source]
            assert names_of(store) == [document.id for document in documents]
            assert store.num_bytes == sum(len(document.text.encode()) for document in documents)
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
    assert len(said) == 1 + 4  # what is encoded, and each store


class Killed(BaseException):
    pass


@pytest.fixture
def in_pieces(monkeypatch):
    """Encode a document or two at a time, and cut a store into several shards."""
    monkeypatch.setattr(build, "_BATCH_CHARS", 1500)
    monkeypatch.setattr(build, "MAX_SHARD_TOKENS", 4000)


class Watched:
    """A tokenizer that notes what it encodes, after it did what is to be done before the batch of a number."""

    def __init__(self, tokenizer: Tokenizer, before=lambda number: None) -> None:
        self.vocab_size, self.digest, self.markers = tokenizer.vocab_size, tokenizer.digest, tokenizer.markers
        self.texts: list[str] = []
        self._tokenizer, self._before, self._num_batches = tokenizer, before, 0

    def encode_arrays(self, texts: list[str]):
        self._before(self._num_batches)
        self._num_batches += 1
        self.texts += texts
        return self._tokenizer.encode_arrays(texts)


def build_quietly(corpus_dir, tokenizer, out_dir, key: str = "sha256:key", *more):
    return build_tokens(corpus_dir, tokenizer, out_dir, key, lambda line: None, *more)


def kill_before(num_batches: int, corpus_dir, tokenizer, out_dir, key: str = "sha256:key") -> list[str]:
    """Begin a build, end it after some batches as a kill does, and return the texts that were encoded."""

    def kill(number: int) -> None:
        if number == num_batches:
            raise Killed

    watched = Watched(tokenizer, kill)
    with pytest.raises(Killed):
        build_quietly(corpus_dir, watched, out_dir, key)
    assert not out_dir.exists()
    return watched.texts


def texts_encoded(corpus_dir, tokenizer, out_dir) -> list[str]:
    """Build the tokens, and return the texts that were encoded for it."""
    watched = Watched(tokenizer)
    build_quietly(corpus_dir, watched, out_dir)
    return watched.texts


def files_of(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("num_batches", [0, 1, 7, 13, 17])
def test_a_build_that_was_killed_goes_on_where_it_stopped(corpus_dir, tokenizer, tmp_path, in_pieces, num_batches):
    every = texts_encoded(corpus_dir, tokenizer, tmp_path / "whole" / "tokens")
    encoded = kill_before(num_batches, corpus_dir, tokenizer, tmp_path / "tokens")
    assert encoded + texts_encoded(corpus_dir, tokenizer, tmp_path / "tokens") == every
    assert files_of(tmp_path / "tokens") == files_of(tmp_path / "whole" / "tokens")
    assert [path.name for path in tmp_path.iterdir() if path.name != "whole"] == ["tokens"]


@pytest.mark.parametrize("place", ["shards/*/*.bin", "shards/*/task.json", "pieces/*/ids.bin", "pieces/*/task.json"])
def test_what_was_damaged_meanwhile_is_encoded_again_and_nothing_before_it(
    corpus_dir, tokenizer, tmp_path, in_pieces, place
):
    every = texts_encoded(corpus_dir, tokenizer, tmp_path / "whole")
    done = kill_before(12, corpus_dir, tokenizer, tmp_path / "tokens")
    damaged = sorted((tmp_path / ".tokens-work").glob(f"*/train/*/{place}"))[-1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    again = texts_encoded(corpus_dir, tokenizer, tmp_path / "tokens")
    assert len(every) - len(done) < len(again) < len(every)
    assert files_of(tmp_path / "tokens") == files_of(tmp_path / "whole")


def test_the_work_of_another_key_is_removed(corpus_dir, tokenizer, tmp_path, in_pieces):
    kill_before(5, corpus_dir, tokenizer, tmp_path / "tokens", "sha256:other")
    (other,) = (tmp_path / ".tokens-work").iterdir()
    kill_before(5, corpus_dir, tokenizer, tmp_path / "tokens", "sha256:key")
    (mine,) = (tmp_path / ".tokens-work").iterdir()
    assert mine.name != other.name


@pytest.mark.parametrize("at_the_end", ["the owner", "the disk"])
def test_what_fails_at_the_end_costs_no_encoding(corpus_dir, tokenizer, tmp_path, in_pieces, at_the_end):
    """The commit is refused, or the last operations on the disk are: everything that was encoded is kept."""
    with faults("") as plan:
        build_quietly(corpus_dir, tokenizer, tmp_path / "whole")
    last_link = len(plan.operations) - plan.operations[::-1].index("hardlink")
    calls = []

    def refuse_the_last() -> None:
        calls.append(len(calls))
        if (tmp_path / ".tokens-work").exists() and list(tmp_path.glob(".tmp-tokens-*/*/*/*.bin")):
            raise LockedError("taken over")

    if at_the_end == "the owner":
        with pytest.raises(LockedError):
            build_quietly(corpus_dir, tokenizer, tmp_path / "tokens", "sha256:key", refuse_the_last)
        assert len(calls) > 30  # before every piece and shard, too
    else:
        with faults(f"errno=ENOSPC@{last_link}+"), pytest.raises(StorageError):
            build_quietly(corpus_dir, tokenizer, tmp_path / "tokens")
    assert texts_encoded(corpus_dir, tokenizer, tmp_path / "tokens") == []
    assert files_of(tmp_path / "tokens") == files_of(tmp_path / "whole")


def test_a_shard_that_could_not_be_flushed_is_written_again(corpus_dir, tokenizer, tmp_path, in_pieces):
    with faults("") as plan:
        build_quietly(corpus_dir, tokenizer, tmp_path / "whole")
    first_link = plan.operations.index("hardlink")
    # the flush before the first link is that of a shard's file, or of the folder; those of shards are one a file
    number = max(at for at in range(first_link) if plan.operations[at : at + 3] == ["sync"] * 3) + 1
    with faults(f"errno=EIO@{number}"), pytest.raises(StorageError, match="input/output error"):
        build_quietly(corpus_dir, tokenizer, tmp_path / "tokens")
    assert 0 < len(texts_encoded(corpus_dir, tokenizer, tmp_path / "tokens")) < 40
    assert files_of(tmp_path / "tokens") == files_of(tmp_path / "whole")


def test_a_process_that_was_taken_over_stops_before_it_writes(corpus_dir, tokenizer, tmp_path, in_pieces):
    """It comes back in the middle, when the one that took over is further: neither is disturbed."""
    build_quietly(corpus_dir, tokenizer, tmp_path / "whole")
    taken_over = []

    def require_owner() -> None:
        if taken_over:
            raise LockedError("taken over")

    def take_over(number: int) -> None:
        if number == 9:  # it is stopped here, and the other continues to the end
            build_quietly(corpus_dir, tokenizer, tmp_path / "tokens")
            taken_over.append(True)

    with pytest.raises(LockedError):
        build_quietly(corpus_dir, Watched(tokenizer, take_over), tmp_path / "tokens", "sha256:key", require_owner)
    assert files_of(tmp_path / "tokens") == files_of(tmp_path / "whole")


def test_pieces_and_shards_of_any_size_give_the_tokens_of_one(corpus_dir, tokenizer, tmp_path, monkeypatch):
    one = build_quietly(corpus_dir, tokenizer, tmp_path / "one")
    monkeypatch.setattr(build, "_BATCH_CHARS", 700)
    assert build_quietly(corpus_dir, tokenizer, tmp_path / "pieces") == one
    monkeypatch.setattr(build, "MAX_SHARD_TOKENS", 1)
    build_quietly(corpus_dir, tokenizer, tmp_path / "many")
    for split in ("train", "validation"):
        ones, many = (open_stores(tmp_path / name, split) for name in ("one", "many"))
        for source, store in ones.items():
            assert len(many[source].manifest["shards"]) == store.num_documents
            assert names_of(many[source]) == names_of(store)
            both = (each.slice(0, store.num_tokens).tolist() for each in (many[source], store))
            assert next(both) == next(both)


def test_progress_says_how_far_it_is_how_fast_and_when_it_will_be_done_every_ten_seconds_and_nothing_at_its_end():
    now, said = [0.0], list[str]()
    progress = TokensProgress(56_000_000, said.append, lambda: now[0])
    progress.was_done(20_000_000)  # by an earlier process: it says nothing of the rate
    for now[0] in (4.0, 8.0, 12.0, 16.0, 20.0, 24.0, 28.0, 32.0, 36.0):
        progress.done(4_000_000)
    assert said == ["encoding: 32 of 56 MB, 1.0 MB/s, 24s to go", "encoding: 44 of 56 MB, 1.0 MB/s, 12s to go"]
