"""Write a run file that tunes a run on conversations, so that every setting of it can be seen and changed."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from headwater.core.config import Table
from headwater.core.conversations import messages_of
from headwater.core.errors import ConfigError, DataError
from headwater.core.files import write_text
from headwater.core.numbers import plural
from headwater.corpus.document import Document, Drop
from headwater.corpus.read.source import read_source
from headwater.corpus.sources.settings import CONVERSATIONS, CorpusSettings, SourceSettings
from headwater.export.base.facts import BaseFacts, facts_of, is_foreign
from headwater.export.base.tokenizer import tokenizer_of
from headwater.runfile.given import Given, Override
from headwater.runfile.paths import Say
from headwater.runfile.run_config import config_of_text, run_folder
from headwater.runs.library.new import check_name, run_file
from headwater.runs.library.shift import config_of_base, corpus_like, run_of
from headwater.tokens.tokenizer.conversation import render
from headwater.tokens.tokenizer.tokenizer import Tokenizer

SOURCE = "conversations"
ROWS_OF_BATCH = 8
MIN_STEPS, EPOCHS = 60, 2
"Sixty steps teach a small model the form and its new tokens (docs/log.md, 2026-11-29); of much text two epochs do."
MOST_EPOCHS = 16
"Those of InstructGPT (arXiv:2203.02155); LIMA has 15 (arXiv:2305.11206), and our own measurements 12 (docs/log.md)."
LR, LR_OF_NEW_TOKENS = 3e-4, 3e-3
MAX_SEQ_LEN = 512
_AT_ONCE = 1000


@dataclass
class FoundConversations:
    """What files of conversations hold: those that can be learned from, and by reason those that can't."""

    num_kept: int = 0
    num_characters: int = 0
    num_tokens: int = 0
    num_targets: int = 0
    num_long: int = 0
    longest: int = 0
    dropped: dict[str, tuple[int, str]] = field(default_factory=dict)  # how many, and the first

    def documents(self, pieces: Iterable[Document | Drop]) -> Iterator[Document]:
        """Yield the documents, and count what can't be learned from."""
        for piece in pieces:
            if isinstance(piece, Document):
                yield piece
            else:
                number, first = self.dropped.get(piece.reason, (0, ": ".join(filter(None, (piece.id, piece.because)))))
                self.dropped[piece.reason] = number + piece.num_documents, first

    @property
    def learned(self) -> float:
        """The part of the tokens that is learned."""
        return self.num_targets / self.num_tokens

    @property
    def reasons(self) -> list[str]:
        return [f"{number:,} {reason}: {example}" for reason, (number, example) in self.dropped.items()]

    def __str__(self) -> str:
        tokens = f"{self.num_tokens:,} tokens, {self.num_targets:,} of them learned"
        return "; ".join([f"{plural(self.num_kept, 'conversation')}, {tokens}", *self.reasons])


class TuningSizes(NamedTuple):
    """Tokens of a row, steps, and how often the conversations are read in them."""

    seq_len: int
    num_steps: int
    epochs: float


def choose_sizes(found: FoundConversations, seq_len: int, share: float) -> TuningSizes:
    """Return sizes for a base that reads `seq_len` tokens; `share` of the loss is text of before."""
    if seq_len > MAX_SEQ_LEN:  # a public base reads far more at once than most conversations have
        seq_len = min(seq_len, max(MAX_SEQ_LEN, 1 << (found.longest - 1).bit_length()))
    of_rows = (1 - share) / (1 - share + share * found.learned)
    tokens_of_step = ROWS_OF_BATCH * seq_len * of_rows
    num_steps = max(MIN_STEPS, math.ceil(EPOCHS * found.num_tokens / tokens_of_step))
    return TuningSizes(seq_len, num_steps, num_steps * tokens_of_step / found.num_tokens)


