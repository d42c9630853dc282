"""Precision and recall of dropping pages: by the rules, by the language, by the classifier, and by datatrove.

    python benchmarks/corpus/filtering.py --packages DEBS [--datatrove PYTHON] [--json]

The pages are those of benchmarks/data/filtering/labels.jsonl, labelled by reading (README.md beside it); their texts
are rebuilt from the packages unpacked in DEBS (labelled_pages.py says how to get them). Thresholds were chosen on the
sites of the split dev; what counts is the split test, of other sites. --datatrove names the Python of an environment
in which datatrove is installed (its dependencies and ours don't fit together).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from labelled_pages import Page, read_labels, rebuild

from headwater.corpus.document import Document
from headwater.corpus.quality.filter import rules_step
from headwater.corpus.quality.language import LanguageModel, language_step
from headwater.corpus.quality.rules import RuleSettings
from headwater.corpus.quality.train_classifier import (
    Examples,
    area_under_curve,
    examples_of,
    out_of_fold_margins,
    scores_of,
    train,
)
from headwater.corpus.step import Candidate
from headwater.corpus.words import WordHasher

REGULARISATION = 3.0
Reasons = dict[str, str | None]  # of pages by id: why one is dropped


def by_steps(pages: list[Page], languages: list[str] | None) -> Reasons:
    """Return why headwater's steps for web pages drop a page; without `languages`, the rules alone."""
    steps = [rules_step(RuleSettings())]
    if languages is not None:
        steps.insert(0, language_step(languages, 0.5, LanguageModel()))
    hasher = WordHasher()

    def reason(page: Page) -> str | None:
        meta = {} if languages else {"language": "en"}  # as a page without the step before would have it
        candidate = Candidate(Document(page["text"], "pages", page["id"], page["origin"], "web", meta), hasher)
        for step in steps:
            verdict = step(candidate)
            if verdict.reason is not None:
                return verdict.reason
            candidate = verdict.candidate
        return None

    return {page["id"]: reason(page) for page in pages}


def site_examples(pages: list[Page]) -> Examples:
    """Return pages as examples whose folds are their sites."""
    sites = sorted({page["site"] for page in pages})
    documents = [(Document(page["text"], "pages", page["id"], page["origin"], "web"), page["keep"]) for page in pages]
    examples = examples_of(documents)
    return Examples(examples.features, examples.is_positive, np.array([sites.index(page["site"]) for page in pages]))


def by_classifier(pages: list[Page]) -> tuple[Reasons, Reasons, dict[str, float]]:
    """Return what a classifier drops that was trained on dev, and what one drops that was trained on all other sites.

    Also the areas under the curves. Pages in other languages are the language step's work: none is trained on.
    """
    english = [page for page in pages if page["why"] != "other_language"]
    dev = [page for page in english if page["split"] == "dev"]
    examples, on_dev = site_examples(pages), train(site_examples(dev), REGULARISATION)
    scores = scores_of(on_dev, examples)
    others = site_examples(english)
    margins = on_dev.slope * out_of_fold_margins(others, REGULARISATION) + on_dev.offset
    is_test = np.array([page["split"] == "test" and page["why"] != "other_language" for page in pages])
    areas = {
        "dev to test": area_under_curve(scores[is_test], examples.is_positive[is_test]),
        "site by site": area_under_curve(margins, others.is_positive),
    }
    dropped = {page["id"]: "low_quality" if score < 0.5 else None for page, score in zip(pages, scores)}
    crossed = {page["id"]: "low_quality" if margin < 0 else None for page, margin in zip(english, margins)}
    return dropped, crossed, {name: area for name, area in areas.items() if area is not None}


def by_datatrove(pages: list[Page], python: str) -> dict[str, Any]:
    script = Path(__file__).parent / "datatrove_filters.py"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pages.jsonl"
        file.write_text("".join(json.dumps(page) + "\n" for page in pages), encoding="utf-8")
        done = subprocess.run([python, str(script), str(file)], capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(f"datatrove didn't run in {python}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def score(pages: list[Page], dropped: Callable[[str], bool]) -> dict[str, Any]:
    """Return precision and recall of dropping, with what they are made of."""
    right = sum(dropped(page["id"]) and not page["keep"] for page in pages)
    wrong = sum(dropped(page["id"]) and page["keep"] for page in pages)
    missed = Counter(page["why"] for page in pages if not page["keep"] and not dropped(page["id"]))
    num_bad = right + sum(missed.values())
    return {
        "precision": right / (right + wrong) if right + wrong else None,
        "recall": right / num_bad,
        "right": right,
        "wrong": wrong,
        "missed": dict(missed.most_common()),
    }


def any_of(*several: Reasons) -> Reasons:
    """Return what at least one drops, with the first one's reason."""
    found: Reasons = {}
    for reasons in several:
        for page, reason in reasons.items():
            found[page] = found.get(page) or reason
    return found


def measure(pages: list[Page], python: str | None) -> dict[str, Any]:
    rules, steps = by_steps(pages, None), by_steps(pages, ["en"])
    classifier, crossed, areas = by_classifier(pages)
    rows: dict[str, Reasons] = {
        "headwater rules": rules,
        "headwater language + rules": steps,
        "headwater classifier (dev sites)": classifier,
        "headwater language + rules + classifier": any_of(steps, classifier),
    }
    result: dict[str, Any] = {"pages": len(pages), "areas under the curve": areas}
    if python is not None:
        theirs = by_datatrove(pages, python)
        rows |= {f"datatrove {name}": reasons for name, reasons in theirs["dropped"].items()}
        rows["datatrove all four"] = any_of(*theirs["dropped"].values())
        result["datatrove"] = {"version": theirs["version"], "seconds": theirs["seconds"]}
    result["rows"] = {}
    for split in ("dev", "test"):
        every = [page for page in pages if page["split"] == split]
        english = [page for page in every if page["why"] != "other_language"]
        result["rows"][split] = {
            name: {
                "all": score(every, lambda page, found=found: bool(found[page])),
                "english": score(english, lambda page, found=found: bool(found[page])),
            }
            for name, found in rows.items()
            if split == "test" or "classifier" not in name  # it was trained on dev
        }
    english = [page for page in pages if page["why"] != "other_language"]
    result["rows"]["all sites, each by the others"] = {
        "headwater classifier": {"english": score(english, lambda page: bool(crossed[page]))}
    }
    return result


def table(result: dict[str, Any]) -> str:
    lines = [result["rebuilt"], f"{result['pages']} pages; areas under the curve: {result['areas under the curve']}"]
    for split, rows in result["rows"].items():
        lines += ["", split, f"{'':<42} {'all pages: P':>12} {'R':>6}   {'English: P':>10} {'R':>6}  wrong  missed"]
        for name, row in rows.items():
            both = [row.get(part) for part in ("all", "english")]
            cells = [f"{_share(one['precision'])} {_share(one['recall'])}" if one else " " * 13 for one in both]
            english = row["english"]
            lines.append(f"{name:<42} {cells[0]:>19}   {cells[1]:>17}  {english['wrong']:>5}  {english['missed']}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "     –" if value is None else f"{value:6.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, metavar="DEBS", help="the folder of unpacked packages")
    parser.add_argument("--datatrove", metavar="PYTHON", help="the Python of an environment with datatrove")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rebuilt = rebuild(read_labels(), options.packages)
    result = {"rebuilt": rebuilt.summary()} | measure(rebuilt.pages, options.datatrove)
    print(json.dumps(result, indent=1) if options.json else table(result))


if __name__ == "__main__":
    main()
