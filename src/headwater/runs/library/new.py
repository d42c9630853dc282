"""A run file for a person's own text: sizes by how much of it there is, steps by what this machine does in the time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.core.config import Table, to_toml
from headwater.core.errors import ConfigError, DataError
from headwater.core.files import write_text
from headwater.core.numbers import duration, plural
from headwater.core.printable import printable
from headwater.corpus.split import LEAST_HELD_OUT, MAX_VALIDATION_BYTES_FRACTION, usual_share
from headwater.export.base.facts import BaseFacts, facts_of
from headwater.model.optim.schedule import ScheduleSettings, lr_factor
from headwater.plan.hardware import hardware_of
from headwater.plan.scaling.table import says_of
from headwater.plan.text_size import useful_epochs
from headwater.plan.times import around_steps
from headwater.runfile.paths import Say
from headwater.runfile.run_config import NAME_RULE, config_of_text, find_recipe, is_run_name
from headwater.runs.library import arguments as arg
from headwater.runs.library.arguments import checked, name_of, paths_of
from headwater.runs.library.text_found import TextFound, are_pages, find_text, settings_of
from headwater.tokens.tokenizer.settings import MIN_VOCAB_SIZE
from headwater.tokens.tokenizer.train import try_vocabulary
from headwater.train.checkpoint.layout import step_of

TRIAL_STEPS = 1000  # of the run whose time is estimated
MIN_PLANNED_STEPS = 20
OF_PAGES = 'most files are HTML: kind = "web" cuts boilerplate and filters far more (docs/corpus.md)'
# times the bits per byte of the base's own held-out text: from there rates are warmed up again, or more is replayed
REWARMED_FROM, REPLAYED_MORE_FROM = 1.2, 1.5
REPLAY_NEAR, REPLAY_FAR = 0.05, 0.25  # shares of the tokens
LEAST_RATE = 0.1  # of the peak: where the base's rate ended lower
MAX_SEQ_LEN, ROWS = 512, 8  # of a base that was trained elsewhere


@dataclass(frozen=True)
class RunSizes:
    """What fits an amount of text, and of time where `num_steps` is set for it; `why` are sentences."""

    vocab_size: int
    num_layers: int
    d_model: int
    seq_len: int
    batch_tokens: int
    num_steps: int = TRIAL_STEPS
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draft:
    """A run file for the text that was found, which has so many tokens to train on; `why` are comments at its head."""

    name: str
    tables: Table
    sizes: RunSizes
    found: TextFound
    num_tokens: float
    why: Sequence[str] = ()

    def text(self, *comments: str) -> str:
        """Return the run file."""
        name, sizes = self.name, self.sizes
        comments += (
            "The source's num_tokens are an estimate, for plans until the text is built",
            f"Training ends after num_steps, however long they take. For a forecast: headwater plan {name}.toml",
            f"Everything not set here comes from a rule: headwater explain {name}.toml",
        )
        train = {"num_steps": sizes.num_steps, "batch_tokens": sizes.batch_tokens} | self.tables.get("train", {})
        return run_file(comments, {"name": name} | self.tables | {"train": train})


@checked
def new(
    name: arg.Text,
    text: arg.Paths,
    /,
    base: arg.AnyRun | None = None,
    minutes: arg.Number = 8.0,
    say: arg.Progress = print,
) -> Path:
    """Write NAME.toml, a run file that trains on `text`, into the current folder; return its path. Nothing is trained.

    `text` is a file or a folder, or a list of them. `base` is a model to train on: a run, a checkpoint, a folder of
    Hugging Face or a .gguf file; without one a new model gets sizes that fit the text. `minutes` of training on this
    machine are aimed at, by an estimate. `say` gets lines of what was found and chosen. Raises, before anything is
    written, ConfigError for a name that can't be or is taken, and DataError where there is too little text.

        result = headwater.run(headwater.new("mine", "texts", minutes=5))
    """
    path, texts = Path(f"{name}.toml"), paths_of(text)
    _check(path, name, texts, minutes)
    draft = _of_text(name, texts) if base is None else _from_base(name, name_of(base), texts, say)
    draft = replace(draft, sizes=_with_time(draft, minutes, say))
    found, sizes = draft.found, draft.sizes
    notes = [OF_PAGES] if are_pages(found) else []
    if MAX_VALIDATION_BYTES_FRACTION * found.num_documents < LEAST_HELD_OUT:
        notes.append(
            f"of {plural(found.num_documents, 'document')} few can be held out, and the loss of so few says little; "
            "text in more files gives more"
        )
    write_text(path, draft.text(str(found), *sizes.why, *draft.why, *notes))
    for line in (f"found {found}; {sizes.why[0]}", sizes.why[1], *draft.why, *notes):
        say(line)
    return path


def check_name(name: str) -> None:
    """Raise ConfigError for a name that a run file can't have."""
    if not is_run_name(name):
        raise ConfigError(f"{name!a} can't name a run: {NAME_RULE}")
    if find_recipe(name) is not None:
        raise ConfigError(f"{name} is a recipe's name, and `headwater run {name}` would take that; choose another name")


