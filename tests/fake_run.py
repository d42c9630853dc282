"""A run's folder as the other stages leave it, made in a moment: the shapes of a real run, with invented numbers."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

SOURCES = {
    "books": 4_332_000,
    "speeches": 9_710_000,
    "articles": 8_240_000,
    "code": 11_900_000,
    "documentation": 1_480_000,
    "almanac": 6_020_000,
}
EPOCHS = {"books": 1.02, "speeches": 1.0, "articles": 1.08, "code": 0.55, "documentation": 1.9, "almanac": 1.31}
BATCH_TOKENS = 16_384
PEAK = 412e9


def json_file(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def corpus_manifest() -> dict[str, Any]:
    sources, train, validation = {}, {}, {}
    for index, (name, kept_bytes) in enumerate(SOURCES.items()):
        documents = kept_bytes // (4000 + 900 * index)
        dropped = {
            "near_duplicate": {"documents": documents // 40, "bytes": kept_bytes // 37},
            "too_short": {"documents": documents // 25, "bytes": kept_bytes // 3100},
            "held_out_probe": {"documents": 7 + index, "bytes": 911 * (7 + index)},
        }
        held_out = {"documents": documents // 50, "bytes": kept_bytes // 50}
        kept = {"documents": documents, "bytes": kept_bytes}
        read = {unit: kept[unit] + sum(reason[unit] for reason in dropped.values()) for unit in kept}
        sources[name] = {"read": read, "kept": kept, "dropped": dropped}
        validation[name] = held_out
        train[name] = {unit: kept[unit] - held_out[unit] for unit in kept}
    splits = {"train": train, "validation": validation}
    return {
        "format": "headwater-corpus",
        "format_version": 1,
        "key": "sha256:1a",
        "digest": "sha256:2b",
        "sources": sources,
        "splits": splits,
    }


def step_records(num_steps: int, seed: int = 0) -> list[dict[str, Any]]:
    noise = random.Random(seed)
    records = []
    for step in range(1, num_steps + 1):
        falling = 2.05 + 7.0 * (step + 3) ** -0.42 * (1 - 0.06 * step / num_steps)
        speed = 33_000 + noise.gauss(0, 700) - (9000 if noise.random() < 0.01 else 0) - (20_000 if step == 1 else 0)
        records.append({
            "event": "step", "step": step, "tokens_seen": step * BATCH_TOKENS,
            "loss": falling + noise.gauss(0, 0.035), "lr": 0.02 * min(1, step / 20) * min(1, (num_steps - step) / (0.3 * num_steps)),
            "grad_norm": 0.35 + 4 / (step + 2) + abs(noise.gauss(0, 0.04)), "tokens_per_second": round(speed, 1),
            "mfu": round(speed * 6.3e6 / PEAK, 4), "seconds": round(BATCH_TOKENS / speed, 4), "data_wait_fraction": 0.002,
        })  # fmt: skip
    return records


def probed_steps(num_steps: int) -> list[int]:
    """Return the steps at which the probes are scored: doubling, and the last."""
    return [0, *[2**power for power in range(20) if 2**power < num_steps], num_steps]


def validation_record(step: int) -> dict[str, Any]:
    base = {"books": 1.22, "speeches": 1.37, "articles": 1.18, "code": 1.05, "documentation": 1.49, "almanac": 0.31}
    scores = {name: floor + (7.6 - floor) * (1 + step / 3) ** -0.75 for name, floor in base.items()}
    scores["all"] = sum(scores[name] * SOURCES[name] for name in SOURCES) / sum(SOURCES.values())
    real = sum(scores[name] * SOURCES[name] for name in SOURCES if name != "almanac") / sum(
        SOURCES[name] for name in SOURCES if name != "almanac"
    )
    losses = {name: score * 2.1 for name, score in scores.items()}
    return {
        "event": "validation",
        "step": step,
        "tokens_seen": step * BATCH_TOKENS,
        "bits_per_byte": scores,
        "loss": losses,
        "bits_per_byte_real_text": real,
        "evaluation_seconds": 1.1,
    }


def _rise(step: int, middle: float, low: float, high: float) -> float:
    return low + (high - low) / (1 + (middle / max(step, 0.1)) ** 2.5)


def probe_record(step: int) -> dict[str, Any]:
    scores = {
        "capitals": {
            "right": _rise(step, 180, 0.005, 0.88),
            "chance": 0.005,
            "num_items": 190,
            "mean_probability": _rise(step, 220, 0.004, 0.71),
            "median_rank": 1,
        },
        "agreement": {"right": _rise(step, 60, 0.5, 0.91), "chance": 0.5, "num_items": 200},
        "sums": {"right": _rise(step, 260, 0.1, 0.67), "chance": 0.1, "num_items": 150},
        "cause": {"right": _rise(step, 120, 0.5, 0.83), "chance": 0.5, "num_items": 120},
    }
    return {
        "event": "probes",
        "step": step,
        "tokens_seen": step * BATCH_TOKENS,
        "probes": scores,
        "evaluation_seconds": 2.2,
    }


PROMPTS = ["The capital of France is", "In the beginning", "def read_file(path):", "My fellow citizens,"]
_WORDS = "the of and to in that he was it for with as his on be at by had not are but from or have an they which one you were her all she there would their we him been has when who will more no if out so said what up its about into than them can only other new some could time these two may then do first any my now such like our over man me even most made after also did many before must through back years where much your way well down should because each just those people"


def sample_record(step: int, num_steps: int) -> dict[str, Any]:
    noise = random.Random(step)
    progress = math.log1p(step) / math.log1p(num_steps)

    def text(prompt: str) -> str:
        if progress < 0.3:
            return prompt + "".join(noise.choice("etaoin shrdlu,.\n") for _ in range(140))
        return prompt + " " + " ".join(noise.choice(_WORDS.split()) for _ in range(34))

    paris = _rise(step, 190, 0.0002, 0.86)
    rest = 1 - paris
    guesses = [
        (" Paris", paris),
        (" Lyon", 0.03 * rest),
        (" the", rest * max(0, 0.5 - progress / 2)),
        (" a", rest * 0.1),
        (" London", 0.12 * rest * progress),
        (" Brussels", 0.1 * rest * progress),
        ("\n", rest * 0.05),
        (" not", 0.04 * rest),
        (",", 0.2 * rest * (1 - progress)),
    ]
    guesses.sort(key=lambda pair: -pair[1])
    return {
        "event": "samples", "step": step, "tokens_seen": step * BATCH_TOKENS, "evaluation_seconds": 0.9,
        "samples": [{"prompt": prompt, "text": text(prompt)} for prompt in PROMPTS],
        "next": [{"prompt": PROMPTS[0], "next": [{"token": token, "probability": probability} for token, probability in guesses]}],
    }  # fmt: skip


def start_record(num_steps: int) -> dict[str, Any]:
    weights = {name: SOURCES[name] * EPOCHS[name] for name in SOURCES}
    tokens = {name: int(num_steps * BATCH_TOKENS * weight / sum(weights.values())) for name, weight in weights.items()}
    plan = {
        "sources": {
            name: {"tokens": tokens[name], "epochs": round(4 * tokens[name] / SOURCES[name], 4)} for name in SOURCES
        }
    }
    return {
        "event": "start", "step": 0, "num_steps": num_steps, "num_tokens": num_steps * BATCH_TOKENS,
        "parameters": {"total": 5_312_768, "embedding": 1_572_864, "matmul": 3_735_552}, "flops_per_token": 6.3e6,
        "device": {"name": "AMD EPYC 9B14 (2 cores)", "cores": 2, "dtype": "bfloat16", "compiled": True, "peak_flops_per_second": PEAK, "peak_how": "the best of 5 matrix multiplications of 2048"},
        "plan": plan,
    }  # fmt: skip


def run_records(num_steps: int) -> list[dict[str, Any]]:
    """Return the records of a run that was stopped at two thirds and resumed from the checkpoint there."""
    probed, records, stop_at = set(probed_steps(num_steps)), [start_record(num_steps)], 2 * num_steps // 3
    attempt = 1
    if 0 in probed:
        records += [probe_record(0), sample_record(0, num_steps), validation_record(0)]
    for record in step_records(num_steps):
        step = record["step"]
        records.append(record)
        if step % max(1, num_steps // 5) == 0 or step == num_steps:
            records.append(
                {
                    "event": "checkpoint",
                    "step": step,
                    "path": f"checkpoints/step-{step:09}",
                    "bytes": 63_000_000,
                    "seconds": 0.41,
                }
            )
        if step % max(1, num_steps // 15) == 0 or step == num_steps or step in probed:
            records.append(validation_record(step))
        if step in probed:
            records += [probe_record(step), sample_record(step, num_steps)]
        if step == stop_at:
            records.append({"event": "stopped", "step": step, "signal": "SIGTERM"})
            records.append({"event": "resume", "step": step, "from": f"step-{step:09}", "_attempt": 2})
    records.append(
        {
            "event": "finish",
            "step": num_steps,
            "tokens_seen": num_steps * BATCH_TOKENS,
            "seconds": 506.4,
            "energy_wh": 9.6,
            "peak_memory_bytes": 1.25e9,
            "energy_how": "2 cores at 36 W each, an assumption: no meter was found",
        }
    )
    for index, record in enumerate(records):
        attempt = record.pop("_attempt", attempt)
        record |= {"attempt": attempt, "time": 1_790_000_000 + index * 0.4}
    return records


def config() -> dict[str, Any]:
    reasons = [
        {
            "setting": "name",
            "value": "first-light",
            "origin": "recipe",
            "where": "first-light",
            "why": "the name of the run's folder",
        },
        {
            "setting": "model.num_layers",
            "value": 6,
            "origin": "recipe",
            "where": "first-light",
            "why": "fits ten minutes on two cores",
        },
        {
            "setting": "model.d_model",
            "value": 256,
            "origin": "recipe",
            "where": "first-light",
            "why": "fits ten minutes on two cores",
        },
        {
            "setting": "model.head_dim",
            "value": 64,
            "origin": "rule",
            "where": None,
            "why": "64 up to a width of 1024 (Qwen3)",
        },
        {
            "setting": "optim.matrix_lr",
            "value": 0.02,
            "origin": "rule",
            "where": None,
            "why": "Muon's default, scaled by the width (arXiv 2502.16982)",
        },
        {"setting": "optim.max_grad_norm", "value": 1.0, "origin": "default", "where": None, "why": ""},
        {
            "setting": "train.batch_tokens",
            "value": BATCH_TOKENS,
            "origin": "user",
            "where": "command line (train.batch_tokens=16384)",
            "why": "",
        },
        {
            "setting": "train.z_loss",
            "value": None,
            "origin": "default",
            "where": None,
            "why": "off below a billion parameters",
        },
    ]
    return {"format": "headwater-config", "format_version": 1, "settings": {}, "reasons": reasons}


def evaluation(num_steps: int) -> dict[str, Any]:
    details = probe_record(num_steps)["probes"]
    return {
        "bits_per_byte": validation_record(num_steps)["bits_per_byte"], "bits_per_byte_real_text": 1.3127,
        "probes": {name: score["right"] for name, score in details.items()}, "probe_details": details, "baselines": {"xz": 2.2381, "ngram5": 1.9034},
    }  # fmt: skip


def forecast() -> dict[str, Any]:
    """Return a forecast whose band holds the time of `run_records`, and neither its loss nor its peak of memory."""
    return {
        "format": "headwater-forecast",
        "format_version": 1,
        "key": "sha256:5e",
        "made_at": "2026-11-25T12:00:00+00:00",
        "loss_unit": "bits_per_byte",
        "loss": {"p10": 1.15, "p50": 1.18, "p90": 1.21},
        "memory_gb": {"p10": 0.9, "p50": 1.0, "p90": 1.1},
        "training": {
            "hours": {"p10": 0.11, "p50": 0.15, "p90": 0.2},
            "energy_kwh": {"p10": 0.006, "p50": 0.01, "p90": 0.016},
        },
        "how": {"hours": "steps of 0.5 s", "loss": "law of 9 runs"},
    }


def write_records(run_dir: Path, records: list[dict[str, Any]]) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record) + "\n" for record in records]
    (run_dir / "records.jsonl").write_text("".join(lines), encoding="utf-8")


def write_run(parent: Path, name: str = "first-light", num_steps: int = 900) -> Path:
    """Write a complete, finished run under `parent` and return its folder."""
    run_dir = parent / name
    json_file(run_dir / "config.json", config())
    json_file(run_dir / "data" / "corpus" / "manifest.json", corpus_manifest())
    json_file(
        run_dir / "data" / "tokenizer" / "manifest.json",
        {
            "format": "headwater-tokenizer",
            "format_version": 1,
            "digest": "sha256:3c",
            "bytes_per_token": {name: 3.2 + 0.2 * index for index, name in enumerate(SOURCES)},
        },
    )
    json_file(run_dir / "evaluation.json", evaluation(num_steps))
    json_file(run_dir / "forecast.json", forecast())
    write_records(run_dir, run_records(num_steps))
    return run_dir
