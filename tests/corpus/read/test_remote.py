"""Files elsewhere: in this process's memory, and in a store that speaks S3, on this machine."""

from __future__ import annotations

import gzip
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import fsspec
import pytest
from golden_rows import rows
from s3_server import credentials_for

from headwater.core import stores
from headwater.core.errors import DataError
from headwater.corpus.build import build_corpus
from headwater.corpus.document import Drop
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.read import remote
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings

PAGE = b"<html><body><p>A page.</p></body></html>"


def settings(*paths: str) -> CorpusSettings:
    return CorpusSettings.model_validate({"sources": {"mine": {"kind": "web", "paths": list(paths)}}})


def outcomes(*paths: str) -> list[tuple[str, str]]:
    """Return the id of each piece with its text or the reason why it was dropped."""
    pieces = read_source("mine", settings(*paths))
    return [(each.id, each.reason if isinstance(each, Drop) else each.text) for each in pieces]


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    files = {
        "/r/b.txt": b"two",
        "/r/a.txt.gz": gzip.compress(b"one"),
        "/r/sub/c.html": PAGE,
        "/r/sub/.hidden/d.txt": b"not read",
        "/r/node_modules/e.txt": b"not read",
        "/r/f.png": b"\x89PNG",
    }
    for name, content in files.items():
        store.pipe(name, content)
    yield store
    store.rm("/r", recursive=True)


def test_a_folder_elsewhere_is_read_like_one_here(memory):
    assert [(name.replace(":///", "://"), what) for name, what in outcomes("memory://r")] == [
        ("memory://r/a.txt.gz", "one"),
        ("memory://r/b.txt", "two"),
        ("memory://r/f.png", "unknown_format"),
        ("memory://r/node_modules", "tool_folder"),
        ("memory://r/sub/.hidden", "hidden"),
        ("memory://r/sub/c.html", "A page."),
    ]


