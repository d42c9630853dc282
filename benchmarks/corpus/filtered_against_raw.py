"""Measure what filters and the search for duplicates are worth: one model, two corpora of the same documents.

    headwater corpus fetch standard
    python benchmarks/corpus/filtered_against_raw.py --seeds 3

Both corpora are made from the documents of the recipe standard; `raw` has every rule and the search for duplicates
switched off. Each trains the model of first-light for the same number of tokens, every source at the share that its
text has. The score is bits per byte on the same held-out documents (held_out_texts.py). --tree NAME=FOLDER adds a
source as found, for instance all that `dpkg-deb -x` unpacks of a documentation package: the recipe's own choice of
files excludes much of what filters would drop.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from held_out_texts import part, rules_off
from reporting import add_output_options, facts, made, markdown_table, publish, say

from headwater.errors import HeadwaterError
from headwater.files import read_json
from headwater.runs.run_config import load_run
from headwater.sources.settings import CorpusSettings

VARIANTS = ("filtered", "raw")
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}  # Student's t, by degrees of freedom

Figures = dict[str, Any]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", default="texts", help="what `headwater corpus fetch standard` made")
    parser.add_argument("--sources", help="of the recipe, with commas (all)")
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=FOLDER", help="another source, as found")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting of every run")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep texts and runs here, and use what it has")
    add_output_options(parser)
    return parser.parse_args()


def corpus_of(arguments: argparse.Namespace) -> CorpusSettings:
    """Return the sources whose documents both corpora are made from."""
    config, _ = load_run("standard", [f"corpus.fetched_dir={json.dumps(arguments.texts)}"])
    given = arguments.sources
    chosen = list(config.corpus.sources) if given is None else [name for name in given.split(",") if name]
    sources = {name: config.corpus.sources[name].model_dump() for name in chosen}
    for tree in arguments.tree:
        name, _, folder = tree.partition("=")
        sources[name] = {"kind": "documentation", "paths": [folder]}
    return CorpusSettings.model_validate({"sources": sources, "fetched_dir": arguments.texts})


def write_run_files(settings: CorpusSettings, folder: Path) -> None:
    """Write FOLDER/filtered.toml and raw.toml: first-light's model and length, these sources, no weights."""
    recipe, _ = load_run("first-light", [])
    for variant in VARIANTS:
        corpus: Figures = {"sources": {}}
        for name, source in settings.sources.items():
            corpus["sources"][name] = {"kind": source.kind, "paths": [str(folder / "train" / f"{name}.jsonl")]}
        if variant == "raw":
            corpus |= {"rules": rules_off().model_dump(), "dedup": {"exact": False, "near": False}}
        tables = {
            "corpus": corpus,
            "tokenizer": recipe.tokenizer.model_dump(),
            "model": {name: getattr(recipe.model, name) for name in ("num_layers", "d_model", "seq_len")},
            "train": {"num_steps": recipe.train.num_steps, "batch_tokens": recipe.train.batch_tokens},
        }
        (folder / f"{variant}.toml").write_text(toml({"name": variant, **tables}), encoding="utf-8")


def toml(table: Figures, path: str = "") -> str:
    """Return a table as TOML; what is None is left to its default where that is None, and "off" where it isn't."""
    plain = [f"{name} = {_value(value)}" for name, value in table.items() if not isinstance(value, dict)]
    inner = [(f"{path}.{name}" if path else name, value) for name, value in table.items() if isinstance(value, dict)]
    head = [f"[{path}]"] if path and plain else []
    return "\n".join([*head, *plain, ""]) + "".join(toml(value, name) for name, value in inner)


def _value(value: Any) -> str:
    return '"off"' if value is None else json.dumps(value)


def train_and_judge(variant: str, seed: int, folder: Path, overrides: Sequence[str]) -> float:
    """Train a variant from a seed, unless that is done, and return its bits per byte on the held-out text."""
    name = f"{variant}-{seed}"
    run_dir = folder / "runs" / name
    result = run_dir / "held-out.json"
    if not result.is_file():
        if seed > 1 and not run_dir.exists():  # the stages before training don't know the seed of a run
            run_dir.mkdir()
            (run_dir / "data").symlink_to(folder / "runs" / f"{variant}-1" / "data", target_is_directory=True)
        settings = [f"name={name}", f"seed={seed}", f"runs_dir={json.dumps(str(folder / 'runs'))}", *overrides]
        _run([sys.executable, "-m", "headwater", "train", str(folder / f"{variant}.toml"), *settings])
        judge = Path(__file__).parent / "judge_held_out.py"
        _run([sys.executable, str(judge), str(run_dir), str(folder / "held-out.jsonl"), str(result)])
    return float(read_json(result)["bits_per_byte"])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(list(command), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with status {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
        )


def measure(arguments: argparse.Namespace, folder: Path) -> Figures:
    settings = corpus_of(arguments)
    if not (folder / "parted.json").is_file():
        counts = part(settings, folder)
        (folder / "parted.json").write_text(json.dumps(counts), encoding="utf-8")
    write_run_files(settings, folder)
    results: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for seed in range(1, arguments.seeds + 1):
        for variant in VARIANTS:
            results[variant].append(train_and_judge(variant, seed, folder, arguments.set))
            say(f"{variant}, seed {seed}: {results[variant][-1]:.4f} bits per byte")
    kept = {variant: _kept(folder / "runs" / f"{variant}-1") for variant in VARIANTS}
    return {"results": results, "kept": kept, "parted": read_json(folder / "parted.json"), "made": facts()}


def _kept(run_dir: Path) -> Figures:
    sources = read_json(run_dir / "data" / "corpus" / "manifest.json")["sources"]
    tokens = read_json(run_dir / "data" / "tokens" / "manifest.json")["splits"]["train"]
    return {
        "bytes": sum(source["kept"]["bytes"] for source in sources.values()),
        "tokens": sum(source["num_tokens"] for source in tokens.values()),
    }


def section(figures: Figures) -> str:
    differences = [mine - raw for mine, raw in zip(*(figures["results"][variant] for variant in VARIANTS))]
    rows = [
        [variant, figures["kept"][variant]["bytes"] / 1e6, figures["kept"][variant]["tokens"] / 1e6,
         " ".join(f"{value:.4f}" for value in figures["results"][variant]), f"{fmean(figures['results'][variant]):.4f}"]
        for variant in VARIANTS
    ]  # fmt: skip
    half = ""
    if len(differences) > 1:
        spread = T_975[min(7, len(differences) - 1)] * stdev(differences) / math.sqrt(len(differences))
        half = f" ± {spread:.4f} (95 %, paired by seed)"
    held_out = sum(counts.get("held_out", 0) for counts in figures["parted"].values())
    return "\n\n".join(
        [
            markdown_table(["corpus", "MB kept", "million tokens", "bits per byte by seed", "mean"], rows),
            f"Filtered less raw: {fmean(differences):+.4f}{half} bits per byte on {held_out:,} held-out documents.",
            made(figures["made"]),
        ]
    )


def main() -> int:
    arguments = parse_arguments()
    try:
        if arguments.work is not None:
            figures = measure(arguments, arguments.work.resolve())
        else:
            with tempfile.TemporaryDirectory(prefix="headwater-filtered-") as folder:
                figures = measure(arguments, Path(folder) / "work")
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    publish(figures, section(figures), arguments.json, arguments.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
