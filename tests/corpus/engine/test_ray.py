"""Three nodes of Ray on this machine: a node lost, a process ended, a task over its time, a measure that wants a GPU.

`make test-post` runs it, in the environment that has Ray.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from many_ranks import free_port

from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings

pytest.importorskip("ray")

# in a process of its own: Ray starts threads and servers that warn of themselves when pytest ends
PROGRAM = """
import json, os, signal, sys, threading, time
from pathlib import Path
import psutil
from ray.cluster_utils import Cluster
from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings

table, out, memory = json.loads(sys.argv[1]), Path(sys.argv[2]), 2_000_000_000
port = int(table["engine"]["name"].rpartition(":")[2])
store = {"object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "ray_client_server_port": port, **store})
nodes = [cluster.add_node(num_cpus=1, memory=memory, num_gpus=gpus, **store) for gpus in (0, 1, 1)]

def lose_the_node_that_hangs():
    while not (Path("hangs").exists() and (pid := Path("hangs").read_text())):
        time.sleep(0.05)
    parents = [parent.pid for parent in psutil.Process(int(pid)).parents()]
    [node] = [node for node in nodes if {each.process.pid for each in node.all_processes["raylet"]} & set(parents)]
    cluster.remove_node(node, allow_graceful=False)
    print("lost a node", flush=True)

threading.Thread(target=lose_the_node_that_hangs, daemon=True).start()
build_corpus(CorpusSettings.model_validate(table), out, lambda line: print(line, flush=True))
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
                    file.write(str(os.getpid()))
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_that_loses_a_node_and_a_process_makes_what_one_process_makes(
    texts, table_of, files_of, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MEASURES)
    measures = {name: {"class": f"mine.py:{name}"} for name in ("Length", "OnGpu")}
    engine = {"name": f"ray://127.0.0.1:{free_port()}", "task_seconds": 30, "task_memory_bytes": 1_500_000_000}
    table = table_of(texts, **engine) | {"measures": measures}
    command = [sys.executable, "-c", PROGRAM, json.dumps(table), str(tmp_path / "corpus")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert {*(tmp_path / "gpus").read_text().split()} == {"0"}
    again = [line for line in done.stdout.splitlines() if "is done again" in line]
    assert len(again) == 3 and any("more than 30 seconds" in line for line in again), done.stdout
    alone = table_of(texts, workers=1) | {"measures": measures}
    build_corpus(CorpusSettings.model_validate(alone), tmp_path / "alone", print)
    assert files_of(tmp_path / "corpus") == files_of(tmp_path / "alone")
