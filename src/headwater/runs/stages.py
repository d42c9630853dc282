"""The stages of a run, in order; each is done only when its settings or inputs changed since it was last done.

Every stage's folder has a manifest with the key of what it was made from (settings and digests of its inputs). A stage
with the same key is up to date. Stages after training keep their keys in RUN/stages.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from headwater.checkpoint.layout import list_checkpoints
from headwater.checkpoint.verify import is_whole, read_state
from headwater.corpus.build import build_corpus, corpus_key, discard_work
from headwater.corpus.inputs import changed_inputs, corpus_inputs
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


def prepare_data(config: RunConfig, say: Say, require_owner: Require = no_owner) -> dict[str, float]:
    """Bring corpus, tokenizer and tokens up to date; return the seconds of those that were made.

    Call it holding the run folder's lock. Raises CheckpointError, before anything is written, when the run has been
    trained on other data or settings; what `require_owner` raises, before a stage is committed, when another process
    has taken the run over.
    """
    folders = Folders(config.run_dir)
    require_settings_of_checkpoint(config)
    require_writable(folders.run)
    require_owner()  # what another owner is writing looks like leftovers
    tidy(folders)
    seconds = {}
    for name, stage in {"corpus": build_corpus_stage, "tokenizer": _tokenizer_stage, "tokens": _tokens_stage}.items():
        started_at = time.perf_counter()
        with named_if_stopped(name):
            if stage(config, say, require_owner):
                seconds[name] = round(time.perf_counter() - started_at, 2)
    if seconds:
        StageKeys(config.run_dir, require_owner).keep_seconds(seconds)
        say("prepared " + ", ".join(f"{stage} in {taken:.1f} s" for stage, taken in seconds.items()))
    return seconds


@contextmanager
def named_if_stopped(stage: str) -> Iterator[None]:
    """Note on a KeyboardInterrupt which stage it stopped."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(f"the stage {stage} was stopped before its end")
        raise


def build_corpus_stage(config: RunConfig, say: Say, require_owner: Require = no_owner) -> bool:
    """Bring the corpus up to date; return whether it was built."""
    folders = Folders(config.run_dir)
    inputs = corpus_inputs(config.corpus)
    changed = partial(changed_inputs, config.corpus, folders.corpus, inputs)
    if _is_current(folders, folders.corpus, corpus_key(config.corpus, inputs), changed):
        discard_work(folders.corpus)
        return False
    build_corpus(config.corpus, folders.corpus, say, require_owner, inputs)
    return True


def _tokenizer_stage(config: RunConfig, say: Say, require_owner: Require) -> bool:
    folders = Folders(config.run_dir)
    key = tokenizer_key(config.tokenizer, stage_digest(folders.corpus))
    if _is_current(folders, folders.tokenizer, key):
        return False
    texts = {
        source: (document.text for document in read_documents(folders.corpus, "train", source))
        for source in list_sources(folders.corpus)
    }
    train_tokenizer(texts, config.tokenizer, folders.tokenizer, key, say, require_owner)
    return True


def _tokens_stage(config: RunConfig, say: Say, require_owner: Require) -> bool:
    folders = Folders(config.run_dir)
    if _is_current(folders, folders.tokens, tokens_key(stage_digest(folders.corpus), stage_digest(folders.tokenizer))):
        end_work(folders.tokens)
        return False
    rebuild_tokens(config, say, require_owner)
    return True


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


def _is_current(folders: Folders, stage: Path, key: str, changed: Callable[[], str] = str) -> bool:
    """Return whether a data stage is up to date; raise CheckpointError where it isn't and a model was trained on it.

    `changed` names the inputs that differ, "" for none.
    """
    if is_current(stage, key):
        return True
    # a stage that was removed is built again: the same text and settings give the same bytes
    if read_manifest_or_none(stage).get("key") is not None and list_checkpoints(folders.run):
        what = f"its text ({named})" if (named := changed()) else "its settings (or headwater's own rules)"
        raise CheckpointError(
            f"{stage} is what the checkpoints of {folders.run} were trained on, and {what} changed since; put "
            f"back what it was, give the new run another name (name=…), or remove {folders.run} to train afresh"
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


def write_config(config: RunConfig, reasons: Sequence[Reason], require_owner: Require = no_owner) -> None:
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
