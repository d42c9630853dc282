"""Write a run file for a person's own text: sizes chosen from how much text there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.cli.text_found import TextFound, are_pages, find_text, settings_of
from headwater.core.config import Table, to_toml
from headwater.core.errors import ConfigError, DataError
from headwater.core.files import write_text
from headwater.core.numbers import duration, plural
from headwater.core.printable import printable
from headwater.corpus.sources.settings import CorpusSettings
from headwater.corpus.split import LEAST_HELD_OUT, MAX_VALIDATION_BYTES_FRACTION, usual_share
from headwater.plan.hardware import hardware_of
from headwater.plan.scaling.repetition import says_of
from headwater.plan.text_size import useful_epochs
from headwater.plan.times import around_steps
from headwater.runfile.paths import Say
from headwater.runfile.run_config import NAME_RULE, config_of_text, find_recipe, is_run_name
from headwater.tokens.tokenizer.settings import MIN_VOCAB_SIZE
from headwater.tokens.tokenizer.train import try_vocabulary

TRIAL_STEPS = 1000  # of the run whose time is estimated
MIN_PLANNED_STEPS = 20
OF_PAGES = 'most files are HTML: kind = "web" cuts boilerplate and filters far more (docs/corpus.md)'
VALIDATION_FRACTION = CorpusSettings.model_fields["validation_fraction"].default


@dataclass(frozen=True)
class Sizes:
    """What fits an amount of text, and of time where `num_steps` is set for it; `why` are sentences."""

    vocab_size: int
    num_layers: int
    d_model: int
    seq_len: int
    batch_tokens: int
    num_steps: int = TRIAL_STEPS
    why: tuple[str, ...] = ()


def write_run_file(path: Path, name: str, texts: list[str], minutes: float, say: Say) -> Path:
    """Write `path`, a run file that trains on `texts`; raise before writing when they hold nothing to train on."""
    check_new(path, name, texts, minutes)
    found, sample = find_text(texts, settings_of(texts, name=source_name(name)))
    vocab_size, bytes_per_token = choose_vocabulary(sample, found.bytes_left)
    num_tokens = tokens_to_train_on(found, bytes_per_token)
    sizes = choose_sizes(num_tokens, vocab_size)
    model = {"num_layers": sizes.num_layers, "d_model": sizes.d_model, "seq_len": sizes.seq_len}
    tables = {"corpus": source_table(name, texts, num_tokens), "tokenizer": {"vocab_size": vocab_size}, "model": model}
    write_sized(path, name, tables, [], sizes, found, num_tokens, minutes, say)
    return path


def tokens_to_train_on(
    found: TextFound, bytes_per_token: float, held_out_fraction: float = VALIDATION_FRACTION
) -> float:
    return (1 - usual_share(found.num_documents, held_out_fraction)) * found.bytes_left / bytes_per_token


def write_sized(
    path: Path,
    name: str,
    tables: Table,
    why: Sequence[str],
    sizes: Sizes,
    found: TextFound,
    num_tokens: float,
    minutes: float,
    say: Say,
) -> None:
    """Write a run file of these tables, with as many steps as the time allows by an estimate for this machine."""
    try:
        hardware = None
        for _ in range(2):  # what comes between steps depends on their number
            config = config_of_text(_sized_file(name, tables, (), sizes))
            hardware = hardware or hardware_of(config)
            step = hardware.needs(config).step.median
            rest = sum(part.median for part in around_steps(config, step).values())
            sizes = with_steps(sizes, num_tokens, minutes, (step, rest))
    except ConfigError as error:  # a GPU in no table
        say(f"how long a step takes here isn't known, so that the text alone sets their number: {error}")
        sizes = with_steps(sizes, num_tokens, minutes, None)
    notes = [OF_PAGES] if are_pages(found) else []
    if MAX_VALIDATION_BYTES_FRACTION * found.num_documents < LEAST_HELD_OUT:
        notes.append(
            f"of {plural(found.num_documents, 'document')} few can be held out, and the loss of so few says little; "
            "text in more files gives more"
        )
    write_text(path, _sized_file(name, tables, (str(found), *sizes.why, *why, *notes), sizes))
    for line in (f"found {found}; {sizes.why[0]}", sizes.why[1], *why, *notes):
        say(line)


def check_name(name: str) -> None:
    """Raise ConfigError for a name that a run file can't have."""
    if not is_run_name(name):
        raise ConfigError(f"{name!a} can't name a run: {NAME_RULE}")
    if find_recipe(name) is not None:
        raise ConfigError(f"{name} is a recipe's name, and `headwater run {name}` would take that; choose another name")


