"""Measure the corpus chain against datatrove's, and its parts against the libraries that do one of them.

    headwater corpus fetch standard
    python benchmarks/corpus/speed.py --datatrove-python VENV/bin/python --peers-python VENV/bin/python

The chain: read JSON lines, clean, filter, find exact and near duplicates, write. Both get the same real documents, one
after the other in each round, one worker each. MB/s a core is text over the processor time of all processes; the ratio
is the median over rounds. Peers live in environments of their own; those that aren't installed are skipped:

    pip install "datatrove[io,processing]" spacy
    pip install trafilatura lxml_html_clean datasketch rensa tokenizers resiliparse
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from headwater.core.errors import HeadwaterError
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.train import train_tokenizer
from processes import CHAINS, ONE_THREAD, Usage, last_json, run_measured
from real_documents import documents, write_documents
from reporting import add_output_options, facts, made, markdown_table, publish, say

PARTS = {
    "html": ("headwater", "resiliparse", "trafilatura", "trafilatura-fast"),
    "minhash": ("headwater", "datasketch", "rensa"),
    "tokens": ("headwater", "tokenizers"),
}

Figures = dict[str, Any]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, default=Path("texts"), help="what `headwater corpus fetch standard` made")
    parser.add_argument("--megabytes", type=float, default=20.0, help="text for the chains (20)")
    parser.add_argument("--leaf-megabytes", type=float, default=4.0, help="text for the parts (4)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datatrove-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--only", choices=["chain", "parts"], help="measure one of the two")
    parser.add_argument("--work", type=Path, metavar="FOLDER")
    add_output_options(parser)
    return parser.parse_args()


def measure_chains(arguments: argparse.Namespace, work: Path) -> Figures:
    path = work / "documents" / "documents.jsonl"
    path.parent.mkdir(parents=True)
    count, total = write_documents(documents(arguments.texts), path, int(arguments.megabytes * 1e6))
    say(f"{count:,} documents, {total / 1e6:.1f} MB")
    pythons = {"headwater": sys.executable, "datatrove": arguments.datatrove_python}
    runs: dict[str, list[Figures]] = {name: [] for name in pythons}
    missing: dict[str, str] = {}
    for number in range(arguments.rounds):
        for name, python in pythons.items():
            if name in missing:
                continue
            out = work / f"{name}-{number}"
            out.mkdir()
            usage = run_measured([python, str(CHAINS / f"{name}_chain.py"), str(path), str(out)], ONE_THREAD, out)
            if usage.status:
                missing[name] = usage.tail.strip().splitlines()[-1] if usage.tail.strip() else f"status {usage.status}"
                continue
            runs[name].append(_chain_figures(usage, total))
            say(f"{name}: {runs[name][-1]['mb_per_core_second']:.2f} MB/s a core")
    return {"documents": count, "bytes": total, "runs": runs, "missing": missing}


def _chain_figures(usage: Usage, total: int) -> Figures:
    return {
        "mb_per_core_second": total / 1e6 / usage.cpu_seconds,
        "wall_seconds": usage.wall_seconds,
        "peak_mib": usage.peak_bytes / (1 << 20),
        "disk_mb": usage.disk_bytes / 1e6,
        "said": last_json(usage.tail),
    }


def measure_parts(arguments: argparse.Namespace, work: Path) -> Figures:
    inputs = work / "parts"
    inputs.mkdir(parents=True)
    max_bytes = int(arguments.leaf_megabytes * 1e6)
    write_documents(documents(arguments.texts), inputs / "text.jsonl", max_bytes)
    _write_pages(arguments.texts, inputs / "html.jsonl", 2 * max_bytes)
    texts = [json.loads(line)["text"] for line in (inputs / "text.jsonl").read_text(encoding="utf-8").splitlines()]
    train_tokenizer({"all": texts}, TokenizerSettings(vocab_size=8192), inputs / "tokenizer", "", say)
    rates: dict[str, dict[str, list[float]]] = {part: {name: [] for name in names} for part, names in PARTS.items()}
    for _ in range(arguments.rounds):
        for part, names in PARTS.items():
            path = inputs / ("html.jsonl" if part == "html" else "text.jsonl")
            for name in names:
                python = sys.executable if name == "headwater" else arguments.peers_python
                usage = run_measured([python, str(CHAINS / "leaves.py"), f"{part}:{name}", str(path)], ONE_THREAD)
                said = last_json(usage.tail)
                if said:
                    rates[part][name].append(said["bytes"] / 1e6 / said["seconds"])
                else:
                    say(f"{part}:{name}: {usage.tail.strip().splitlines()[-1:]}")
    return rates


def _write_pages(texts: Path, path: Path, max_bytes: int) -> None:
    """Write pages of the fetched sites, every tenth, until they hold `max_bytes`."""
    total = 0
    with open(path, "w", encoding="utf-8") as file:
        for page in sorted(texts.glob("deb-*-doc*/files/**/*.html"))[::10]:
            text = page.read_text(encoding="utf-8", errors="ignore")
            if len(text) < 400_000:  # none takes a library minutes
                file.write(json.dumps({"html": text}) + "\n")
                total += len(text)
            if total >= max_bytes:
                break


def section(figures: Figures) -> str:
    parts = []
    if "chain" in figures:
        parts += [_chain_section(figures["chain"])]
    if "parts" in figures:
        parts += [_parts_section(figures["parts"])]
    return "\n\n".join([*parts, made(figures["made"])])


def _chain_section(chain: Figures) -> str:
    mine = [run["mb_per_core_second"] for run in chain["runs"]["headwater"]]
    rows = []
    for name, runs in chain["runs"].items():
        if not runs:
            continue
        rates = [run["mb_per_core_second"] for run in runs]
        ratio = median(own / theirs for own, theirs in zip(mine, rates))
        kept = runs[-1]["said"].get("kept", {})
        rows.append(
            [name, median(rates), "" if name == "headwater" else f"{ratio:.1f} ×", max(run["peak_mib"] for run in runs),
             max(run["disk_mb"] for run in runs), kept.get("documents", 0), kept.get("bytes", 0) / 1e6]
        )  # fmt: skip
    header = ["chain", "MB/s a core", "headwater is", "peak MiB", "disk MB", "documents kept", "MB kept"]
    missing = "".join(f"\n\n{name} is missing: {why}" for name, why in chain["missing"].items())
    return (
        f"{chain['documents']:,} documents, {chain['bytes'] / 1e6:.1f} MB.\n\n{markdown_table(header, rows)}{missing}"
    )


def _parts_section(rates: dict[str, dict[str, list[float]]]) -> str:
    rows = []
    for part, by_name in rates.items():
        mine = by_name["headwater"]
        for name, found in by_name.items():
            if found:
                ratio = median(own / theirs for own, theirs in zip(mine, found)) if mine else 0.0
                rows.append([part, name, median(found), "" if name == "headwater" else f"{ratio:.2f} ×"])
    return markdown_table(["part", "by", "MB/s a core", "headwater is"], rows)


def main() -> int:
    arguments = parse_arguments()
    figures: Figures = {"made": facts()}
    try:
        with tempfile.TemporaryDirectory(prefix="headwater-throughput-", dir=arguments.work) as folder:
            if arguments.only != "parts":
                figures["chain"] = measure_chains(arguments, Path(folder))
            if arguments.only != "chain":
                figures["parts"] = measure_parts(arguments, Path(folder))
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    publish(figures, section(figures), arguments.json, arguments.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
