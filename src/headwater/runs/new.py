"""Write a run file for a person's own text: sizes chosen from how much text there is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.corpus.build import TextFound, measure_paths
from headwater.corpus.read.input import NO_PERMISSION
from headwater.corpus.read.walk import find_files
from headwater.errors import ConfigError, DataError
from headwater.files import write_text
from headwater.runs.plan_machine import machinery
from headwater.runs.plan_time import around_steps
from headwater.runs.run_config import RunConfig, config_of_text, find_recipe, require_run_name
from headwater.runs.text_size import useful_epochs, usual_bytes_per_token
from headwater.sources.settings import CorpusSettings
from headwater.tokenizer.settings import MIN_VOCAB_SIZE

BYTES_PER_TOKEN = 3.5  # of a small byte-level vocabulary on mixed text
TRIAL_STEPS = 1000  # of the run whose time is estimated
SMALL_TEXT_BYTES = 6000
MIN_STEPS = 20
HTML_SUFFIXES = {".html", ".htm", ".xhtml"}
OF_PAGES = 'most files are HTML: kind = "web" cuts boilerplate and filters far more (docs/corpus.md)'
MIN_BYTES = 1000  # less fills no vocabulary and leaves nothing to hold out


@dataclass(frozen=True)
class Sizes:
    """What fits an amount of text, and of time where `num_steps` is set for it, and why."""

    vocab_size: int
    num_layers: int
    d_model: int
    seq_len: int
    batch_tokens: int
    num_steps: int = TRIAL_STEPS
    why: str = ""


def write_run_file(path: Path, name: str, texts: list[str], minutes: float, say: Callable[[str], None]) -> Path:
    """Write `path`, a run file that trains on `texts`; raise before writing when they hold nothing to train on."""
    require_run_name(name)
    if find_recipe(name) is not None:
        raise ConfigError(f"{name} is a recipe's name, and `headwater run {name}` would take that; choose another name")
    if not 0 < minutes < math.inf:
        raise ConfigError(f"--minutes {minutes:g}: training needs a time above 0")
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another name or remove it")
    not_utf8 = [text for text in texts if not _is_utf8(text)]
    if not_utf8:
        raise ConfigError(f"a run file is UTF-8 and can't name {not_utf8[0]!a}; rename it, or name the folder it is in")
    missing = [text for text in texts if not Path(text).exists()]
    if missing:
        raise DataError(f"no such file or folder: {', '.join(missing)}")
    found = measure_paths(texts)
    num_bytes = found.num_bytes
    if num_bytes < MIN_BYTES:
        forbidden = found.dropped[NO_PERMISSION]
        if forbidden:
            raise DataError(
                f"{', '.join(texts)}: permission denied for {forbidden} of what lies there, and the rest has "
                f"{num_bytes} bytes of text; allow yourself to read it (chmod -R u+rX), or name other files"
            )
        raise DataError(
            f"{', '.join(texts)}: {num_bytes} bytes of text can be read there ({found}); at least {MIN_BYTES} are "
            'needed, and a million make sense. Text must be UTF-8, and a table needs a column "text" or "content" '
            "(corpus.sources.NAME.text_column in a run file names another)"
        )
    chosen = choose_sizes(num_bytes)
    try:
        here = estimate_time(config_of_text(_run_file(name, texts, found, minutes, chosen)))
    except ConfigError as error:  # a GPU in no table
        say(f"how long a step takes here isn't known, so that the text alone sets their number: {error}")
        here = NO_TIME
    sizes = with_steps(chosen, num_bytes, 60 * minutes, here)
    write_text(path, _run_file(name, texts, found, minutes, sizes))
    say(f"found {found}; {sizes.why}")
    if are_pages(texts):
        say(OF_PAGES)
    return path


def are_pages(texts: list[str]) -> bool:
    """Return whether most of the files are HTML."""
    suffixes = [path.suffix.lower() for path, _ in find_files(texts, "text")]
    return 2 * sum(suffix in HTML_SUFFIXES for suffix in suffixes) > len(suffixes)


def choose_sizes(num_bytes: int) -> Sizes:
    """Return sizes of a model and of its steps for a corpus."""
    corpus_tokens = num_bytes / BYTES_PER_TOKEN
    vocab_size = min(8192, max(512, 2 ** int(math.log2(max(2, num_bytes / 400)))))
    if num_bytes < SMALL_TEXT_BYTES:
        vocab_size = MIN_VOCAB_SIZE + 32  # so little text can't fill more
    num_layers = 4 if corpus_tokens > 3e5 else 3 if corpus_tokens > 5e4 else 2
    seq_len = 256 if corpus_tokens > 1e5 else 128
    return Sizes(
        vocab_size=vocab_size,
        num_layers=num_layers,
        d_model=64 * min(num_layers, 3),
        seq_len=seq_len,
        batch_tokens=seq_len * (32 if corpus_tokens > 1e6 else 16 if corpus_tokens > 5e4 else 8),
    )


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of the run here: of each step, and of what comes however many there are."""

    step: float
    rest: float


