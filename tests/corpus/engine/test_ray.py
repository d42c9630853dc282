"""Ray on this machine alone, and as three nodes: a node lost, a process ended, a task over its time, a GPU wanted.

And three nodes that have texts and work on S3 alone, which answers 503 and breaks off now and then.

`make test-post` runs it, in the environment that has Ray.
"""

from __future__ import annotations

import json
import subprocess
import sys

import fsspec
import pytest
from many_ranks import free_port
from s3_server import credentials_for, failing

from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings

pytest.importorskip("ray")

# in a process of its own: Ray starts threads and servers that warn of themselves when pytest ends
BUILD = """
import json, os, sys, threading, time
from pathlib import Path
from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings

def build():
    settings = CorpusSettings.model_validate(json.loads(sys.argv[1]))
    build_corpus(settings, Path(sys.argv[2]), lambda line: print(line, flush=True))
"""

THREE_NODES = """
from ray.cluster_utils import Cluster

port = int(sys.argv[3])
store = {"object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "ray_client_server_port": port, **store})
nodes = [cluster.add_node(num_cpus=1, memory=2_000_000_000, num_gpus=gpus, **store) for gpus in (0, 1, 1)]

def lose_the_node_that_hangs():
    while not (Path("hangs").exists() and (parent := Path("hangs").read_text())):
        time.sleep(0.05)
    [node] = [node for node in nodes if node.all_processes["raylet"][0].process.pid == int(parent)]
    cluster.remove_node(node, allow_graceful=False)
    print("lost a node", flush=True)

threading.Thread(target=lose_the_node_that_hangs, daemon=True).start()
build()
os._exit(0)
"""

MEASURES = '''
import os, signal, time
from pathlib import Path

from headwater.corpus import Column, Measure

class Length(Measure):
    """The first to be asked never answers, the second ends, the third takes too long."""
    columns = {"length": Column(int, "characters")}

    def measure(self, texts):
        for name in ("hangs", "ended", "slow"):
            try:
                with open(name, "x") as file:
                    file.write(str(os.getppid()))
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL) if name == "ended" else time.sleep(3600)
        return {"length": [len(text) for text in texts]}

class OnGpu(Measure):
    columns = {"vowels": Column(int, "vowels")}
    gpus = 1

    def measure(self, texts):
        with open("gpus", "a") as file:
            file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none") + " ")
        return {"vowels": [sum(text.count(vowel) for vowel in "aeiou") for text in texts]}
'''


def run(program, table, out, *arguments):
    command = [sys.executable, "-c", BUILD + program, json.dumps(table), str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(600)
def test_two_workers_of_a_node_of_ray_make_the_corpus_that_one_process_makes(texts, table_of, is_as_expected, tmp_path):
    run("build()", table_of(texts, name="ray", workers=2), tmp_path / "corpus")
    assert is_as_expected(tmp_path / "corpus")


@pytest.mark.timeout(600)
def test_a_cluster_that_loses_a_node_and_a_process_makes_what_one_process_makes(
    texts, table_of, files_of, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MEASURES)
    measures = {name: {"class": f"mine.py:{kind}"} for name, kind in (("length", "Length"), ("on_gpu", "OnGpu"))}
    port = str(free_port())
    engine = {"name": f"ray://127.0.0.1:{port}", "task_seconds": 30, "task_memory_bytes": 1_500_000_000}
    said = run(THREE_NODES, table_of(texts, **engine) | {"measures": measures}, tmp_path / "corpus", port)
    assert {*(tmp_path / "gpus").read_text().split()} == {"0"}
    again = [line for line in said.splitlines() if "is done again" in line]
    assert len(again) == 3 and any("more than 30 seconds" in line for line in again), said
    alone = table_of(texts, workers=1) | {"measures": measures}
    build_corpus(CorpusSettings.model_validate(alone), tmp_path / "alone", print)
    assert files_of(tmp_path / "corpus") == files_of(tmp_path / "alone")


@pytest.mark.timeout(600)
def test_three_nodes_with_texts_and_work_on_s3_alone_that_fails_make_what_one_process_makes(
    texts, table_of, files_of, corpus_files, s3, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MEASURES)
    measures = {"length": {"class": "mine.py:Length"}}
    port = str(free_port())
    with failing(s3, share=0.05) as (address, did):
        for name, value in credentials_for(address).items():
            monkeypatch.setenv(name, value)
        store = fsspec.filesystem("s3")
        for bucket in ("texts", "made"):
            store.mkdir(bucket)
        store.put([str(path) for path in texts.iterdir()], "texts/")
        engine = {"name": f"ray://127.0.0.1:{port}", "task_seconds": 30, "task_memory_bytes": 1_500_000_000}
        table = table_of("s3://texts", **engine, store="s3://made/corpus") | {"measures": measures}
        said = run(THREE_NODES, table, tmp_path / "corpus", port)
        assert min(did[fault] for fault in ("503", "reset", "late reset")) >= 5, did
        assert "lost a node" in said
        alone = table_of("s3://texts", workers=1) | {"measures": measures}
        build_corpus(CorpusSettings.model_validate(alone), tmp_path / "alone", print)
        assert corpus_files(tmp_path / "corpus") == files_of(tmp_path / "alone")
        assert sorted(files_of(tmp_path / "corpus")) == ["files.parquet", "manifest.json"]
