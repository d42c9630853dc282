from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest

from headwater.core.errors import ConfigError
from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")

# in a process of its own: Ray starts threads and servers that warn of themselves when pytest ends
PROGRAM = """
import json, sys
from pathlib import Path
from headwater.corpus.build import build_corpus
from headwater.corpus.sources.settings import CorpusSettings
print(build_corpus(CorpusSettings.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2]), sys.stderr.write)["digest"])
"""


def table_for(folder, **engine):
    return {"sources": {"mine": {"paths": [str(folder)]}}, "task_bytes": 1000, "engine": engine}


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    chance = random.Random(0)
    for number in range(6):
        lines = [" ".join(chance.choices(["river", "stone", "cloud", "garden"], k=70)) for _ in range(12)]
        (folder / f"{number}.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in lines))
    return folder


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_of_a_node_make_the_corpus_that_one_process_makes(texts, tmp_path):
    expected = build_corpus(
        CorpusSettings.model_validate(table_for(texts, workers=1)), tmp_path / "expected", lambda line: None
    )
    table = json.dumps(table_for(texts, name="ray", workers=2))
    command = [sys.executable, "-c", PROGRAM, table, str(tmp_path / "corpus")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == expected["digest"]


def test_an_address_where_nothing_answers_is_reported(texts, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise ConnectionError("ray client connection timeout")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=refuse))
    settings = CorpusSettings.model_validate(table_for(texts, name="ray://nowhere:10001"))
    with pytest.raises(
        ConfigError, match=r"no Ray cluster answers at ray://nowhere:10001 \(ray client connection timeout"
    ):
        build_corpus(settings, tmp_path / "corpus", lambda line: None)


def test_without_ray_the_error_says_what_to_install(texts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install headwater\[ray\]"):
        build_corpus(
            CorpusSettings.model_validate(table_for(texts, name="ray")), tmp_path / "corpus", lambda line: None
        )
