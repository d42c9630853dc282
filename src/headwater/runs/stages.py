"""The stages of a run, in order; each is done only when its settings or inputs changed since it was last done.

Every stage's folder has a manifest with the key of what it was made from (settings and digests of its inputs). A stage
with the same key is up to date. Stages after training keep their keys in RUN/stages.json.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.verify import is_whole, read_state
from headwater.corpus.build import build_corpus, corpus_key, discard_work
from headwater.corpus.inputs import corpus_inputs
from headwater.corpus.load import list_sources, read_documents
from headwater.errors import CheckpointError
from headwater.files import is_current, read_manifest_or_none, remove_leftovers, require_writable, write_json
from headwater.optim.rules import Reason
from headwater.outputs import end_work
from headwater.records import no_owner, read_records
from headwater.runs.paths import Folders, Require, Say, read_json_or_none, stage_digest
from headwater.runs.run_config import RunConfig, config_record
from headwater.tokenizer.tokenizer import Tokenizer
from headwater.tokenizer.train import tokenizer_key, train_tokenizer
from headwater.tokens.build import build_tokens, tokens_key
from headwater.train.identity import TrainPlan, require_same

@dataclass
class Timings:
    """Seconds each stage took in this call, and which one is under way; a stage that was up to date has no seconds."""

    seconds: dict[str, float] = field(default_factory=dict)
    under_way: str | None = None

    def begin(self, stage: str) -> None:
        self.under_way = stage

    def measure(self, stage: str, started_at: float) -> None:
        self.seconds[stage] = round(time.perf_counter() - started_at, 2)


def prepare_data(config: RunConfig, say: Say, timings: Timings, require_owner: Require = no_owner) -> None:
    """Bring corpus, tokenizer and tokens up to date; call it holding the run folder's lock.

    Raises CheckpointError, before anything is written, when the run has been trained on other data or settings; what
    `require_owner` raises, before a stage is committed, when another process has taken the run over.
    """
    folders = Folders(config.run_dir)
    require_settings_of_checkpoint(config)
    require_writable(folders.run)
    require_owner()  # what another owner is writing looks like leftovers
    tidy(folders)
    timings.begin("corpus")
    build_corpus_stage(config, say, timings, require_owner)
    corpus_digest = stage_digest(folders.corpus)

    timings.begin("tokenizer")
    started_at = time.perf_counter()
    key = tokenizer_key(config.tokenizer, corpus_digest)
    if not _is_current(folders, folders.tokenizer, key):
        train_tokenizer(training_texts(folders.corpus), config.tokenizer, folders.tokenizer, key, say, require_owner)
        timings.measure("tokenizer", started_at)

    timings.begin("tokens")
    started_at = time.perf_counter()
    key = tokens_key(corpus_digest, stage_digest(folders.tokenizer))
    if _is_current(folders, folders.tokens, key):
        end_work(folders.tokens)
    else:
        rebuild_tokens(config, say, require_owner)
        timings.measure("tokens", started_at)


def rebuild_tokens(config: RunConfig, say: Say, require_owner: Require = no_owner) -> None:
    """Encode the corpus, in place of the tokens that are there; the same corpus and tokenizer give the same bytes."""
    folders = Folders(config.run_dir)
    key = tokens_key(stage_digest(folders.corpus), stage_digest(folders.tokenizer))
    build_tokens(folders.corpus, Tokenizer.load(folders.tokenizer), folders.tokens, key, say, require_owner)


def tidy(folders: Folders) -> None:
    """Remove what a killed process left half-written in a run folder; call it holding the folder's lock."""
    for folder in (folders.run, folders.data, folders.run / "checkpoints", folders.hf.parent, folders.hf):
        remove_leftovers(folder)


def is_prepared(config: RunConfig) -> bool:
    """Return whether the run's tokens are those of its settings and of its text as it is now; nothing is written."""
    folders = Folders(config.run_dir)
    corpus, tokenizer = stage_digest(folders.corpus), stage_digest(folders.tokenizer)
    return (
        is_current(folders.corpus, corpus_key(config.corpus, corpus_inputs(config.corpus)))
        and is_current(folders.tokenizer, tokenizer_key(config.tokenizer, corpus))
        and is_current(folders.tokens, tokens_key(corpus, tokenizer))
    )


