"""Verbs about data: corpus build, fetch, show, trace; tokenizer train, show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli import classifier
from headwater.cli.arguments import AsJson, Overrides, RunDir, RunFile, print_json, text_or_none, unicode_text
from headwater.cli.balance import print_balance, print_findings, print_training
from headwater.cli.dropped import show_dropped
from headwater.cli.fetching import fetch
from headwater.cli.terminal import safe, say
from headwater.errors import ConfigError, TokenizerError


def add_to(app: typer.Typer) -> None:
    corpus = typer.Typer(
        help="Fetch texts, build a corpus, see its balance sheet, find a text in it.", no_args_is_help=True
    )
    corpus.command("build")(build)
    corpus.command("fetch")(fetch)
    corpus.command("show")(show)
    corpus.command("trace")(trace)
    classifier.add_to(corpus)
    app.add_typer(corpus, name="corpus")
    tokenizer = typer.Typer(help="Train a tokenizer, see what it does to a text.", no_args_is_help=True)
    tokenizer.command("train")(tokenizer_train)
    tokenizer.command("show")(tokenizer_show)
    app.add_typer(tokenizer, name="tokenizer")


def build(
    run: RunFile,
    overrides: Overrides = None,
    engine: Annotated[
        str | None, typer.Option(help="Who does the work: local (processes here), slurm, ray or ray://ADDRESS.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that work at once.")] = None,
) -> None:
    """Read, clean, filter, deduplicate and split the sources of a run; the corpus is the same from any engine."""
    from headwater.checkpoint.lock import owned
    from headwater.recipes.balance import balance_of_run
    from headwater.recipes.run_config import load_run
    from headwater.recipes.stages import Timings, build_corpus_stage, write_config

    chosen = {"corpus.engine.name": engine, "corpus.engine.workers": workers}
    extra = [f"{name}={json.dumps(value)}" for name, value in chosen.items() if value is not None]
    config, reasons = load_run(run, [*(overrides or []), *extra])
    timings = Timings()
    with owned(config.run_dir) as owner:
        build_corpus_stage(config, say, timings, owner.require)
        write_config(config, reasons, owner.require)
    if not timings.seconds:
        say("nothing to do: the corpus is up to date with its settings and texts")
    balance = balance_of_run(config.run_dir)
    print_balance(balance["sources"], balance["splits"]["validation"])
    print_findings(balance)


def show(
    run: RunDir,
    dropped: Annotated[bool, typer.Option("--dropped", help="Show examples of what was dropped, by reason.")] = False,
    reason: Annotated[
        str | None, typer.Option(help="With --dropped: this reason alone.", callback=text_or_none)
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="With --dropped: this source alone.", callback=text_or_none)
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="With --dropped: examples a reason.", min=1)] = 3,
    as_json: AsJson = False,
) -> None:
    """Print the balance sheet: what was read, kept, and dropped for which reason; or examples of what was dropped."""
    from headwater.recipes.balance import balance_of_run, training_of_run

    corpus = _corpus_of(run)
    if dropped or reason is not None or source is not None:
        show_dropped(corpus, reason, source, count, as_json)
        return
    balance, training = balance_of_run(Path(run)), training_of_run(Path(run))
    if as_json:
        print_json({**balance, "training": training})
        return
    print_balance(balance["sources"], balance["splits"]["validation"])
    print_findings(balance)
    print_training(training)


def trace(
    text: Annotated[
        str, typer.Argument(help="The text to look for; white space counts as one blank.", callback=unicode_text)
    ],
    run: RunDir,
    as_json: AsJson = False,
) -> None:
    """Find the documents, of both splits, that hold this exact text."""
    from headwater.corpus.trace import trace as find

    hits = find(_corpus_of(run), text)
    if as_json:
        print_json({"text": text, "hits": hits})
        return
    for hit in hits:
        print(safe(f"{hit['split']}/{hit['source']} {hit['id']} × {hit['count']}: {hit['excerpt']}"))
    print(f"{len(hits)} documents hold this text")


def _corpus_of(run: str) -> Path:
    """Return the folder of a run's corpus; raise ConfigError where there is no folder of the run."""
    from headwater.recipes.stages import Folders

    if not Path(run).is_dir():
        raise ConfigError(f"{run} is no run folder; those made here lie in runs/")
    return Folders(Path(run)).corpus


def tokenizer_train(run: RunFile, overrides: Overrides = None) -> None:
    """Train the tokenizer of a run (and build its corpus first, when that is not up to date)."""
    from headwater.checkpoint.lock import owned
    from headwater.recipes.run_config import load_run
    from headwater.recipes.stages import Timings, prepare_data, write_config

    config, reasons = load_run(run, overrides or [])
    with owned(config.run_dir) as owner:
        prepare_data(config, say, Timings(), owner.require)
        write_config(config, reasons, owner.require)
    tokenizer_show(str(config.run_dir))


def tokenizer_show(
    run: RunDir,
    text: Annotated[str, typer.Option(help="A text to cut into tokens.", callback=unicode_text)] = "",
    as_json: AsJson = False,
) -> None:
    """Print a tokenizer's size and bytes per token by source, or the tokens of a text."""
    from headwater.recipes.stages import Folders
    from headwater.seals import is_unmade
    from headwater.tokenizer.tokenizer import Tokenizer

    folder = Folders(Path(run)).tokenizer
    if is_unmade(folder):
        raise TokenizerError(f"{folder} is not built yet; `headwater tokenizer train RUN.toml` builds it")
    tokenizer = Tokenizer.load(folder)
    bytes_per_token = tokenizer.manifest.get("bytes_per_token", {})
    result: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "bytes_per_token": bytes_per_token}
    if text:
        pieces = [(token, tokenizer.token_bytes(token)) for token in tokenizer.encode(text)]
        result["tokens"] = [[token, piece.decode(errors="replace")] for token, piece in pieces]
    if as_json:
        print_json(result)
        return
    print(f"{tokenizer.vocab_size} tokens; bytes per token:")
    for source, value in bytes_per_token.items():
        print(f"  {source:<16} {value:.2f}")
    if text:
        print("  ".join(safe(f"{token}:{piece!r}") for token, piece in result["tokens"]))
