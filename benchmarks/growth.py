"""How time and memory of headwater's training step grow with tokens, layers, width, sequence and vocabulary.

    python benchmarks/growth.py --json [--markdown docs/performance.md] [--only tokens,width]

One size varies at a time, around a base shape. Every point is a process of its own, in random order, so that a machine
that slows down bends no line. Each table has the measured values, the model's FLOPs, the curve of the powers that
theory names, how far each point is off it, and the first point that leaves the curve through the smaller ones. Then:
one core and two, a step of the recipe gpt2-124m, and the memory of other sizes. With --json the last line is one JSON
object. The exit status is 1 when the claims about long sequences and gpt2-124m don't hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from growing.fit import find_bend, fit, residuals
from growing.point import Order, write_random_tokens
from growing.sweeps import BASE, HEAD_DIM, LONG_TOKENS, NAMES, SWEEPS, Sweep
from growing.tables import GIB, MIB, NoMarkers, page_lines, put_between_markers, require_markers
from headwater.host.facts import usable_cores
from headwater.runs.run_config import RunConfig, load_run
from job import Shape
from throughput import machine, say
from workers import OFFLINE

POINT_SECONDS = 280
RECIPE = "gpt2-124m"
RECIPE_LIMIT_BYTES = 12 * GIB
# T² numbers for every head would show as a term of x²: this is the most that may hide in a straight line
LONG_MEMORY_OFF = 0.10
THREADS_SHAPES = (BASE, Shape(4, 2, 128, 256, 4096, 4), Shape(4, 12, 768, 1024, 8192, 4))
SIZES = ((4, 256), (8, 512), (12, 768), (24, 1024), (24, 2048))
MEMORY_TOKENS = (4096, 8192, 32768)


class PointFailed(Exception):
    """The process of a point ended without an answer; the text says which and where its log is."""


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    try:
        if options.markdown:
            require_markers(options.markdown)  # before half an hour of measuring
        return write(options)
    except (PointFailed, NoMarkers, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def write(options: argparse.Namespace) -> int:
    """Measure, print and write the page; return 0 when what is promised holds, else 1."""
    started_at = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="growth-") as temporary:
        result = measure_all(Measurer(options.work or Path(temporary)), options)
    result |= {"minutes": (time.perf_counter() - started_at) / 60}
    lines = page_lines(result)
    print("\n".join(lines))
    if options.json:
        print(json.dumps(result), flush=True)
    if options.markdown:
        put_between_markers(options.markdown, lines)
    return 0 if all(result["checks"].values()) else 1


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the tables between the markers of this page")
    parser.add_argument("--only", type=_names, default=list(NAMES), metavar="NAME,…", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--base", type=Shape.parse, default=BASE, metavar="L,H,D,T,V,B")
    parser.add_argument("--sweeps-alone", action="store_true", help="skip cores, gpt2-124m and other sizes")
    parser.add_argument("--seconds", type=float, default=Order.min_seconds, help="of steps at each point, at least")
    parser.add_argument("--work", type=Path, help="keep tokens and logs in this folder")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(NAMES)}")
    return names


class Measurer:
    """Runs points, each in a process of its own; one that was measured before isn't measured again."""

    def __init__(self, work_dir: Path) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        self.work_dir = work_dir.resolve()
        self._known: dict[Order, dict[str, Any]] = {}

    def order(self, shape: Shape, **more: Any) -> Order:
        return Order(shape, str(self.work_dir), **more)

    def __call__(self, order: Order) -> dict[str, Any]:
        """Return what `growing.point.measure` says; raise PointFailed."""
        if order not in self._known:
            write_random_tokens(self.work_dir, order.shape)
            self._known[order] = self._run(order)
        return self._known[order]

    def _run(self, order: Order) -> dict[str, Any]:
        log = self.work_dir / f"{order.shape}-{order.num_cores or 'all'}.log"
        here = str(Path(__file__).parent)
        paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "growing.point", order.to_json()]
        with open(log, "wb") as log_file:
            try:
                done = subprocess.run(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=log_file,
                    timeout=POINT_SECONDS,
                    env=os.environ | OFFLINE | {"PYTHONPATH": paths},
                )
            except subprocess.TimeoutExpired:
                raise PointFailed(f"{order.shape} took more than {POINT_SECONDS} s") from None
        if done.returncode:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise PointFailed(f"{order.shape} ended with status {done.returncode}: {' '.join(last)}")
        point = json.loads(done.stdout.splitlines()[-1])
        say(
            f"{order.shape}: {1000 * point['seconds']:.1f} ms, of it the update {1000 * point['update_seconds']:.1f}, "
            f"{point['peak_bytes'] / MIB:,.0f} MiB, "
            f"{point['flops'] / point['seconds'] / 1e9:,.0f} GFLOP/s, {point['num_threads']} threads"
        )
        return point


