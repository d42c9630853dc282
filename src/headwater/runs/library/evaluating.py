"""A run's model measured on what people name: tasks of lm-evaluation-harness, and text of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from headwater.core.errors import ConfigError, DataError, EvaluationError, HeadwaterError
from headwater.corpus.sources.size import files_below
from headwater.evaluate.baselines import MAX_SCORED_BYTES, baselines_of_streams
from headwater.evaluate.bits_per_byte import TextMeasure, measure_text, stream_of
from headwater.evaluate.scorer import Scorer
from headwater.evaluate.tasks import TaskScore, write_task_files
from headwater.runfile.paths import Say, read_kept, write_kept
from headwater.runfile.run_config import RunConfig
from headwater.runs.finish import open_evaluator, real_stores
from headwater.runs.loading import load_for_evaluation
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.train.checkpoint.layout import checkpoint_of, step_of
from headwater.train.checkpoint.verify import model_digest

TASKS = "tasks.json"


@dataclass(frozen=True)
class TaskScores:
    """What a run's newest weights scored, task after task; `model` is their digest."""

    model: str
    scores: list[TaskScore]


def evaluate_tasks(config: RunConfig, tasks: Sequence[str], is_chat: bool, limit: int | None) -> list[TaskScore]:
    """Return the scores of tasks, each a folder of task files or a name that lm-eval knows, and keep them with the run.

    `is_chat` asks as a user does. With a `limit` nothing is kept.
    """
    try:
        harness = import_module("headwater.evaluate.harness")
    except ImportError as error:
        raise ConfigError(
            f"tasks are run by lm-eval, which isn't here ({error}): pip install 'headwater[eval]'"
        ) from None
    folders = [name for name in tasks if Path(name).is_dir()]
    _require_offline()
    checkpoint = checkpoint_of(config.run_dir)  # a run that trains may have a newer one by the end
    digest = model_digest(checkpoint)
    with load_for_evaluation(config, step_of(checkpoint)) as (model, _):
        harness_model = harness.HarnessModel(Scorer(model), Tokenizer.load(config.folders.tokenizer), is_chat)
        scores: list[TaskScore] = harness.run_tasks(
            harness_model, folders, [name for name in tasks if name not in folders], limit
        )
    if limit is None:  # beside the run's evaluation, with those of other tasks and the same weights
        path, scored = config.run_dir / TASKS, {each.task for each in scores}
        kept = read_kept(path, TaskScores)
        others = [each for each in kept.scores if each.task not in scored] if kept and kept.model == digest else []
        write_kept(path, TaskScores(digest, others + scores))
    return scores


def _require_offline() -> None:
    """Raise EvaluationError where what lm-eval reads its data by was not told to stay offline."""
    hub, data = import_module("huggingface_hub.constants"), import_module("datasets.config")
    if not (hub.HF_HUB_OFFLINE and hub.HF_HUB_DISABLE_TELEMETRY and data.HF_DATASETS_OFFLINE):
        raise EvaluationError(
            "tasks are read from this disk alone: set HF_HUB_OFFLINE=1, HF_DATASETS_OFFLINE=1 and "
            "HF_HUB_DISABLE_TELEMETRY=1 before Python starts; `headwater evaluate --tasks` sets them"
        )


def write_tasks(config: RunConfig, folder: Path) -> list[str]:
    """Write the run's probes as task files of lm-eval and return the tasks' names."""
    probes = open_evaluator(config).probe_items
    if not probes:
        raise EvaluationError(f"{config.run_dir} has no probes: its held-out text is too short to make any of")
    return write_task_files(folder, config.name, probes)


@dataclass(frozen=True)
class TextResult:
    """What a model and simpler ones make of a text, in bits per byte; `baselines` is empty where they don't fit."""

    measure: TextMeasure
    baselines: dict[str, float]


def evaluate_text(config: RunConfig, path: Path, say: Say) -> TextResult:
    """Return bits per byte of a file, or of all files of a folder, each a document of UTF-8.

    Raises DataError for what can't be read as such.
    """
    texts, tokenizer = read_texts(path), Tokenizer.load(config.folders.tokenizer)
    with load_for_evaluation(config) as (model, _):
        measure = measure_text(Scorer(model), tokenizer, texts)
    baselines: dict[str, float] = {}
    try:
        training = real_stores(config, "train") if measure.num_bytes <= MAX_SCORED_BYTES else []
        if training:
            baselines, _ = baselines_of_streams(training, [stream_of(tokenizer, texts)], tokenizer)
    except (HeadwaterError, OSError, MemoryError) as error:
        say(f"the baselines are not measured: {error or 'not enough memory'}")
    return TextResult(measure, baselines)


def read_texts(path: Path) -> list[str]:
    """Return the text of a file, or of each file of a folder but hidden ones, in the order of their names."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return [_read(Path(each)) for each in sorted(files_below(str(path.absolute())))]


def _read(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}; give plain text alone, and convert "
            "other encodings (iconv -f latin1 -t utf-8)"
        ) from None