def test_a_copy_is_gone_when_it_is_read(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(remote.tempfile, "tempdir", str(tmp_path))
    copies = []
    for _ in read_source("mine", settings("memory://r/*.txt")):
        copies.append(list(tmp_path.rglob("b.txt")))
    assert [len(each) for each in copies] == [1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("address", "message"), rows("what_cannot_be_reached_is_an_error_that_says_so_and"))
def test_what_cannot_be_reached_is_an_error_that_says_so_and_no_secret(address, message):
    with pytest.raises(DataError, match=message) as raised:
        outcomes(address)
    assert "secret-word" not in str(raised.value)


def test_a_file_that_is_gone_when_its_turn_comes_is_never_skipped_in_silence(memory):
    pieces = read_source("mine", settings("memory://r/*.txt", "memory://r/sub/c.html"))
    next(pieces)
    memory.rm("/r/sub/c.html")
    with pytest.raises(DataError, match=r"c\.html"):
        list(pieces)
    memory.pipe("/r/sub/c.html", PAGE)


def test_a_library_that_is_missing_is_named(monkeypatch):
    def missing(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(DataError, match=r"pip install headwater\[s3\]"):
        outcomes("s3://bucket/a.txt")


# ---- a server that fails in passing


class Failing(BaseHTTPRequestHandler):
    """Serves files and parts of them; what `faults` has left for a path is done first, once each."""

    files: ClassVar[dict[str, bytes]] = {}
    faults: ClassVar[dict[str, list[str]]] = {}

    def do_HEAD(self):
        self.answer(is_head=True)

    def do_GET(self):
        self.answer(is_head=False)

    def answer(self, is_head: bool) -> None:
        faults = self.faults.get(self.path, [])
        fault = faults.pop(0) if faults else ""
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        if fault == "stall":
            time.sleep(0.5)
        content = self.files.get(self.path)
        if fault.isdecimal() or content is None:
            self.send_response(int(fault or 404))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = 0, len(content)
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(end, int(wanted[2]) + 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{len(content)}"')
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if not is_head:
            self.wfile.write(content[start : end - 5 if fault == "cut" else end])
            self.close_connection = fault == "cut"

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()


@pytest.fixture
def web(monkeypatch):
    """Return the address of such a server, with texts of three pages, in whose faults nobody waits long."""
    monkeypatch.setattr(stores, "WAIT_SECONDS", (0.01,) * 6)
    monkeypatch.setattr(stores, "NO_DATA_SECONDS", 0.3)
    Failing.files = {f"/{n}.txt": f"The text of page {n} about rivers and hills.\n".encode() * 40 for n in range(3)}
    Failing.faults = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("fault", ["503", "429", "500", "reset", "stall", "cut"])
@pytest.mark.parametrize("times", [1, 3])
def test_what_fails_in_passing_is_tried_again(web, fault, times):
    addresses = [f"{web}/{n}.txt" for n in range(3)]
    expected = outcomes(*addresses)
    Failing.faults = {f"/{n}.txt": [fault] * times for n in range(3)}
    assert outcomes(*addresses) == expected
    assert not any(Failing.faults.values())


def test_a_server_that_never_recovers_is_named_with_what_it_said(web):
    Failing.faults = {"/1.txt": ["503"] * 100}
    with pytest.raises(DataError, match=r"1\.txt can't be reached, 7 tries in .*503"):
        outcomes(f"{web}/1.txt")


def test_what_is_not_there_is_asked_for_once(web):
    with pytest.raises(DataError, match="no such file"):
        outcomes(f"{web}/9.txt")


def test_a_file_too_large_for_this_disk_is_refused_before_it_is_copied(web, monkeypatch):
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(DataError, match="set TMPDIR"):
        outcomes(f"{web}/1.txt")


def test_a_corpus_has_the_same_digest_however_its_server_fails(web, make_prose, tmp_path, monkeypatch):
    monkeypatch.undo()  # the processes that read have the waits of every day
    Failing.files = {f"/{number}.txt": make_prose(80, number).encode() for number in range(20)}
    paths = [f"{web}{path}" for path in Failing.files]
    wanted = CorpusSettings.model_validate({"sources": {"mine": {"paths": paths}}, "validation_fraction": 0.2})
    first = build_corpus(wanted, tmp_path / "first", print)["digest"]
    Failing.faults = {"/0.txt": ["503"], "/1.txt": ["reset"], "/2.txt": ["503"], "/3.txt": ["cut"]}
    second = build_corpus(wanted, tmp_path / "second", print)["digest"]
    assert second == first
    assert not any(Failing.faults.values())


# ---- S3


@pytest.fixture
def bucket(s3, monkeypatch):
    for name, value in credentials_for(s3).items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    if not store.exists("texts"):
        store.mkdir("texts")
    store.pipe("texts/a.txt", b"one")
    store.pipe("texts/sub/b.jsonl.gz", gzip.compress(b'{"text": "two"}\n{"text": "three"}\n'))
    store.pipe("texts/sub/c.html", PAGE)
    yield store
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_bucket_is_read_with_credentials_from_the_environment(bucket):
    assert outcomes("s3://texts") == [
        ("s3://texts/a.txt", "one"),
        ("s3://texts/sub/b.jsonl.gz#1", "two"),
        ("s3://texts/sub/b.jsonl.gz#2", "three"),
        ("s3://texts/sub/c.html", "A page."),
    ]
    assert [text for _, text in outcomes("s3://texts/**/*.html")] == ["A page."]


def test_a_changed_object_is_another_input(bucket):
    first = corpus_inputs(settings("s3://texts"))
    bucket.pipe("texts/a.txt", b"ONE")
    bucket.invalidate_cache()
    assert corpus_inputs(settings("s3://texts")) != first


def test_a_bucket_that_does_not_exist_is_reported_without_a_secret(bucket):
    with pytest.raises(DataError, match=r"no such file, folder or bucket|no file at") as raised:
        outcomes("s3://no-such-bucket/a")
    assert "a-secret-word" not in str(raised.value)
