from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headwater.core.errors import DataError
from headwater.core.files import remove_leftovers
from headwater.core.task_output import work_folder
from headwater.corpus.build import build_corpus
from headwater.corpus.engine.tasks import Task
from headwater.corpus.engine.worker_process import WorkerProcess
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.tasks.work import begin_work

NUM_KILLED = 4


@pytest.mark.parametrize("store", [None, "file://{}/store"])
def test_workers_make_the_same_bytes_and_those_that_are_killed_are_replaced(
    build_of, is_as_expected, tmp_path, monkeypatch, store
):
    give, killed, chance = WorkerProcess.give, [], random.Random(1)

    def give_and_kill(self, task, now):
        give(self, task, now)
        if len(killed) < NUM_KILLED and task not in killed and chance.random() < 0.4:
            killed.append(task)
            threading.Timer(0.02 * (len(killed) % 2), self._child._process.kill).start()

    monkeypatch.setattr(WorkerProcess, "give", give_and_kill)
    said = []
    build_of(tmp_path / "corpus", said.append, workers=2, store=store and store.format(tmp_path))
    assert len(killed) == NUM_KILLED
    redone = [line for line in said if "is done again: its process was ended by Killed" in line]
    assert redone and any(" of source " in line for line in redone), said
    assert is_as_expected(tmp_path / "corpus")
    assert not list(work_folder(tmp_path / "corpus").rglob("temporary/*")), "what killed workers left"


def test_the_copy_that_a_killed_worker_was_making_of_a_remote_file_goes_with_it(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/large.txt"
        settings = CorpusSettings.model_validate({"sources": {"far": {"paths": [address]}}})
        work = begin_work(tmp_path / "corpus", settings, {}, "key")
        worker = WorkerProcess(work, 4 << 30, 0.0)
        worker.give(Task("texts", 0), 0.0)
        while not any(path.is_file() for path in (work.folder / "temporary").rglob("*")):
            time.sleep(0.001)
        os.kill(worker.pid, signal.SIGKILL)
        worker.end()
        server.shutdown()
    assert not list((work.folder / "temporary").iterdir())


class Endless(BaseHTTPRequestHandler):
    """A file that never comes to its end."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 30))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        with suppress(OSError):
            while True:
                self.wfile.write(b"words " * 20_000)
                time.sleep(0.01)

    def log_message(self, *arguments):
        pass


def test_a_worker_that_hangs_is_replaced(build_of, is_as_expected, tmp_path, monkeypatch):
    give, listen, stopped = WorkerProcess.give, WorkerProcess.listen, []

    def give_and_stop(self, task, now):
        if task.number == 1 and not stopped:
            stopped.append(self.pid)
            os.kill(self.pid, signal.SIGSTOP)
            self.heard_at = now - 61
        give(self, task, now)

    def listen_to_what_was_said_before(self, now):
        listen(self, now - 61 * (self.pid in stopped))

    monkeypatch.setattr(WorkerProcess, "give", give_and_stop)
    monkeypatch.setattr(WorkerProcess, "listen", listen_to_what_was_said_before)
    said = []
    build_of(tmp_path / "corpus", said.append, workers=2)
    assert stopped
    assert any("is done again: its process gave no sign of life for 60 seconds" in line for line in said), said
    with pytest.raises(ProcessLookupError):
        os.kill(stopped[0], 0)
    assert is_as_expected(tmp_path / "corpus")


DRIVER = """
import json, sys
from pathlib import Path
from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings
build_corpus(CorpusSettings.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2]), print)
"""


def driver_of(table, out):
    command = [sys.executable, "-c", DRIVER, json.dumps(table), str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def num_done(out):
    """Return how many tasks of a build are done, as an outsider sees it."""
    try:
        return len(list(work_folder(out).glob("*/*/*/task.json")))
    except FileNotFoundError:  # it is being taken away
        return 0


def test_the_whole_build_killed_at_any_time_goes_on_and_makes_the_same_bytes(texts, table_of, is_as_expected, tmp_path):
    """Three seconds and more: three processes with two workers each are started, and two killed when they are at work."""
    out, chance = tmp_path / "corpus", random.Random(2)
    for num_killed in range(3):
        driver = driver_of(table_of(texts, workers=2), out)
        more = num_done(out) + chance.randint(8, 12)
        while driver.poll() is None and num_killed < 2 and num_done(out) < more:
            time.sleep(0.01)
        time.sleep(chance.random() / 20)
        if num_killed < 2:
            assert driver.poll() is None, "it was done before it was killed"
            driver.kill()
        driver.wait()
    assert driver.returncode == 0
    assert is_as_expected(out)
    assert not list(work_folder(out).rglob(".tmp-*"))
    remove_leftovers(tmp_path)  # as a run does
    assert sorted(os.listdir(tmp_path)) == [".corpus-work", "corpus"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_a_build_that_is_ended(texts, table_of, tmp_path, number):
    driver = driver_of(table_of(texts, workers=2), tmp_path / "corpus")
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children")
    while len(workers := children.read_text().split()) < 2 and driver.poll() is None:
        time.sleep(0.05)
    driver.send_signal(number)
    assert driver.wait(timeout=60) != 0
    assert workers
    deadline = time.monotonic() + 10
    while (left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def test_a_file_that_takes_too_much_memory_is_named_and_the_rest_is_not_done_again(texts, table_of, tmp_path):
    hog = tmp_path / "2hog.jsonl"
    hog.write_text('{"text": "small", "numbers": [' + "1," * 16_000_000 + "1]}\n")
    for name in ("000.jsonl", "101.jsonl", "202.jsonl", "page.html"):
        (tmp_path / name).symlink_to(texts / name)
    table = table_of(tmp_path, workers=2, task_memory_bytes=100_000_000)
    table |= {"max_line_bytes": 100_000_000, "task_bytes": hog.stat().st_size}  # it is in one slice
    out, said = tmp_path / "out" / "corpus", []
    with pytest.raises(DataError, match=r"source 2 \(\S+2hog\.jsonl.*3 tries: it took more than 100 MB of memory;"):
        build_corpus(CorpusSettings.model_validate(table), out, said.append)
    assert work_folder(out).exists()
    table["engine"]["task_memory_bytes"] = 2_000_000_000
    build_corpus(CorpusSettings.model_validate(table), out, said.append)
    assert any("tasks were done before" in line for line in said), said


def test_an_error_that_the_user_can_act_on_comes_through_as_it_is(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Hi.")
    sources = {name: {"paths": [str(tmp_path / f"{name}.txt")]} for name in ("a", "b")}
    settings = CorpusSettings.model_validate({"sources": sources, "engine": {"workers": 2}})
    with pytest.raises(DataError, match="the corpus is empty: no document was kept"):
        build_corpus(settings, tmp_path / "corpus", lambda line: None)
    assert sorted(os.listdir(tmp_path)) == [".corpus-failed-build", ".corpus-work", "a.txt", "b.txt"]
