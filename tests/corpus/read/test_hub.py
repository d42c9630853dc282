"""Data sets of the hub by the addresses of their files, from a stand-in for its API: nothing here is online."""

from __future__ import annotations

import hashlib
import importlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from headwater.core import stores
from headwater.core.errors import DataError
from headwater.corpus.document import Drop
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CorpusSettings

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = importlib.import_module("huggingface_hub.constants")

FILES = {
    "README.md": b"---\nlicense: mit\n---\n# Tales\n",
    "data/train-00000-of-00001.jsonl": b'{"text": "one"}\n{"title": "none"}\n',
    "data/test-00000-of-00001.jsonl": b'{"text": "two"}\n',
}
COMMIT = {"id": "c0ffee", "title": "t", "date": "2026-01-01T00:00:00.000Z"}


def entry(path: str) -> dict:
    if path in FILES:
        oid = hashlib.sha1(FILES[path]).hexdigest()
        return {"type": "file", "path": path, "size": len(FILES[path]), "oid": oid, "lastCommit": COMMIT}
    return {"type": "directory", "path": path, "size": 0, "oid": "tree", "lastCommit": COMMIT}


class Hub(BaseHTTPRequestHandler):
    """Answers for one data set, owner/name, as the hub's API does."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.startswith("/datasets/owner/name/resolve/main/"):
            data = FILES[path.removeprefix("/datasets/owner/name/resolve/main/")]
            start, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            part = data[int(start) : int(end) + 1 if end else None]
            self.reply(part, 206, ETag='"e"', X_Repo_Commit="c0ffee")
        elif path.startswith("/api/datasets/owner/name/tree/main"):
            self.reply(json.dumps(self.listed(path, "recursive=true" in query.lower())).encode())
        elif path in ("/api/datasets/owner/name", "/api/datasets/owner/name/revision/main"):
            self.reply(json.dumps({"_id": "1", "id": "owner/name", "sha": "c0ffee"}).encode())
        else:
            self.reply(b"{}", 404, X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.reply(
            json.dumps([entry(path) for path in FILES if path in asked or path.replace("/", "%2F") in asked]).encode()
        )

    def listed(self, path: str, is_recursive: bool) -> list[dict]:
        folder = path.removeprefix("/api/datasets/owner/name/tree/main").strip("/")
        names = {name for name in (*FILES, "data") if name.startswith(folder and f"{folder}/")}
        return [entry(name) for name in sorted(names) if is_recursive or "/" not in name[len(folder) + bool(folder) :]]


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)
    monkeypatch.setattr(stores, "WAIT_SECONDS", ())
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    huggingface_hub.HfFileSystem.clear_instance_cache()
    yield server
    huggingface_hub.HfFileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()


def settings(path: str, **more) -> CorpusSettings:
    return CorpusSettings.model_validate({"sources": {"mine": {"paths": [path], **more}}})


def outcomes(path: str, **more) -> list[tuple[str, str]]:
    pieces = read_source("mine", settings(path, **more))
    return [(each.id, each.reason if isinstance(each, Drop) else each.text.strip()) for each in pieces]


def test_files_of_a_data_set_are_read_but_for_its_splits_for_testing(hub):
    data = "hf://datasets/owner/name/data"
    assert outcomes(data) == [
        (f"{data}/test-00000-of-00001.jsonl", "split_excluded"),
        (f"{data}/train-00000-of-00001.jsonl#1", "one"),
        (f"{data}/train-00000-of-00001.jsonl#2", "no_text"),
    ]
    assert outcomes(data, splits=["test"])[0] == (f"{data}/test-00000-of-00001.jsonl#1", "two")
    assert outcomes("hf://datasets/owner/name/**/test-*.jsonl") == [(f"{data}/test-00000-of-00001.jsonl#1", "two")]
    assert ("hf://datasets/owner/name/README.md", "# Tales") in outcomes("hf://datasets/owner/name")


def test_a_data_set_that_is_not_there_is_an_error_that_names_it(hub):
    with pytest.raises(DataError, match=r"hf://datasets/owner/other.*no such file, folder or bucket"):
        outcomes("hf://datasets/owner/other")
