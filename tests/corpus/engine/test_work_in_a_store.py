"""A corpus whose work and shards are in a store: the files that one process makes on its disk, whoever dies on the way."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

import fsspec
import pytest
from pydantic import ValidationError
from s3_server import credentials_for, failing

from headwater.core import stores
from headwater.core.errors import DataError
from headwater.core.stores import Store
from headwater.core.task_output import work_folder
from headwater.corpus.decide import browse
from headwater.corpus.decide.tune import tune
from headwater.corpus.load import dropped_sample, read_corpus_manifest, read_documents, trace
from headwater.corpus.sources.settings import CorpusSettings, EngineSettings

STORE = "memory://bucket/corpus"


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/bucket", recursive=True)


class Died(BaseException):
    """What no code catches, as a process that is killed runs none."""


@pytest.mark.parametrize("seed", range(3))
def test_a_build_that_dies_between_any_two_uploads_goes_on_and_does_no_task_twice(
    build_of, is_as_expected, memory, tmp_path, monkeypatch, seed
):
    put, chance, sent = Store.put, random.Random(seed), []

    def put_and_die(self, path, name):
        if len(sent) == dies_at:
            raise Died
        put(self, path, name)
        sent.append(name)

    monkeypatch.setattr(Store, "put", put_and_die)
    for _ in range(4):
        dies_at = len(sent) + chance.randint(0, 20)
        with pytest.raises(Died):
            build_of(tmp_path / "corpus", workers=1, store=STORE)
    dies_at = -1
    build_of(tmp_path / "corpus", workers=1, store=STORE)
    assert is_as_expected(tmp_path / "corpus")
    done = [name for name in sent if name.endswith("task.json")]
    assert len(done) == len(set(done))
    assert sorted(path.name for path in (tmp_path / "corpus").iterdir()) == ["files.parquet", "manifest.json"]
    assert not memory.find("/bucket/corpus/work/8/write"), "the shards twice"


def test_a_corpus_in_a_store_answers_as_one_on_this_disk_does(build_of, texts, table_of, memory, tmp_path):
    other = CorpusSettings.model_validate(table_of(texts) | {"rules": {"text": {"min_words": 95}}})
    answers = []
    for name, engine in (("here", {}), ("there", {"store": STORE})):
        folder = tmp_path / name / "corpus"
        build_of(folder, workers=1, **engine)
        shown = browse.documents(folder, "1", count=100)
        answers.append(
            {
                "documents": [list(read_documents(folder, split, "1")) for split in ("train", "validation")],
                "dropped": dropped_sample(folder, None, None, 3),
                "hits": list(trace(folder, "river")) + list(trace(folder, "stover")),
                "reasons": browse.reasons_of(folder, "0"),
                "shown": shown,
                "document": browse.document(folder, "1", shown[-1]["slice"], shown[-1]["record"]),
                "tuned": astuple(tune(folder, other, "words")),
            }
        )
    assert answers[0] == answers[1]
    assert answers[0]["hits"]


def test_another_limit_reads_no_text_again(build_of, memory, tmp_path, monkeypatch):
    build_of(tmp_path / "corpus", workers=1, store=STORE)
    put, sent = Store.put, []
    monkeypatch.setattr(Store, "put", lambda self, path, name: sent.append(name) or put(self, path, name))
    build_of(tmp_path / "other" / "corpus", workers=1, store=STORE, limits={"text": {"words": {"min": 5}}})
    assert not [name for name in sent if "/texts/" in name or "/columns/" in name]
    assert [name for name in sent if "/write/" in name]


@pytest.mark.parametrize("name", ["task.json", "columns.parquet", "texts.parquet", "train/"])
def test_an_object_that_is_not_what_was_written_is_named(build_of, memory, tmp_path, name):
    """A shard, when it is read; any other, when the next build of other limits reads it."""
    build_of(tmp_path / "corpus", workers=1, store=STORE)
    damaged = next(path for path in memory.find("/bucket/corpus") if name in path and "/plans/" not in path)
    content = bytearray(memory.cat_file(damaged))
    content[len(content) // 2] ^= 1
    memory.pipe_file(damaged, bytes(content))
    source = "page" if "/page/" in damaged else "0"
    with pytest.raises(DataError, match=f"{damaged.rpartition('/')[0].removeprefix('/')}.*(damaged|no finished task)"):
        if name == "train/":
            list(read_documents(tmp_path / "corpus", "train", source))
        build_of(tmp_path / "other" / "corpus", workers=1, store=STORE, limits={"text": {"words": {"min": 5}}})


def test_a_corpus_of_which_nothing_is_kept_says_why_from_the_store(build_of, memory, tmp_path):
    with pytest.raises(DataError, match="the corpus is empty"):
        build_of(tmp_path / "corpus", workers=1, store=STORE, limits={"text": {"words": {"min": 5000}}})
    [failed] = tmp_path.glob(".corpus-failed-build")
    assert dropped_sample(failed, None, "0", 1)
    assert read_corpus_manifest(failed)["store"].startswith(STORE)
    assert work_folder(tmp_path / "corpus").is_dir()


def test_a_store_that_answers_503_and_breaks_off_costs_time_alone(build_of, is_as_expected, s3, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "WAIT_SECONDS", (0.01,) * 6)
    with failing(s3, share=0.04) as (address, did):
        for name, value in credentials_for(address).items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("faulty")
        build_of(tmp_path / "corpus", workers=1, store="s3://faulty/corpus")
        assert is_as_expected(tmp_path / "corpus")
        type(fsspec.filesystem("s3")).clear_instance_cache()
    assert did["503"] and did["reset"] and did["late reset"], did


WORKER = """
import os, sys
from headwater.core.task_store import TaskStore
place = TaskStore(sys.argv[1], "work", "store")
print(place.top, flush=True)
sys.stdin.read()
"""


def test_the_folder_of_a_worker_that_was_killed_is_removed_by_the_next_and_no_other(tmp_path, monkeypatch):
    def worker():
        command = [sys.executable, "-c", WORKER, f"file://{tmp_path}/store"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return process, Path(process.stdout.readline().strip())

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (killed, left), (lives, used) = worker(), worker()
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    last, own = worker()
    assert not left.exists() and used.is_dir() and own.is_dir()
    for process in (lives, last):
        process.communicate()
    assert not list(tmp_path.glob("headwater-*"))


@pytest.mark.parametrize(
    ("store", "message"),
    [("bucket/corpus", "is no address"), ("s3://id:secret-word@bucket/corpus", "holds credentials")],
)
def test_what_is_no_store_is_refused(store, message):
    with pytest.raises(ValidationError, match=message):
        EngineSettings(store=store)
