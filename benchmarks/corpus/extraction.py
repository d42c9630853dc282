"""Prints how well and how fast extractors find a page's text: token F1 against the page's own source, MB/s a core.

    for p in python3.13-doc git-doc nodejs-doc debian-policy python-aiohttp-doc; do
        apt-get download $p && dpkg-deb -x ${p}_*.deb DEBS/$p; done
    python benchmarks/corpus/extraction.py DEBS

Where DEBS/zyte holds a copy of scrapinghub/article-extraction-benchmark, its pages are a site, too. The true text is
what the page's source shows a reader (extracting/rst.py, asciidoc.py, markdown.py). A figure is the mean over pages;
F1-4 compares runs of four words, so it sees order. Speed is HTML bytes per second of processor time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from extracting.extractors import Extract, extractors
from extracting.score import score, words
from extracting.sites import SITES, Page, Site, pages


def measure(site: Site, found: list[Page], name: str, extract: Extract) -> dict[str, Any]:
    extract(found[0].html)  # imports
    started = time.process_time()
    texts = [_text(extract, page) for page in found]
    seconds = time.process_time() - started
    pairs = [(words(text), words(page.truth)) for text, page in zip(texts, found)]
    single, four = [score(*pair) for pair in pairs], [score(*pair, length=4) for pair in pairs]
    return {
        "site": site.name,
        "held_out": site.is_held_out,
        "extractor": name,
        "pages": len(found),
        "f1": fmean(each.f1 for each in single),
        "precision": fmean(each.precision for each in single),
        "recall": fmean(each.recall for each in single),
        "f1_4": fmean(each.f1 for each in four),
        "mb_per_second": sum(len(page.html) for page in found) / 1e6 / seconds,
        "worst": sorted((round(each.f1, 3), page.name) for each, page in zip(single, found))[:8],
    }


def _text(extract: Extract, page: Page) -> str:
    try:
        return extract(page.html)
    except Exception:  # a contender that fails on a page has found nothing on it
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pages", type=int, default=150, help="of a site at most, evenly spread")
    parser.add_argument("--only", help="extractors, with commas")
    parser.add_argument("--sites", help="sites, with commas")
    parser.add_argument("--worst", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for site in SITES:
        if options.sites and site.name not in options.sites.split(","):
            continue
        found = list(pages(site, options.folder))
        found = found[:: max(1, -(-len(found) // options.pages))]
        for name, extract in extractors().items() if found else ():
            if not options.only or name in options.only.split(","):
                rows.append(measure(site, found, name, extract))
    print(json.dumps(rows) if options.json else table(rows))
    if options.worst:
        for row in rows:
            print(row["site"], row["extractor"], row["worst"])


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| site | pages | extractor | F1 | precision | recall | F1-4 | MB/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        site = row["site"] + (" *" if row["held_out"] else "")
        lines.append(
            f"| {site} | {row['pages']} | {row['extractor']} | {row['f1']:.3f} | {row['precision']:.3f} | "
            f"{row['recall']:.3f} | {row['f1_4']:.3f} | {row['mb_per_second']:.1f} |"
        )
    return "\n".join([*lines, "", "* held out: looked at only after the extractor was done"])


if __name__ == "__main__":
    main()