def _check(path: Path, name: str, texts: list[str], minutes: float) -> None:
    check_name(name)
    if not 0 < minutes < math.inf:
        raise ConfigError(f"minutes={minutes:g}: give a number above zero")
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another name or remove it")
    for text in texts:
        if text.encode(errors="replace").decode() != text:
            raise ConfigError(f"a run file is UTF-8 and can't name {text!a}; rename it, or name the folder it is in")
    if missing := [text for text in texts if not Path(text).exists()]:
        raise DataError(f"no such file or folder: {', '.join(missing)}")


def _of_text(name: str, texts: list[str]) -> Draft:
    """Return the run file of a new model."""
    settings = settings_of(texts, name=source_name(name))
    found, sample = find_text(texts, settings)
    vocab_size, bytes_per_token = choose_vocabulary(sample, found.bytes_left)
    num_tokens = _tokens_to_train_on(found, bytes_per_token, settings.validation_fraction)
    sizes = choose_sizes(num_tokens, vocab_size)
    model = {"num_layers": sizes.num_layers, "d_model": sizes.d_model, "seq_len": sizes.seq_len}
    corpus = {"sources": _source(name, texts, num_tokens)}
    tables = {"corpus": corpus, "tokenizer": {"vocab_size": vocab_size}, "model": model}
    return Draft(name, tables, sizes, found, num_tokens)


def _tokens_to_train_on(found: TextFound, bytes_per_token: float, held_out_fraction: float) -> float:
    return (1 - usual_share(found.num_documents, held_out_fraction)) * found.bytes_left / bytes_per_token


