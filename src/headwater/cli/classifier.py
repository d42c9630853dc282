"""Verbs about the quality classifier: corpus classifier train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.arguments import AsJson, print_json
from headwater.cli.terminal import safe, say
from headwater.errors import ConfigError


def add_to(corpus: typer.Typer) -> None:
    classifier = typer.Typer(help="Train a classifier of documents worth keeping.", no_args_is_help=True)
    classifier.callback()(_no_options)  # with one verb alone, its name would be left out
    classifier.command("train")(train)
    corpus.add_typer(classifier, name="classifier")


def _no_options() -> None:
    pass


def train(
    positive: Annotated[list[str], typer.Option(help="Files, folders or patterns of documents worth keeping.")],
    negative: Annotated[list[str], typer.Option(help="The same of documents not worth keeping.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must not exist.")],
    kind: Annotated[str, typer.Option(help="What the documents are read as (corpus.sources.NAME.kind).")] = "web",
    regularisation: Annotated[float, typer.Option(help="How firmly weights are held near to zero.", min=0)] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Train on four fifths of two sets of documents; print what the classifier does on the rest."""
    from headwater.corpus.quality.train_classifier import (
        examples_of,
        read_examples,
        train_and_measure,
        write_classifier,
    )
    from headwater.corpus.settings import KINDS

    if kind not in KINDS:
        raise ConfigError(f"there is no kind {kind!r}; kinds: {', '.join(KINDS)}")
    if out.exists():
        raise ConfigError(f"{out} exists already; name a new folder, or remove it")
    documents = read_examples(positive, negative, kind, say)  # type: ignore[arg-type]
    classifier, report = train_and_measure(examples_of(documents), regularisation)
    manifest = write_classifier(classifier, report, out)
    print_json(manifest) if as_json else _print_report(manifest["report"], out)


def _print_report(report: dict[str, Any], out: Path) -> None:
    held_out = report["held_out"]
    auc = "none to measure" if held_out["auc"] is None else f"{held_out['auc']:.3f}"
    print(f"trained on {report['trained_on']:,} documents; on others held out")
    print(f"  {held_out['positives']:,} to keep and {held_out['negatives']:,} not to keep")
    print(f"  area under the curve {auc}, mean square error of the probability {held_out['brier']:.3f}")
    least, precision, recall = held_out["threshold"], held_out["precision"], held_out["recall"]
    print(f"  kept from {least} on: precision {precision:.3f}, recall {recall:.3f}")
    print(safe(f'written to {out}; corpus.quality.classifier = "{out}" uses it'))
