"""How much text a run has, and what each source gives to it: as built, else by the size of its files. No torch."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from headwater.core.files import read_manifest_or_none
from headwater.core.records import table
from headwater.corpus.sources.settings import REPLAYED
from headwater.corpus.sources.size import files_below, source_bytes
from headwater.model.count import count_parameters
from headwater.runfile.paths import of_split
from headwater.runfile.rules import ALMANAC
from headwater.runfile.run_config import RunConfig
from headwater.tokens.batches.mixture import MixturePlan, make_plan
from headwater.tokens.batches.settings import MixtureSettings

TOKEN_BYTES_OF_A_BYTE = 0.62
"The token store over the text read, first-light's (docs/log.md, 2026-11-26): what isn't prepared is taken to be alike."
MUCH_MORE = 1.5  # times the epochs that still teach, from which a plan says so
STEPS_TO_BEGIN, MAX_EPOCHS_TO_BEGIN = 200, 3.5


@dataclass(frozen=True)
class Epochs:
    """How often a run reads each source, {} where some size isn't known, and all tokens over those that differ."""

    by_source: dict[str, float]
    overall: float = 1.0

    @property
    def most(self) -> float:
        return max(self.by_source.values(), default=1.0)


def missing_text(config: RunConfig) -> list[str]:
    """Say of every path of the sources below which no file with text can be read that this is so.

    Nothing once the text is built: a plan may come before its text. Addresses elsewhere are not asked.
    """
    if of_split(config.run_dir, "train") is not None:
        return []
    return [
        f"source {name!r}: no file with text can be read at {path!r} (from {Path.cwd()}); `headwater run` needs it, "
        f"and this plan counts {'nothing of it' if source.num_tokens is None else 'its num_tokens'}"
        for name, source in config.corpus.sources.items()
        for path in source.paths or []
        if "://" not in path
        and not any(os.access(file, os.R_OK) and os.path.getsize(file) for file in files_below(path))
    ]


def usual_bytes_per_token(vocab_size: int) -> float:
    """Return what byte-level BPE reaches on mixed text: about 3.5 at 8,192 ids, a third of a byte more per doubling.

    4.5 at 65,536 is below the 4.8 that nanochat reports on web text alone. A rule of thumb.
    """
    return min(5.0, max(1.5, 3.5 + (math.log2(vocab_size) - 13) / 3))


def token_bytes(config: RunConfig) -> float:
    """Return the bytes of the run's token store; of one that isn't made yet an estimate, 0 for text of unknown size."""
    tokens = config.folders.tokens
    if (tokens / "manifest.json").is_file():
        return float(sum(path.stat().st_size for path in tokens.rglob("*") if path.is_file()))
    return TOKEN_BYTES_OF_A_BYTE * sum(source_bytes(source) or 0.0 for source in config.corpus.sources.values())


def tokens_of(config: RunConfig, split: str) -> dict[str, int]:
    """Return {source: tokens} of "train" or "validation" as built, else as estimated, else by the size of the files.

    Without the sources whose size isn't known.
    """
    built = of_split(config.run_dir, split)
    if built is not None and split == "train":
        built = {name: count for name, count in built.items() if not name.startswith(REPLAYED)}
    if built is not None and (split == "validation" or set(built) == set(config.corpus.sources)):
        return built
    held_out, bytes_per_token = config.corpus.validation_fraction, usual_bytes_per_token(config.model.vocab_size)
    part = 1 if split == "train" else held_out / (1 - held_out)
    found = {
        name: source.num_tokens or (source_bytes(source) or 0.0) * (1 - held_out) / bytes_per_token
        for name, source in config.corpus.sources.items()
    }
    return {name: math.ceil(tokens * part) for name, tokens in found.items() if tokens}