def choose_vocabulary(sample: list[str], num_bytes: float) -> tuple[int, float]:
    """Return a size of vocabulary that this much text fills, and the bytes that a token has, measured on a sample."""
    wanted = min(8192, max(512, 2 ** int(math.log2(num_bytes / 400))))
    filled, bytes_per_token = try_vocabulary(sample, wanted)
    if filled < wanted:  # and what is held out or dropped fills nothing
        wanted = max(MIN_VOCAB_SIZE, int(0.9 * filled) // 64 * 64)
        _, bytes_per_token = try_vocabulary(sample, wanted)
    return wanted, bytes_per_token


def choose_sizes(num_tokens: float, vocab_size: int) -> RunSizes:
    """Return sizes of a model and of its steps for a text of so many tokens."""
    num_layers = 4 if num_tokens > 3e5 else 3 if num_tokens > 5e4 else 2
    seq_len = 256 if num_tokens > 1e5 else 128
    rows = 32 if num_tokens > 1e6 else 16 if num_tokens > 5e4 else 8
    return RunSizes(vocab_size, num_layers, 64 * min(num_layers, 3), seq_len, rows * seq_len)


def _with_time(draft: Draft, minutes: float, say: Say) -> RunSizes:
    """Return the sizes with as many steps as the time allows, by an estimate for this machine."""
    try:
        hardware, here = None, None
        for _ in range(2):  # what comes between steps depends on their number
            config = config_of_text(draft.text())
            hardware = hardware or hardware_of(config)
            step = hardware.needs(config).step.median
            here = step, sum(part.median for part in around_steps(config, step).values())
            draft = replace(draft, sizes=with_steps(draft.sizes, draft.num_tokens, minutes, here))
        return draft.sizes
    except ConfigError as error:  # a GPU in no table
        say(f"how long a step takes here isn't known, so that the text alone sets their number: {error}")
        return with_steps(draft.sizes, draft.num_tokens, minutes, None)


def with_steps(sizes: RunSizes, num_tokens: float, minutes: float, here: tuple[float, float] | None) -> RunSizes:
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
        longer = f", longer than the {minutes:g} minutes aimed at" if affordable < num_steps else ""
        limit = f"{num_steps}, the fewest that teach anything{takes}{longer}"
    elif affordable < most:
        limit = f"what {minutes:g} minutes allow on this machine, by an estimate"
    else:
        limit = f"as many as still teach something of this text{takes}: {says_of(useful)}"
    epochs = num_steps * sizes.batch_tokens / num_tokens
    tokens = f"about {num_tokens:,.0f} tokens to train on (fewer if there are near copies)"
    reads = f"{tokens}; {num_steps} steps, {epochs:.1f} epochs"
    return replace(sizes, num_steps=num_steps, why=(reads, f"num_steps is {limit}"))


def run_file(comments: Sequence[str], tables: Table) -> str:
    """Return a run file of these tables, with comments at its head."""
    return "".join(f"# {printable(comment)}\n" for comment in comments) + f"\n{to_toml(tables)}"


def _source(name: str, texts: list[str], num_tokens: float) -> Table:
    """Return the source of these files and folders, which give about so many tokens, by its name."""
    paths = [str(Path(text)) for text in texts]
    return {source_name(name): {"kind": "text", "paths": paths, "num_tokens": max(1, round(num_tokens))}}


def source_name(name: str) -> str:
    kept = "".join(character if character.isalnum() and character.isascii() else "_" for character in name)
    kept = kept.strip("_")
    return "text" if kept in ("", "all") else kept


# ---- from a base


def _from_base(name: str, base_path: str, texts: list[str], say: Say) -> Draft:
    """Return the run file that trains the model at `base_path` on: how, by how far the text is from its own."""
    from headwater.export.base.facts import tokenizer_of
    from headwater.runs.library.shift import config_of_base, corpus_like, measure_shift, run_of  # torch

    base = facts_of(base_path)
    config, run = config_of_base(base), run_of(base)
    like = settings_of(texts, None if config is None else config.corpus, source_name(name))
    found, sample = find_text(texts, like)
    say("measuring how far the text is from the base's")
    tokenizer = tokenizer_of(base)
    shift = measure_shift(base, tokenizer, sample, say)
    num_ids = sum(map(len, tokenizer.encode_many(sample)))
    bytes_per_token = sum(len(part.encode()) for part in sample) / num_ids
    num_tokens = _tokens_to_train_on(found, bytes_per_token, like.validation_fraction)
    tables, why = _how_to_train(base, run, shift.new, shift.ratio)
    model, seq_len = base.model, base.model.seq_len
    if base.kind != "checkpoint" and seq_len > MAX_SEQ_LEN:
        tables["model"] = {"seq_len": MAX_SEQ_LEN}
        why.append(f"sequences have {MAX_SEQ_LEN} tokens, and the base's {seq_len}")
    corpus, train = corpus_like(config), Table()
    if config is not None:
        names = ", ".join(f"corpus.{setting}" for setting in corpus) or "nothing, as all of it is the default"
        old = "whose text isn't here any more" if run is None else "whose text [replay] reads again"
        why.append(f"carried over from the base's run: {names}; not its sources and their weights, {old}")
        train |= {} if config.train.prompts is None else {"prompts": config.train.prompts}
    corpus |= {"sources": _source(name, texts, num_tokens)}
    tables = {"init": {"from": base_path}} | tables | {"corpus": corpus, "train": train}
    batch_tokens = base.trained.get("train", {}).get("batch_tokens", ROWS * min(seq_len, MAX_SEQ_LEN))
    sizes = RunSizes(base.vocab_size, model.num_layers, model.d_model, seq_len, batch_tokens)
    return Draft(name, tables, sizes, found, num_tokens, why)


def _how_to_train(base: BaseFacts, run: Path | None, new: float, ratio: float | None) -> tuple[Table, list[str]]:
    """Return the tables of how to train a base on text that takes it `new` bits per byte, and why."""
    bits = f"the base needs {new:.3f} bits for a byte of this text"
    if ratio is None or run is None:
        return {}, [
            f"{bits}; its own text isn't here, so that nothing is replayed, and what it forgets isn't measured "
            "([replay] takes a run of headwater)"
        ]
    share = REPLAY_FAR if ratio >= REPLAYED_MORE_FROM else REPLAY_NEAR
    why = [
        f"{bits}, {ratio:.2f} times those of its own held-out text",
        f"{share:.0%} of the tokens are old text: {REPLAY_FAR:.0%} where new text takes {REPLAYED_MORE_FROM} times the "
        f"bits or more, else {REPLAY_NEAR:.0%} (arXiv:2403.08763)",
    ]
    tables: Table = {"replay": {"run": str(run), "share": share}}
    num_steps, schedule = base.trained["train"]["num_steps"], ScheduleSettings(**base.trained["schedule"])
    last_step = max(0, (step_of(base.weights) or num_steps) - 1)
    factor = max(LEAST_RATE, lr_factor(last_step, num_steps, schedule))
    if ratio >= REWARMED_FROM or factor == 1:
        again = (
            f"the rates are warmed up to the base's peak again, as for text of {REWARMED_FROM} times the bits or more"
        )
        return tables, [*why, f"{again} (arXiv:2403.08763)"]
    optim = base.trained["optim"]
    tables["schedule"] = {"name": "cosine", "final_fraction": 0.01}
    tables["optim"] = {each: float(f"{factor * optim[each]:.4g}") for each in optim if each.endswith("_lr")}
    ended = f"the rates begin where the base's ended, at {LEAST_RATE} of its peak at least"
    return tables, [*why, f"{ended}, as for text below {REWARMED_FROM} times (arXiv:2407.07263)"]
