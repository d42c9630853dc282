"""Tables in Markdown, put between two markers of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MIB, GIB = 1 << 20, 1 << 30
BEGIN, END = "<!-- growth: written by benchmarks/growth.py -->", "<!-- growth: end -->"


class NoMarkers(Exception):
    """A page has no place for the tables; the text says what it must hold."""


def put_between_markers(path: Path, lines: list[str]) -> None:
    """Replace what a page holds between the two markers; raise NoMarkers where it doesn't hold both, in order."""
    before, after = require_markers(path)
    path.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


def require_markers(path: Path) -> tuple[str, str]:
    """Return what stands before and after the markers; raise NoMarkers where a page doesn't hold both, in order."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarkers(f"{path} must hold the lines {BEGIN} and {END}, between which the tables go")
    return before, after


def page_lines(result: dict[str, Any]) -> list[str]:
    """Return all tables of a result, with the machine and the command that made them."""
    machine = result["machine"]
    kernels = "kernels compiled" if machine["kernels"] else "without kernels"
    peak = machine["peak_flops_per_second"] / 1e9
    lines = [
        f"{result['date']}, {machine['processor']} with {machine['cores']} cores, torch {machine['torch']}, "
        f"{machine['dtype']}, {kernels}, matrix-multiply peak {peak:,.0f} GFLOP/s: `{result['command']}` "
        f"({result['minutes']:.1f} minutes). Base: {shape_text(result['base'])}."
    ]
    for sweep in result["sweeps"]:
        lines += ["", *sweep_lines(sweep)]
    if "threads" in result:
        lines += ["", *threads_lines(result["threads"])]
    if "recipe" in result:
        lines += ["", *recipe_lines(result["recipe"])]
    if "memory" in result:
        lines += ["", *memory_lines(result["memory"])]
    return lines


def shape_text(shape: dict[str, Any]) -> str:
    return (
        f"{shape['num_layers']} layers, width {shape['d_model']}, sequence {shape['seq_len']}, vocabulary "
        f"{shape['vocab_size']:,}, {shape['rows']} rows a step"
    )


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Return a table whose columns are aligned to the right."""
    return ["| " + " | ".join(row) + " |" for row in (headings, ["--:"] * len(headings), *rows)]


def sweep_lines(sweep: dict[str, Any]) -> list[str]:
    time_fit, memory_fit = sweep["time"], sweep["memory"]
    headings = [sweep["what"], "ms", "off the line", "of it the update", "tokens/s", "GFLOP", "GFLOP/s"]
    headings += ["MiB of the step", "off the line", "of it states and casts", "peak MiB"]
    rows = [
        [
            f"{point['x']:,}",
            f"{1000 * point['seconds']:,.1f}",
            f"{time_off:+.1%}",
            f"{1000 * point['update_seconds']:,.1f}",
            f"{point['tokens'] / point['seconds']:,.0f}",
            f"{point['flops'] / 1e9:,.0f}",
            f"{point['flops'] / point['seconds'] / 1e9:,.0f}",
            f"{(point['peak_bytes'] - point['held_bytes']) / MIB:,.0f}",
            f"{memory_off:+.1%}",
            f"{(point['state_bytes'] + point['cast_bytes']) / MIB:,.0f}",
            f"{point['peak_bytes'] / MIB:,.0f}",
        ]
        for point, time_off, memory_off in zip(
            sweep["points"], time_fit["residuals"], memory_fit["residuals"], strict=True
        )
    ]
    return [
        f"### {sweep['what'][0].upper()}{sweep['what'][1:]}",
        "",
        *table(headings, rows),
        "",
        f"Time: ms = {time_fit['line']}; {bend_text(time_fit)}. Memory: MiB = {memory_fit['line']}; "
        f"{bend_text(memory_fit)}.",
    ]


def bend_text(fitted: dict[str, Any]) -> str:
    worst = max(map(abs, fitted["residuals"]))
    text = f"at most {worst:.1%} off"
    bend = fitted["bend"]
    if bend is None:
        return f"{text}, no bend"
    side = "above" if bend["off"] > 0 else "below"
    rates = f" ({bend['rates'][0]:,.0f} GFLOP/s before it, {bend['rates'][1]:,.0f} there)" if bend["rates"] else ""
    return (
        f"{text}, bends at x = {bend['x']:,}, {abs(bend['off']):.0%} {side} the curve through the smaller points{rates}"
    )


def threads_lines(rows: list[dict[str, Any]]) -> list[str]:
    headings = ["layers, heads, width, sequence, vocabulary, rows", "1 core, ms", "2 cores, ms", "times as fast"]
    cells = [
        [row["shape_text"], f"{1000 * row['one']:,.1f}", f"{1000 * row['two']:,.1f}", f"{row['one'] / row['two']:.2f}"]
        for row in rows
    ]
    return ["### One core and two", "", *table(headings, cells)]


def recipe_lines(point: dict[str, Any]) -> list[str]:
    seconds, tokens, step_tokens = point["seconds"], point["tokens"], point["recipe_batch_tokens"]
    update = point["update_seconds"]
    whole_seconds = (seconds - update) * step_tokens / tokens + update
    return [
        "### gpt2-124m",
        "",
        f"{point['parameters'] / 1e6:.1f} M parameters, a microbatch of {tokens:,} tokens and an update, median of "
        f"{len(point['seconds_of_steps'])}: {seconds:.1f} s, of which the update {update:.1f}, "
        f"{tokens / seconds:,.0f} tokens/s, "
        f"{point['flops'] / seconds / 1e9:,.0f} GFLOP/s; peak {point['peak_bytes'] / GIB:.2f} GiB, of which "
        f"{point['held_bytes'] / GIB:.2f} were held before the model and "
        f"{(point['state_bytes'] + point['cast_bytes']) / GIB:.2f} are states and casts. A step of the recipe has "
        f"{step_tokens:,} tokens and one update: about {whole_seconds / 60:.1f} minutes here, "
        f"{step_tokens / whole_seconds:,.0f} tokens/s.",
    ]


def memory_lines(memory: dict[str, Any]) -> list[str]:
    headings = ["layers × width", "parameters", "weights", "gradients", "optimizer", "casts"]
    headings += [f"activations, {tokens:,} tokens" for tokens in memory["tokens"]]
    rows = [
        [
            f"{row['num_layers']} × {row['d_model']}",
            f"{row['parameters'] / 1e6:,.0f} M",
            *(f"{row[part] / GIB:.2f}" for part in ("weights", "gradients", "optimizer", "casts")),
            *(f"{value / GIB:.2f}" for value in row["activations"]),
        ]
        for row in memory["rows"]
    ]
    return [
        "### Memory of other sizes",
        "",
        f"GiB; vocabulary {memory['vocab_size']:,}. Activations of one microbatch by the slope over layers above: "
        f"{memory['bytes_per_token_layer_width']:.1f} bytes a token, layer and unit of width, whatever the sequence. "
        f"The process, the loss and the update come on top (gpt2-124m: {memory['beside'] / GIB:.2f} GiB).",
        "",
        *table(headings, rows),
    ]