NO_TIME = TimeEstimate(step=1e-9, rest=0.0)


def with_steps(sizes: Sizes, num_bytes: int, seconds: float, here: TimeEstimate) -> Sizes:
    """Return the sizes with as many steps as the time allows, and no more epochs than still teach something."""
    trained = 1 - CorpusSettings.model_fields["validation_fraction"].default
    corpus_tokens = trained * num_bytes / usual_bytes_per_token(sizes.vocab_size)
    params = sizes.num_layers * 12 * sizes.d_model**2 + 2 * sizes.vocab_size * sizes.d_model
    affordable = (seconds - here.rest) / here.step
    most = useful_epochs(params, corpus_tokens, sizes.batch_tokens) * corpus_tokens / sizes.batch_tokens
    num_steps = max(MIN_STEPS, int(min(affordable, most)))
    limit = "more would take longer" if affordable < most else "more would memorise the text"
    limit = "fewer would teach nothing" if num_steps == MIN_STEPS else limit
    epochs = num_steps * sizes.batch_tokens / corpus_tokens
    why = f"about {corpus_tokens:,.0f} tokens; {num_steps} steps, {epochs:.1f} epochs ({limit})"
    return replace(sizes, num_steps=num_steps, why=why)


def estimate_time(config: RunConfig) -> TimeEstimate:
    """Return the medians of a plan of the whole run; raise ConfigError where a GPU at hand is in no table."""
    step = machinery(config).step.seconds.median
    return TimeEstimate(step, sum(part.median for part in around_steps(config, step).values()))


def _run_file(name: str, texts: list[str], found: TextFound, minutes: float, sizes: Sizes) -> str:
    paths = ", ".join(_quoted(str(Path(text))) for text in texts)
    return f"""\
# {found}.
# {sizes.why}.
# num_steps is an estimate for --minutes {minutes:g} on the machine that wrote this, not a limit: training ends after
# num_steps, however long they take. For a forecast on this machine: headwater plan {name}.toml
# Everything not set here comes from a rule: headwater explain {name}.toml

name = "{name}"

[corpus.sources.{_source_name(name)}]
kind = "text"{"  # " + OF_PAGES if are_pages(texts) else ""}
paths = [{paths}]

[tokenizer]
vocab_size = {sizes.vocab_size}

[model]
num_layers = {sizes.num_layers}
d_model = {sizes.d_model}
seq_len = {sizes.seq_len}

[train]
num_steps = {sizes.num_steps}
batch_tokens = {sizes.batch_tokens}
prompts = ["The", "In the"]
"""


def _is_utf8(path: str) -> bool:
    try:
        return bool(path.encode())
    except UnicodeEncodeError:
        return False


def _quoted(text: str) -> str:
    """Return a TOML string: JSON's escapes are TOML's, but for DEL, which TOML doesn't allow as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _source_name(name: str) -> str:
    kept = "".join(character if character.isalnum() and character.isascii() else "_" for character in name)
    kept = kept.strip("_")
    return "text" if kept in ("", "all") else kept
