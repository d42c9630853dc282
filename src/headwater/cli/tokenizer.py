"""corpus tokenizer train, show."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headwater.cli.arguments import (
    AsJson,
    Overrides,
    RunFile,
    RunOrNone,
    SameRun,
    one_run,
    print_json,
    unicode_text,
)
from headwater.cli.terminal import safe, say
from headwater.cli.verbs import App
from headwater.errors import TokenizerError


def add_to(corpus: App) -> None:
    tokenizer = App("Train a run's tokenizer, or see what it does to a text.")
    tokenizer.verb(train)
    tokenizer.verb(show)
    corpus.add_typer(tokenizer, name="tokenizer")


def train(run: RunFile, overrides: Overrides = None) -> None:
    """Train the tokenizer of a run, and its corpus before it."""
    from headwater.checkpoint.lock import owned
    from headwater.recipes.run_config import load_run
    from headwater.recipes.stages import Timings, prepare_data, write_config

    config, reasons = load_run(run, overrides or [])
    with owned(config.run_dir) as owner:
        prepare_data(config, say, Timings(), owner.require)
        write_config(config, reasons, owner.require)
    show(str(config.run_dir))


def show(
    run: RunOrNone = None,
    same_run: SameRun = None,
    text: Annotated[str, typer.Option(metavar="TEXT", help="Show this text's tokens.", callback=unicode_text)] = "",
    as_json: AsJson = False,
) -> None:
    """Print a tokenizer's size and bytes per token, or a text's tokens."""
    from headwater.recipes.run_config import run_folder
    from headwater.recipes.stages import Folders
    from headwater.seals import is_unmade
    from headwater.tokenizer.tokenizer import Tokenizer

    folder = Folders(run_folder(one_run(run, same_run))).tokenizer
    if is_unmade(folder):
        raise TokenizerError(f"{folder} is not built yet; `headwater corpus tokenizer train RUN` builds it")
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
