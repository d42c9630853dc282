"""corpus tune: a classifier of documents worth keeping, from examples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from headwater.cli.arguments import AsJson, option
from headwater.cli.terminal import print_json, safe, say_beside
from headwater.errors import ConfigError


def tune(
    positive: Annotated[list[str], option("PATH", "Documents worth keeping: files or folders.")],
    negative: Annotated[list[str], option("PATH", "Documents not worth keeping.")],
    out: Annotated[Path, option("FOLDER", "Folder to write; it must not exist.")],
    kind: Annotated[str, option("KIND", "How to read the documents (corpus.sources.NAME.kind).")] = "web",
    regularisation: Annotated[float, option("X", "Strength of the penalty on large weights.", min=0)] = 3.0,
    as_json: AsJson = False,
) -> None:
    """Train a classifier of documents worth keeping, from examples.

    It trains on four fifths of the examples and is measured on the rest. corpus.quality.classifier uses it.
    """
    from headwater.corpus.quality import train_classifier as training
    from headwater.sources.settings import KINDS

    if kind not in KINDS:
        raise ConfigError(f"there is no kind {kind!r}; kinds: {', '.join(KINDS)}")
    if out.exists():
        raise ConfigError(f"{out} exists already; name a new folder, or remove it")
    documents = training.read_examples(positive, negative, kind, say_beside(as_json))  # type: ignore[arg-type]
    classifier, report = training.train_and_measure(training.examples_of(documents), regularisation)
    manifest = training.write_classifier(classifier, report, out)
    print_json(manifest) if as_json else _print_report(manifest["report"], out)


def _print_report(report: dict[str, Any], out: Path) -> None:
    held_out = report["held_out"]
    auc = "not measured" if held_out["auc"] is None else f"{held_out['auc']:.3f}"
    print(f"trained on {report['trained_on']:,} documents; measured on {held_out['positives']:,} to keep and")
    print(f"{held_out['negatives']:,} not to keep that were held out:")
    print(f"  area under the curve {auc}, mean square error of the probability {held_out['brier']:.3f}")
    least, precision, recall = held_out["threshold"], held_out["precision"], held_out["recall"]
    print(f"  kept from {least} up: precision {precision:.3f}, recall {recall:.3f}")
    print(safe(f'written to {out}; corpus.quality.classifier = "{out}" uses it'))
