"""The stages of a run, in order; each is done only when its settings or inputs changed since it was last done.

Every stage's folder has a manifest with the key of what it was made from (settings and digests of its inputs). A stage
with the same key is up to date. Stages after training keep their keys in RUN/stages.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import list_checkpoints
from headwater.corpus.build import build_corpus, corpus_key
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.load import list_sources, read_documents
from headwater.errors import CheckpointError, ConfigError
from headwater.files import (
    is_current,
    read_json,
    read_manifest_or_none,
    remove_leftovers,
    require_writable,
    write_json,
)
from headwater.optim.rules import Reason
from headwater.recipes.run_config import RunConfig, config_record
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokenizer.train import tokenizer_key, train_tokenizer
from headwater.tokens.build import build_tokens, tokens_key

EVALUATION_VERSION, EXPORT_VERSION, REPORT_VERSION = 1, 1, 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Folders:
    """Where a run's stages lie."""

    run: Path

    @property
    def corpus(self) -> Path:
        return self.run / "data" / "corpus"

    @property
    def tokenizer(self) -> Path:
        return self.run / "data" / "tokenizer"

    @property
    def tokens(self) -> Path:
        return self.run / "data" / "tokens"

    @property
    def hf(self) -> Path:
        return self.run / "export" / "hf"


@dataclass
class Timings:
    """Seconds each stage took in this call; a stage that was up to date has none."""

    seconds: dict[str, float] = field(default_factory=dict)

    def measure(self, stage: str, started_at: float) -> None:
        self.seconds[stage] = round(time.perf_counter() - started_at, 2)


def prepare_data(config: RunConfig, say: Say, timings: Timings) -> None:
    """Bring corpus, tokenizer and tokens up to date; call it holding the run folder's lock."""
    folders = Folders(config.run_dir)
    require_writable(folders.run)
    remove_leftovers(folders.run / "data")
    build_corpus_stage(config, say, timings)
    corpus_digest = _digest(folders.corpus)

    started_at = time.perf_counter()
    key = tokenizer_key(config.tokenizer, corpus_digest)
    if not is_current(folders.tokenizer, key):
        train_tokenizer(training_texts(folders.corpus), config.tokenizer, folders.tokenizer, key, say)
        timings.measure("tokenizer", started_at)

    started_at = time.perf_counter()
    key = tokens_key(corpus_digest, _digest(folders.tokenizer))
    if not is_current(folders.tokens, key):
        build_tokens(folders.corpus, Tokenizer.load(folders.tokenizer), folders.tokens, key, say)
        timings.measure("tokens", started_at)


def build_corpus_stage(config: RunConfig, say: Say, timings: Timings) -> dict[str, Any]:
    started_at = time.perf_counter()
    folder = Folders(config.run_dir).corpus
    key = corpus_key(config.corpus, corpus_inputs(config.corpus))
    if is_current(folder, key):
        return read_manifest_or_none(folder)
    manifest = build_corpus(config.corpus, folder, say)
    timings.measure("corpus", started_at)
    return manifest


def training_texts(corpus_dir: Path) -> dict[str, Any]:
    """Return {source: iterator of its training texts}."""
    return {
        source: (document.text for document in read_documents(corpus_dir, "train", source))
        for source in list_sources(corpus_dir)
    }


def _digest(folder: Path) -> str:
    return str(read_manifest_or_none(folder).get("digest"))


def write_config(config: RunConfig, reasons: list[Reason]) -> None:
    """Write config.json, unless the same is there already."""
    path, record = config.run_dir / "config.json", config_record(config, reasons)
    if not path.exists() or read_json(path) != record:
        write_json(path, record)


def is_trained(config: RunConfig) -> bool:
    newest = list_checkpoints(config.run_dir)[:1]
    return bool(newest) and newest[0][0] >= config.train.num_steps


def final_checkpoint(run_dir: Path) -> Path:
    """Return the newest checkpoint's folder; raise CheckpointError when the run has none."""
    checkpoints = list_checkpoints(run_dir)
    if not checkpoints:
        raise CheckpointError(f"{run_dir} has no checkpoint yet; `headwater run` or `headwater train` makes one")
    return checkpoints[0][1]


class StageKeys:
    """The keys of the stages after training, in RUN/stages.json."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "stages.json"
        self._keys: dict[str, str] = read_json(self._path) if self._path.exists() else {}

    def is_current(self, stage: str, key: str, output: Path) -> bool:
        return output.exists() and self._keys.get(stage) == key

    def done(self, stage: str, key: str) -> None:
        self._keys[stage] = key
        write_json(self._path, self._keys)


def require_run_dir(run_dir: Path) -> None:
    if not run_dir.is_dir():
        raise ConfigError(f"no such run folder: {run_dir}; runs made here lie in runs/")
