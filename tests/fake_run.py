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
LOWEST = {"books": 1.22, "speeches": 1.37, "articles": 1.18, "code": 1.05, "documentation": 1.49, "almanac": 0.31}
PROBES = {  # chance, items, and the step, the low and the high of the rise
    "capitals": (0.005, 190, 180, 0.005, 0.88),
    "agreement": (0.5, 200, 60, 0.5, 0.91),
    "sums": (0.1, 150, 260, 0.1, 0.67),
    "cause": (0.5, 120, 120, 0.5, 0.83),
}
PROMPTS = ["The capital of France is", "In the beginning", "def read_file(path):", "My fellow citizens,"]
WORDS = "the of and to in that he was it for with as his on be at by had not are but from or have an they which one"
REASONS = [
    ("name", "first-light", "recipe", "first-light", "the name of the run's folder"),
    ("model.num_layers", 6, "recipe", "first-light", "fits ten minutes on two cores"),
    ("model.head_dim", 64, "rule", None, "64 up to a width of 1024 (Qwen3)"),
    ("optim.matrix_lr", 0.02, "rule", None, "Muon's default, scaled by the width (arXiv 2502.16982)"),
    ("optim.max_grad_norm", 1.0, "default", None, ""),
    ("train.batch_tokens", 16_384, "user", "command line (train.batch_tokens=16384)", ""),
    ("train.z_loss", None, "default", None, "off below a billion parameters"),
]
BATCH_TOKENS, STEP_TOKENS = 16_384, 512
"Of a step of a whole run, and of one written by hand."
PEAK = 412e9
START = {"event": "start", "attempt": 1, "step": 0, "time": 1e9}


# ---- records by hand


def step(number: int, attempt: int = 1, **more: Any) -> dict[str, Any]:
    of_step = {
        "event": "step",
        "attempt": attempt,
        "step": number,
        "tokens_seen": number * STEP_TOKENS,
        "loss": 2 + 6 / number,
    }
    measured = {"lr": 0.01, "grad_norm": 0.4 + 1 / number, "tokens_per_second": 9000.0 + number, "seconds": 0.05}
    return of_step | measured | {"time": 1e9 + number} | more


def steps(first: int, last: int, attempt: int = 1) -> list[dict[str, Any]]:
    return [step(number, attempt) for number in range(first, last + 1)]


def validation(number: int, score: float | None = None) -> dict[str, Any]:
    scores = {"all": score or 1 + 3 / number, "mine": 1.1 + 3 / number}
    at = {"attempt": 1, "step": number, "tokens_seen": number * STEP_TOKENS, "time": 1e9 + number}
    return {"event": "validation", **at, "loss": scores, "bits_per_byte": scores}


def resume(number: int, attempt: int = 2) -> dict[str, Any]:
    return {"event": "resume", "attempt": attempt, "step": number, "time": 1e9 + number}


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def add(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        file.write(lines(*records))


def write_records(run_dir: Path, records: list[dict[str, Any]]) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "records.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")


def troubled_run(seed: int) -> list[dict[str, Any]]:
    """Return the records of a run that is killed, resumed and rolled back at chance moments."""
    chance, at, attempt = random.Random(seed), 0, 1
    records = [START | {"rows_consumed": 0}]
    for _ in range(chance.randint(5, 120)):
        at += 1
        records.append(step(at, attempt, loss=chance.choice([1 / at + attempt, chance.random() * 9])))
        if chance.random() < 0.2:
            kind = chance.choice(["validation", "samples", "checkpoint"])
            took = {"seconds" if kind == "checkpoint" else "evaluation_seconds": 1.0}
            records.append({"event": kind, "attempt": attempt, "step": at, "text": "a\u2028<b>é"} | took)
        if chance.random() < 0.08:
            at, attempt = chance.randint(0, at), attempt + 1
            back = {"event": chance.choice(["resume", "start"]), "attempt": attempt, "step": at, "rows_consumed": at}
            records.append(back)
        elif chance.random() < 0.04:
            at = chance.randint(0, at)
            records.append({"event": "rollback", "attempt": attempt, "step": at, "rows_consumed": 999, "first_row": at})
        elif chance.random() < 0.05 and attempt > 1:  # an owner that was replaced and doesn't know it yet
            records.append(step(at + 1, attempt - 1))
    return records


