"""Measure the rows of plan/forecast/data/processor.json: the time of a step on this processor.

    python benchmarks/processor_shapes.py --write

Each shape's step is timed as benchmarks/throughput.py times headwater, in int8 and in bfloat16 alternately; Muon's
blocks are those of the rule. The machine must be idle. The rows are printed; with --write they replace those of this
kind of processor, with the peaks and their ratios to the float32 rate. For a new kind, first write its name, its
flags and how it differs into the table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from contenders.headwater import make_plan
from headwater.machine.host.facts import cpu_flags, float32_rate_per_core, usable_cores
from headwater.model.settings import ModelSettings
from headwater.plan.forecast.processor import kind_of, step_flops
from job import Job, Shape
from measure import Effort, choose_mode, run_rounds, summarise
from throughput import say
from token_stream import read_text, write_tokens
from workers import Workers

DATA = Path(__file__).parents[1] / "src/headwater/plan/forecast/data/processor.json"
SHAPES = tuple(
    Shape.parse(text)
    for text in (
        "4,1,64,256,6144,16",
        "4,2,128,256,6144,16",
        "4,4,192,256,8192,16",
        "6,6,384,512,8192,8",
        "12,12,768,1024,32768,2",
    )
)
DTYPES = ("int8", "bfloat16")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the rows and the peaks into the package's table")
    parser.add_argument("--rounds", type=int, default=3, help="of either dtype in turn (3)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="processor-shapes-") as folder:
        rows = [measured_row(shape, Path(folder), options.rounds) for shape in SHAPES]
    print(json.dumps(rows))
    if options.write:
        table = json.loads(DATA.read_text(encoding="utf-8"))
        DATA.write_text(with_rows(table, kind_of(cpu_flags()), rows, peaks(), core_rate()), encoding="utf-8")
    return 0


def measured_row(shape: Shape, folder: Path, num_rounds: int) -> dict[str, Any]:
    """Return a shape's row of the table; raise SystemExit with the reason where it can't be measured."""
    tokens_dir = folder / f"tokens-{shape.vocab_size}"
    write_tokens(read_text(None), shape.vocab_size, tokens_dir)
    workers = Workers(folder)
    try:
        job = Job("headwater", "int8", shape, tokens_dir, folder / "scratch")
        findings = [choose_mode(dtype, job, (dtype,), workers, say) for dtype in DTYPES]
        run_rounds(findings, Effort(num_rounds), workers, say)
        found = {finding.name: summarise(finding) for finding in findings}
        if missing := [name for name, one in found.items() if one["status"] != "ok"]:
            sys.exit(f"{shape}: {missing[0]} can't be measured: {found[missing[0]]['status']}")
    finally:
        workers.end_all()
    block_rows = make_plan(job).optim.block_rows
    return row_of(shape, block_rows, {name: one["ms_per_step"] for name, one in found.items()})


def row_of(shape: Shape, block_rows: int | None, ms: dict[str, float]) -> dict[str, Any]:
    """Return the table's row of a shape."""
    sizes = {name: getattr(shape, name) for name in ("num_layers", "num_heads", "d_model", "seq_len", "vocab_size")}
    flops = step_flops(shape_model(sizes), shape.rows * shape.seq_len, block_rows)
    counted = {"rows": shape.rows, "block_rows": block_rows, "flops": flops}
    return sizes | counted | {"int8_ms": ms["int8"], "bfloat16_ms": ms["bfloat16"]}


def shape_model(shape: dict[str, Any]) -> ModelSettings:
    """Return the model of a measured shape."""
    width, heads = shape["d_model"], shape["num_heads"]
    return ModelSettings(
        vocab_size=shape["vocab_size"],
        num_layers=shape["num_layers"],
        d_model=width,
        d_ff=round(8 * width / 3 / 64) * 64,
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=width // heads,
        seq_len=shape["seq_len"],
        tied_embeddings=False,
    )


def peaks() -> dict[str, float]:
    """Return the peaks that the efficiencies are relative to."""
    import torch

    from headwater.machine.device.device import matmul_peaks

    torch.set_num_threads(usable_cores())
    rates = matmul_peaks(torch.device("cpu"), [torch.bfloat16, torch.int8])
    return {"bfloat16": rates[torch.bfloat16], "int8": rates[torch.int8]}


def core_rate() -> float:
    """Return what the cores that were used reach in float32, as a plan measures it."""
    return usable_cores() * float32_rate_per_core()


def with_rows(
    table: dict[str, Any], kind: str, rows: list[dict[str, Any]], peak_flops: dict[str, float], float32_flops: float
) -> str:
    """Return the table's text with these rows for a kind of processor; a note of rows that were estimated goes."""
    measured = {
        "source": "benchmarks/processor_shapes.py; the machine and the day are in docs/log.md",
        "cores": usable_cores(),
        "peak_flops_per_second": {name: float(f"{rate:.4g}") for name, rate in peak_flops.items()},
        "rate_over_float32": {name: round(rate / float32_flops, 2) for name, rate in peak_flops.items()},
        "shapes": sorted(rows, key=lambda row: row["d_model"]),
    }
    said = {name: one[name] for one in table["kinds"] if one["name"] == kind for name in ("name", "flags", "how")}
    kinds = [said | measured if one["name"] == kind else one for one in table["kinds"]]
    return table_text({**table, "kinds": kinds})


def table_text(table: dict[str, Any]) -> str:
    """Return the table as its file has it: a line for every measured shape."""
    marked = [{**kind, "shapes": f"@{kind['name']}"} for kind in table["kinds"]]
    text = json.dumps({**table, "kinds": marked}, indent=1, ensure_ascii=False)
    for kind in table["kinds"]:
        lines = ",\n    ".join(json.dumps(row) for row in kind["shapes"])
        text = text.replace(f'"@{kind["name"]}"', f"[\n    {lines}\n   ]")
    return text + "\n"


if __name__ == "__main__":
    sys.exit(main())