def write_tuning_file(
    base: str | Path,
    paths: list[str],
    name: str | None,
    share: float,
    say: Say,
    overrides: Sequence[str | Override] = (),
) -> Path:
    """Write the run file that tunes a run, or a public base, and return its path; the same file may be there.

    `overrides` are settings of the file in place of those that it would have.

    Raises DataError where no conversation can be learned from, ConfigError where the file says something else.
    """
    base_path = Path(base) if is_foreign(Path(base)) else run_folder(str(base))
    name = name or f"{base_path.resolve().name.removesuffix('.gguf')}-sft"
    path = Path(f"{name}.toml")
    check_name(name)
    if not 0 <= share < 1:
        raise ConfigError(f"replay={share:g}: give the share of the loss that is text of before, 0 to below 1")
    facts = facts_of(str(base_path))
    found = find_conversations(paths, tokenizer_of(facts), facts.model.seq_len)
    replayed = run_of(facts) if share else None
    sizes = choose_sizes(found, facts.model.seq_len, share if replayed else 0.0)
    given = reduce(Given.with_override, overrides, Given())
    if isinstance(num_steps := given.get("train.num_steps"), int):
        sizes = sizes._replace(num_steps=num_steps, epochs=sizes.epochs * num_steps / sizes.num_steps)
    why, tables = _run_file(
        name, facts, paths, found, sizes, {"run": str(replayed), "share": share} if replayed else {}
    )
    text = run_file(why, dict(reduce(Given.with_override, overrides, Given(tables)).table))
    if path.exists() and not _says(path, text):
        raise ConfigError(
            f"{path} exists already and has other settings; `headwater run {path}` runs it, or give another --name"
        )
    config_of_text(text)  # a setting that can't be is named before anything is written
    say(f"found {found}")
    if sizes.epochs > MOST_EPOCHS:
        say(
            f"{sizes.epochs:.1f} epochs of {plural(found.num_kept, 'conversation')}: nobody has measured what more "
            f"than {MOST_EPOCHS} are good for, and the model may repeat them word for word. Give more conversations, "
            f"or lower train.num_steps in {path} and try the answers"
        )
    if not path.exists():
        write_text(path, text)
    return path


def _run_file(
    name: str,
    base: BaseFacts,
    paths: list[str],
    found: FoundConversations,
    sizes: tuple[int, int, float],
    replay: Table,
) -> tuple[list[str], Table]:
    """Return the comments and the tables of a run file."""
    seq_len, num_steps, epochs = sizes
    is_own = base.kind == "checkpoint"
    high = LR_OF_NEW_TOKENS if is_own else LR
    corpus, quarter = corpus_like(config_of_base(base)), max(1, num_steps // 4)
    longest = math.ceil(seq_len * found.num_characters / found.num_tokens)
    corpus["sources"] = {SOURCE: {"kind": CONVERSATIONS, "paths": paths, "max_characters": longest}}
    why = [
        f"Tunes {base.path} on {found}",
        f"{epochs:.1f} epochs of the conversations",
        f"max_characters are about {seq_len} tokens, which the model reads at once; {found.num_long:,} have more",
        f"AdamW at {LR:g}, embedding and head "
        + ("at ten times that: tokens around messages are new to the base" if is_own else "alike"),
        "half_length_fraction is 0: half a row would cut conversations",
        f"Everything that isn't set here comes from the base or a rule: headwater explain {name}.toml",
    ]
    if replay:
        why.append(
            "Text of before is replayed, so that it isn't forgotten. Its share is of the loss: of a conversation only "
            f"{found.learned:.0%} of the tokens are learned, so that it has more of the rows"
        )
    steps = {"num_steps": num_steps, "batch_tokens": ROWS_OF_BATCH * seq_len, "half_length_fraction": 0.0}
    rates = {"matrix_lr": LR, "embedding_lr": high, "head_lr": high, "vector_lr": LR}
    return (
        why,
        {"name": name, "init": {"from": base.path}, "corpus": corpus}
        | ({"replay": replay} if replay else {})
        | {
            "model": {"seq_len": seq_len},
            "optim": {"name": "adamw", **rates, "weight_decay": 0.0},
            "schedule": {"name": "linear"},
            "train": {**steps, "save_every": quarter, "validate_every": quarter, "num_probes": 3},
        },
    )


def _says(path: Path, text: str) -> bool:
    """Return whether a run file has the settings of this one, whatever its comments are."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) == tomllib.loads(text)
    except ValueError:
        return False


def find_conversations(paths: list[str], tokenizer: Tokenizer, seq_len: int) -> FoundConversations:
    """Read files of conversations; raise DataError where none can be learned from, with the reasons."""
    found = FoundConversations()
    settings = CorpusSettings(sources={SOURCE: SourceSettings.model_validate({"kind": CONVERSATIONS, "paths": paths})})
    every = found.documents(read_source(SOURCE, settings))
    while documents := list(islice(every, _AT_ONCE)):
        texts = [messages_of(document.text) for document in documents]
        for messages, each in zip(texts, render(tokenizer, texts), strict=True):
            found.longest = max(found.longest, len(each.ids) + 1)
            if len(each.ids) + 1 > seq_len:
                found.num_long += 1
                continue
            found.num_kept += 1
            found.num_characters += sum(len(content) for _, content in messages)
            found.num_tokens += len(each.ids) + 2
            found.num_targets += int(each.is_target.sum())
    if not found.num_kept:
        too_long = f"{found.num_long:,} longer than the {seq_len} tokens that the base reads at once"
        reasons = [*found.reasons, *([too_long] if found.num_long else [])]
        raise DataError("\n  ".join([f"no conversation in {', '.join(paths)} can be learned from:", *reasons]))
    return found