def measure_all(measure: Measurer, options: argparse.Namespace) -> dict[str, Any]:
    base = measure(measure.order(options.base, min_seconds=options.seconds))
    # decided once: each point would measure both dtypes again
    dtype = base["dtype"]
    chosen = [sweep for sweep in SWEEPS if sweep.name in options.only]
    orders = {
        sweep.name: [
            measure.order(shape, dtype=dtype, min_seconds=options.seconds) for shape in sweep.shapes(options.base)
        ]
        for sweep in chosen
    }
    shuffled = list(dict.fromkeys(order for several in orders.values() for order in several))
    random.Random(1).shuffle(shuffled)
    for order in shuffled:
        measure(order)
    sweeps = [fitted(sweep, [measure(order) for order in orders[sweep.name]]) for sweep in chosen]
    facts = {name: base[name] for name in ("dtype", "kernels", "torch", "peak_flops_per_second")}
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "command": "python benchmarks/growth.py " + " ".join(_shown_arguments(sys.argv[1:])),
        "machine": machine() | facts,
        "base": asdict(options.base),
        "sweeps": sweeps,
        "checks": long_checks(sweeps),
    }
    return result if options.sweeps_alone else result | extras(measure, dtype, result)


def _shown_arguments(arguments: list[str]) -> list[str]:
    """Return the command's own words without places of this machine."""
    places = ("--work", "--markdown")
    kept, skip = [], False
    for word in arguments:
        if not skip and not word.startswith(places):
            kept.append(word)
        skip = word in places
    return kept