def check_new(path: Path, name: str, texts: list[str], minutes: float) -> None:
    check_name(name)
    if not 0 < minutes < math.inf:
        raise ConfigError(f"--minutes {minutes:g}: give a number above zero")
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another name or remove it")
    for text in texts:
        if text.encode(errors="replace").decode() != text:
            raise ConfigError(f"a run file is UTF-8 and can't name {text!a}; rename it, or name the folder it is in")
    if missing := [text for text in texts if not Path(text).exists()]:
        raise DataError(f"no such file or folder: {', '.join(missing)}")


def choose_vocabulary(sample: list[str], num_bytes: float) -> tuple[int, float]:
    """Return a size of vocabulary that this much text fills, and the bytes that a token has, measured on a sample."""
    wanted = min(8192, max(512, 2 ** int(math.log2(num_bytes / 400))))
    filled, bytes_per_token = try_vocabulary(sample, wanted)
    if filled < wanted:  # and what is held out or dropped fills nothing
        wanted = max(MIN_VOCAB_SIZE, int(0.9 * filled) // 64 * 64)
        _, bytes_per_token = try_vocabulary(sample, wanted)
    return wanted, bytes_per_token


def choose_sizes(num_tokens: float, vocab_size: int) -> Sizes:
    """Return sizes of a model and of its steps for a text of so many tokens."""
    num_layers = 4 if num_tokens > 3e5 else 3 if num_tokens > 5e4 else 2
    seq_len = 256 if num_tokens > 1e5 else 128
    return Sizes(
        vocab_size=vocab_size,
        num_layers=num_layers,
        d_model=64 * min(num_layers, 3),
        seq_len=seq_len,
        batch_tokens=seq_len * (32 if num_tokens > 1e6 else 16 if num_tokens > 5e4 else 8),
    )


def with_steps(sizes: Sizes, num_tokens: float, minutes: float, here: tuple[float, float] | None) -> Sizes:
    """Return the sizes with as many steps as the time allows, and no more epochs than still teach something.

    `here` has the seconds of a step and of all else; None where they aren't known.
    """
    params = sizes.num_layers * 12 * sizes.d_model**2 + 2 * sizes.vocab_size * sizes.d_model
    useful = useful_epochs(params, num_tokens, sizes.batch_tokens)
    most = useful * num_tokens / sizes.batch_tokens
    affordable = math.inf if here is None else (60 * minutes - here[1]) / here[0]
    num_steps = max(MIN_PLANNED_STEPS, int(min(affordable, most)))
    takes = "" if here is None else f", about {duration(here[1] + num_steps * here[0])} here"
    if num_steps == MIN_PLANNED_STEPS:
        longer = f", longer than --minutes {minutes:g} asks for" if affordable < num_steps else ""
        limit = f"{num_steps}, the fewest that teach anything{takes}{longer}"
    elif affordable < most:
        limit = f"what --minutes {minutes:g} allow on this machine, by an estimate"
    else:
        limit = f"as many as still teach something of this text{takes}: {says_of(useful)}"
    epochs = num_steps * sizes.batch_tokens / num_tokens
    tokens = f"about {num_tokens:,.0f} tokens to train on (fewer if there are near copies)"
    reads = f"{tokens}; {num_steps} steps, {epochs:.1f} epochs"
    return replace(sizes, num_steps=num_steps, why=(reads, f"num_steps is {limit}"))


def _sized_file(name: str, tables: Table, why: Sequence[str], sizes: Sizes) -> str:
    comments = (
        *why,
        "The source's num_tokens are an estimate, for plans until the text is built",
        f"Training ends after num_steps, however long they take. For a forecast: headwater plan {name}.toml",
        f"Everything not set here comes from a rule: headwater explain {name}.toml",
    )
    train = {"num_steps": sizes.num_steps, "batch_tokens": sizes.batch_tokens} | tables.get("train", {})
    return run_file(comments, {"name": name} | tables | {"train": train})


def run_file(comments: Sequence[str], tables: Table) -> str:
    """Return a run file of these tables, with comments at its head."""
    return "".join(f"# {printable(comment)}\n" for comment in comments) + f"\n{to_toml(tables)}"


def source_table(name: str, texts: list[str], num_tokens: float) -> Table:
    """Return the [corpus] of a source of these files and folders, which give about so many tokens."""
    paths = [str(Path(text)) for text in texts]
    return {"sources": {source_name(name): {"kind": "text", "paths": paths, "num_tokens": max(1, round(num_tokens))}}}


def source_name(name: str) -> str:
    kept = "".join(character if character.isalnum() and character.isascii() else "_" for character in name)
    kept = kept.strip("_")
    return "text" if kept in ("", "all") else kept