def build_corpus_stage(
    config: RunConfig, say: Say, timings: Timings, require_owner: Require = no_owner
) -> dict[str, Any]:
    """Bring the corpus up to date and return its manifest."""
    started_at = time.perf_counter()
    folders = Folders(config.run_dir)
    inputs = corpus_inputs(config.corpus)
    if _is_current(folders, folders.corpus, corpus_key(config.corpus, inputs)):
        discard_work(folders.corpus)
        return read_manifest_or_none(folders.corpus)
    manifest = build_corpus(config.corpus, folders.corpus, say, require_owner, inputs)
    timings.measure("corpus", started_at)
    return manifest


def _is_current(folders: Folders, stage: Path, key: str) -> bool:
    """Return whether a data stage is up to date; raise CheckpointError where it isn't and a model was trained on it."""
    if is_current(stage, key):
        return True
    # a stage that was removed is built again: the same text and settings give the same bytes
    if read_manifest_or_none(stage).get("key") is not None and list_checkpoints(folders.run):
        raise CheckpointError(
            f"{stage} is what the checkpoints of {folders.run} were trained on, and its text or settings (or "
            "headwater's own rules) have changed since; put them back, give the new run another name (name=…), or "
            f"remove {folders.run} to train afresh"
        )
    return False


def train_plan(config: RunConfig) -> TrainPlan:
    return TrainPlan(
        config.seed, config.mixture, config.model, config.optim, config.schedule, config.train, config.machine
    )


def require_settings_of_checkpoint(config: RunConfig) -> None:
    """Raise CheckpointError when the run's newest checkpoint was trained with other settings than these."""
    for _, path in list_checkpoints(config.run_dir)[:1]:
        try:
            saved = read_state(path)["identity"]
        except (CheckpointError, KeyError):
            return  # damaged: training says so, and resumes from the one before it
        require_same(path, saved, train_plan(config).identity())


def training_texts(corpus_dir: Path) -> dict[str, Any]:
    """Return {source: iterator of its training texts}."""
    return {
        source: (document.text for document in read_documents(corpus_dir, "train", source))
        for source in list_sources(corpus_dir)
    }


def write_config(config: RunConfig, reasons: list[Reason], require_owner: Require = no_owner) -> None:
    """Write config.json, unless the same is there already.

    Raises CheckpointError when the run was trained with other settings: config.json says how to read its checkpoints.
    """
    require_settings_of_checkpoint(config)
    path, record = config.run_dir / "config.json", config_record(config, reasons)
    if read_json_or_none(path) != record:
        write_json(path, record, require_owner)


def is_trained(config: RunConfig) -> bool:
    """Return whether the run reached its last step, measured it, and still has that checkpoint undamaged."""
    newest = list_checkpoints(config.run_dir)[:1]
    if not newest or newest[0][0] < config.train.num_steps:
        return False
    return bool(read_records(config.run_dir / "records.jsonl", "finish")) and is_whole(newest[0][1])


def final_checkpoint(run_dir: Path) -> Path:
    """Return the newest checkpoint's folder; raise CheckpointError when the run has none."""
    checkpoints = list_checkpoints(run_dir)
    if not checkpoints:
        raise CheckpointError(f"{run_dir} has no checkpoint yet; `headwater run` or `headwater train` makes one")
    return checkpoints[0][1]


class StageKeys:
    """The keys of the stages after training, and the seconds of all stages, in RUN/stages.json.

    A stage makes one when it begins, and `done` takes the time since then.
    """

    def __init__(self, run_dir: Path, require_owner: Require = no_owner) -> None:
        self._path, self._require_owner = run_dir / "stages.json", require_owner
        self._started_at = time.perf_counter()
        keys = read_json_or_none(self._path)
        self._keys: dict[str, Any] = keys if isinstance(keys, dict) else {}

    def is_current(self, stage: str, key: str, output: Path) -> bool:
        return output.exists() and self._keys.get(stage) == key

    def done(self, stage: str, key: str) -> None:
        self._keys[stage] = key
        self.keep_seconds({stage: round(time.perf_counter() - self._started_at, 2)})

    def keep_seconds(self, seconds: dict[str, float]) -> None:
        """Write how long stages took, in place of what they took before."""
        before = self._keys.get("seconds")
        self._keys["seconds"] = {**(before if isinstance(before, dict) else {}), **seconds}
        write_json(self._path, self._keys, self._require_owner)