def fitted(sweep: Sweep, points: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the points with both fitted curves: milliseconds and MiB over the sweep's size."""
    xs = [float(value) for value in sweep.values]
    rates = [point["flops"] / point["seconds"] / 1e9 for point in points]
    times = [1000 * point["seconds"] for point in points]
    memories = [(point["peak_bytes"] - point["held_bytes"]) / MIB for point in points]
    return {
        "name": sweep.name,
        "what": sweep.what,
        "points": [{"x": value} | point for value, point in zip(sweep.values, points, strict=True)],
        "time": _curve(xs, times, sweep.time_powers, rates),
        "memory": _curve(xs, memories, sweep.memory_powers, []),
    }


def _curve(xs: list[float], ys: list[float], powers: tuple[int, ...], rates: list[float]) -> dict[str, Any]:
    curve, bend = fit(xs, ys, powers), find_bend(xs, ys, powers)
    at = None if bend is None else xs.index(bend.x)
    return {
        "line": str(curve),
        "coefficients": curve.coefficients,
        "residuals": residuals(curve, xs, ys),
        "bend": None
        if bend is None or at is None
        else {"x": int(bend.x), "off": bend.off, "rates": rates[at - 1 : at + 1]},
    }


def long_checks(sweeps: list[dict[str, Any]]) -> dict[str, bool]:
    """Return whether a row of 8,192 tokens trains, and whether memory grows with the row as a straight line."""
    by_name = {sweep["name"]: sweep for sweep in sweeps}
    if "one-row" not in by_name:
        return {}
    sweep = by_name["one-row"]
    longest = sweep["points"][-1]
    return {
        "long_sequence_trains": longest["x"] == LONG_TOKENS and longest["losses"][-1] < longest["losses"][0],
        "memory_linear_in_sequence": max(map(abs, sweep["memory"]["residuals"])) <= LONG_MEMORY_OFF,
    }


def extras(measure: Measurer, dtype: str, result: dict[str, Any]) -> dict[str, Any]:
    """Return one core beside two, the recipe's step, and the memory of other sizes."""
    config, _ = load_run(RECIPE, [])
    shape = recipe_shape(config)
    tied = config.model.tied_embeddings
    order = measure.order(shape, dtype=dtype, tied_embeddings=tied, warmup_steps=1, min_steps=3, min_seconds=0.0)
    recipe = measure(order)
    recipe |= {"recipe_batch_tokens": config.train.batch_tokens}
    checks = {"gpt2_124m_within_12_gib": recipe["peak_bytes"] < RECIPE_LIMIT_BYTES}
    found: dict[str, Any] = {"recipe": recipe, "checks": result["checks"] | checks}
    if usable_cores() >= 2:
        found["threads"] = [threads(measure, shape, dtype) for shape in THREADS_SHAPES]
    layers = [sweep for sweep in result["sweeps"] if sweep["name"] == "layers"]
    return found | ({"memory": other_sizes(config, recipe, layers[0]["points"])} if layers else {})


def recipe_shape(config: RunConfig) -> Shape:
    """Return one microbatch of a run as a shape."""
    model = config.model
    rows = config.train.microbatch_tokens // model.seq_len
    return Shape(model.num_layers, model.num_heads, model.d_model, model.seq_len, model.vocab_size, rows)


def threads(measure: Measurer, shape: Shape, dtype: str) -> dict[str, Any]:
    one, two = (measure(measure.order(shape, dtype=dtype, num_cores=number)) for number in (1, 2))
    return {"shape_text": str(shape), "one": one["seconds"], "two": two["seconds"]}


def other_sizes(config: RunConfig, recipe: dict[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the memory of other sizes: states counted, activations by what a layer of the sweep takes."""
    from headwater.forecast.work import BYTES_PER_VALUE
    from headwater.model.count import count_parameters

    first, last = layers[0], layers[-1]
    per_layer = (_activations(last) - _activations(first)) / (last["x"] - first["x"])
    slope = per_layer / (first["tokens"] * first["shape"]["d_model"])
    itemsize = recipe["cast_bytes"] / count_parameters(config.model).matmul
    rows = []
    for num_layers, width in SIZES:
        changed = {"num_layers": num_layers, "d_model": width, "num_heads": width // HEAD_DIM}
        model = load_run(RECIPE, [f"model.{name}={value}" for name, value in changed.items()])[0].model
        count = count_parameters(model)
        in_matrices = count.matmul - model.vocab_size * width
        rows.append(
            {
                "num_layers": num_layers,
                "d_model": width,
                "parameters": count.total,
                "weights": BYTES_PER_VALUE * count.total,
                "gradients": BYTES_PER_VALUE * count.total,
                "optimizer": BYTES_PER_VALUE * (2 * count.total - in_matrices),
                "casts": itemsize * count.matmul,
                "activations": [slope * tokens * num_layers * width for tokens in MEMORY_TOKENS],
            }
        )
    model = config.model
    beside = recipe["peak_bytes"] - recipe["state_bytes"] - recipe["cast_bytes"]
    beside -= slope * recipe["tokens"] * model.num_layers * model.d_model
    return {
        "vocab_size": model.vocab_size,
        "bytes_per_token_layer_width": slope,
        "tokens": MEMORY_TOKENS,
        "beside": beside,
        "rows": rows,
    }


def _activations(point: dict[str, Any]) -> float:
    """Return what a step holds beside states and casts."""
    return point["peak_bytes"] - point["held_bytes"] - point["state_bytes"] - point["cast_bytes"]


if __name__ == "__main__":
    sys.exit(main())