# ---- a whole run


def json_file(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def corpus_manifest() -> dict[str, Any]:
    sources, train, held_out = {}, {}, {}
    for index, (name, kept_bytes) in enumerate(SOURCES.items()):
        documents = kept_bytes // (4000 + 900 * index)
        lost = {
            "near_duplicate": (documents // 40, kept_bytes // 37),
            "too_short": (documents // 25, kept_bytes // 3100),
        }
        lost |= {"held_out_probe": (7 + index, 911 * (7 + index))}
        dropped = {reason: {"documents": some, "bytes": size} for reason, (some, size) in lost.items()}
        kept = {"documents": documents, "bytes": kept_bytes}
        read = {unit: kept[unit] + sum(reason[unit] for reason in dropped.values()) for unit in kept}
        sources[name] = {"read": read, "kept": kept, "dropped": dropped}
        held_out[name] = {unit: kept[unit] // 50 for unit in kept}
        train[name] = {unit: kept[unit] - held_out[name][unit] for unit in kept}
    return {"digest": "sha256:2b", "sources": sources, "splits": {"train": train, "validation": held_out}}


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
            "mfu": round(speed * 6.3e6 / PEAK, 4), "seconds": round(BATCH_TOKENS / speed, 4),
        })  # fmt: skip
    return records


def measured(event: str, step: int, seconds: float, **more: Any) -> dict[str, Any]:
    return {"event": event, "step": step, "tokens_seen": step * BATCH_TOKENS, "evaluation_seconds": seconds, **more}


def validation_record(step: int) -> dict[str, Any]:
    scores = {name: floor + (7.6 - floor) * (1 + step / 3) ** -0.75 for name, floor in LOWEST.items()}
    real = {name: size for name, size in SOURCES.items() if name != "almanac"}
    mean, of_real = (sum(scores[name] * of[name] for name in of) / sum(of.values()) for of in (SOURCES, real))
    scores["all"] = mean
    losses = {name: score * 2.1 for name, score in scores.items()}
    return measured("validation", step, 1.1, bits_per_byte=scores, loss=losses, bits_per_byte_real_text=of_real)


def _rise(step: int, middle: float, low: float, high: float) -> float:
    return low + (high - low) / (1 + (middle / max(step, 0.1)) ** 2.5)


def probe_record(step: int) -> dict[str, Any]:
    scores = {
        name: {"right": _rise(step, *rise), "chance": chance, "num_items": num_items}
        for name, (chance, num_items, *rise) in PROBES.items()
    }
    return measured("probes", step, 2.2, probes=scores)


def sample_record(step: int, num_steps: int) -> dict[str, Any]:
    noise = random.Random(step)
    progress = math.log1p(step) / math.log1p(num_steps)

    def text(prompt: str) -> str:
        if progress < 0.3:
            return prompt + "".join(noise.choice("etaoin shrdlu,.\n") for _ in range(140))
        return prompt + " " + " ".join(noise.choice(WORDS.split()) for _ in range(34))

    paris = _rise(step, 190, 0.0002, 0.86)
    guesses = {
        " Paris": paris,
        " London": 0.3 * (1 - paris) * progress,
        "\n": 0.1 * (1 - paris),
        ",": 0.2 * (1 - progress),
    }
    following = [{"token": token, "probability": probability} for token, probability in guesses.items()]
    samples = [{"prompt": prompt, "text": text(prompt)} for prompt in PROMPTS]
    return measured("samples", step, 0.9, samples=samples, next=[{"prompt": PROMPTS[0], "next": following}])


def start_record(num_steps: int) -> dict[str, Any]:
    weights = {name: SOURCES[name] * EPOCHS[name] for name in SOURCES}
    tokens = {name: int(num_steps * BATCH_TOKENS * weight / sum(weights.values())) for name, weight in weights.items()}
    sources = {name: {"tokens": tokens[name], "epochs": round(4 * tokens[name] / SOURCES[name], 4)} for name in SOURCES}
    device = {"name": "AMD EPYC 9B14 (2 cores)", "cores": 2, "dtype": "bfloat16", "peak_flops_per_second": PEAK}
    device |= {"peak_how": "the best of 5 matrix multiplications of 2048"}
    return {
        "event": "start", "step": 0, "num_steps": num_steps, "num_tokens": num_steps * BATCH_TOKENS,
        "parameters": {"total": 5_312_768, "embedding": 1_572_864}, "device": device, "plan": {"sources": sources},
    }  # fmt: skip


def run_records(num_steps: int) -> list[dict[str, Any]]:
    """Return the records of a run that was stopped at two thirds and resumed from the checkpoint there."""
    probed = {0, *[2**power for power in range(20) if 2**power < num_steps], num_steps}
    records, stop_at = (
        [start_record(num_steps), probe_record(0), sample_record(0, num_steps), validation_record(0)],
        2 * num_steps // 3,
    )
    for record in step_records(num_steps):
        step = record["step"]
        records.append(record)
        if step % max(1, num_steps // 5) == 0 or step == num_steps:
            records.append({"event": "checkpoint", "step": step, "bytes": 63_000_000, "seconds": 0.41})
        if step % max(1, num_steps // 15) == 0 or step in probed:
            records.append(validation_record(step))
        if step in probed:
            records += [probe_record(step), sample_record(step, num_steps)]
        if step == stop_at:
            records.append({"event": "stopped", "step": step, "signal": "SIGTERM"})
            records.append({"event": "resume", "step": step, "from": f"step-{step:09}"})
    energy = {"energy_wh": 9.6, "energy_how": "2 cores at 36 W each, an assumption: no meter was found"}
    end = {"event": "finish", "step": num_steps, "seconds": 506.4, "peak_memory_bytes": 1.25e9}
    attempt = 1
    for index, record in enumerate([*records, end | energy]):
        attempt += record["event"] == "resume"
        record |= {"attempt": attempt, "time": 1_790_000_000 + index * 0.4}
    return [*records, end | energy | {"attempt": attempt, "time": 1_790_000_000 + len(records) * 0.4}]


def config() -> dict[str, Any]:
    names = ("setting", "value", "origin", "where", "why")
    return {"settings": {}, "reasons": [dict(zip(names, reason, strict=True)) for reason in REASONS]}


def evaluation(num_steps: int) -> dict[str, Any]:
    scores = {"bits_per_byte": validation_record(num_steps)["bits_per_byte"], "bits_per_byte_real_text": 1.3127}
    return scores | {"probe_details": probe_record(num_steps)["probes"], "baselines": {"xz": 2.2381, "ngram5": 1.9034}}


def forecast() -> dict[str, Any]:
    """Return a forecast whose band holds the time of `run_records`, and neither its loss nor its peak of memory."""
    training = {"hours": (0.11, 0.15, 0.2), "energy_kwh": (0.006, 0.01, 0.016)}
    named = {"loss": (1.15, 1.18, 1.21), "memory_gb": (0.9, 1.0, 1.1), **training}
    bands = {name: dict(zip(("p10", "p50", "p90"), band, strict=True)) for name, band in named.items()}
    of_training = {name: bands.pop(name) for name in training}
    return {"made_at": "2026-11-25T12:00:00+00:00", "loss_unit": "bits_per_byte", **bands, "training": of_training}


def write_run(parent: Path, name: str = "first-light", num_steps: int = 900) -> Path:
    """Write a complete, finished run under `parent` and return its folder."""
    run_dir = parent / name
    bytes_per_token = {name: 3.2 + 0.2 * index for index, name in enumerate(SOURCES)}
    files = {
        "config.json": config(),
        "data/corpus/manifest.json": corpus_manifest(),
        "data/tokenizer/manifest.json": {"digest": "sha256:3c", "bytes_per_token": bytes_per_token},
        "evaluation.json": evaluation(num_steps),
        "forecast.json": forecast(),
    }
    for path, value in files.items():
        json_file(run_dir / path, value)
    write_records(run_dir, run_records(num_steps))
    return run_dir