def train_rows(config: RunConfig, tokens: dict[str, int] | None = None) -> dict[str, int]:
    """Return how many rows so many `tokens` of each source make, about as many before they are packed.

    None: those of the run's own sources whose size is known.
    """
    tokens = tokens_of(config, "train") if tokens is None else tokens
    folders, seq_len = config.folders, config.model.seq_len
    packed: dict[str, int] = {}
    if folders.rows.is_dir():
        from headwater.tokens.batches.rows import num_packed  # a plan of text that isn't packed loads no reader of it

        packed = num_packed(folders.tokens, folders.rows, "train", seq_len)
    return {name: packed.get(name, -(-count // seq_len)) for name, count in tokens.items()}


def epochs_of(config: RunConfig) -> Epochs:
    """Return how often a run reads its text, before that is built about.

    Raises ConfigError where the caps of epochs leave fewer tokens than the run needs.
    """
    rows = train_rows(config)
    if set(rows) != set(config.corpus.sources):
        return Epochs({})
    plan = planned(config, rows, config.mixture)
    counts = {name: number for name, number in plan.counts(config.num_rows).items() if name in rows}
    epochs = {name: number for name, number in plan.epochs(config.num_rows).items() if name in rows}
    return Epochs(epochs, sum(counts.values()) / sum(counts[name] / max(1.0, epochs[name]) for name in rows))


def planned(config: RunConfig, own: dict[str, int], mixture: MixtureSettings) -> MixturePlan:
    """Return the plan of a run over about so many rows of its own sources, and all that it replays.

    It is that of the run where its text is packed, and about that where it is built. Else of replayed text nothing but
    its share is known, and conversations are taken to be learned whole. Raises ConfigError as make_plan does.
    """
    tokens, targets = (of_split(config.run_dir, "train", name) or {} for name in ("num_tokens", "num_targets"))
    old = {name: count for name, count in tokens.items() if config.replay is not None and name.startswith(REPLAYED)}
    rows = own | train_rows(config, old)
    replayed = shares_of_replay(config, rows)
    if config.replay is not None and not replayed:
        rows, replayed = rows | {REPLAYED: 10**15}, {REPLAYED: config.replay.share}
    is_all_learned = targets == tokens or not tokens.keys() >= rows.keys()
    return make_plan(rows, mixture, config.num_rows, None if is_all_learned else targets, replayed)


def shares_of_replay(config: RunConfig, rows: dict[str, int]) -> dict[str, float]:
    """Return the share of what a run learns that each replayed source has: as its own run read them."""
    if config.replay is None:
        return {}
    weights = read_manifest_or_none(config.folders.tokens).get("replayed", {}).get("weights", {})
    weights = {name: weight for name, weight in weights.items() if name in rows}
    total = sum(weights.values()) or 1.0
    return {name: config.replay.share * weight / total for name, weight in weights.items()}


def useful_epochs(params: float, unique: float, batch_tokens: float) -> float:
    """Return the most epochs of `unique` tokens that help, as a search over a budget takes them.

    But a run of fewer than 200 steps has hardly begun to learn (docs/log.md, 2026-11-26, texts of 0.14 and 1.2 MB).
    """
    from headwater.plan.scaling.table import most_epochs  # where text is read more than once

    most = most_epochs(params, unique)
    return max(most, min(MAX_EPOCHS_TO_BEGIN, STEPS_TO_BEGIN * batch_tokens / unique))


def notes_of_text(config: RunConfig, epochs: Epochs) -> list[str]:
    """Return notes where epochs are by files or an estimate, and where such a model memorises what it reads so often.

    A source that is built, or packaged, has neither.
    """
    found, sources = list[str](), config.corpus.sources.values()
    if of_split(config.run_dir, "train") is None:
        if any(source.num_tokens is None and source.paths and source_bytes(source) for source in sources):
            found.append("the text isn't built: epochs are of its files as they lie, and more once filters drop some")
        elif any(source.num_tokens for source in sources):
            found.append("the text isn't built: epochs go by num_tokens of its sources, whatever the files hold now")
    if epochs.overall <= 1 or config.is_tuned:  # a form of answering is learned from few of them, read often
        return found
    from headwater.plan.scaling.table import says_of

    params, tokens = count_parameters(config.model).total, config.train.num_steps * config.train.batch_tokens
    useful = useful_epochs(params, tokens / epochs.overall, config.train.batch_tokens)
    if epochs.overall >= MUCH_MORE * useful:
        words = "Use fewer steps, more text or a smaller model; to measure it: `headwater ladder RUN`"
        found.append(f"{epochs.overall:.1f} epochs of this text: {says_of(useful)}. {words}")
    return found


def synthetic_sources(config: RunConfig) -> frozenset[str]:
    """Return the names of the sources that a program composed: what they hold is not real text."""
    replayed = table(read_manifest_or_none(config.folders.tokens), "replayed").get("synthetic", [])
    return frozenset([*(name for name, each in config.corpus.sources.items() if each.builtin in ALMANAC), *replayed])
