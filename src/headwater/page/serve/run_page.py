"""What the live page shows of a run: its charts, figures, samples and events, as plain values.

A page is also asked for while the run's first files are written, or of a folder that was copied in part: what is
missing or odd is empty. All text is of the run, so hostile: it is cut to a length, and the page shows it as text.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from headwater.core.files import read_json_or_none
from headwater.core.numbers import count, decimal, setting, significant, size
from headwater.core.records import Object, Record, amount, entries, held_out_score, table, text_scored
from headwater.page.charts.chart import series
from headwater.page.charts.of_run import MARKS, Chart, overlaid, peak_caption, probe_chart, run_charts, step_chart
from headwater.page.serve.following import FollowedRun
from headwater.runs.curves import points
from headwater.tokens.skipped_rows import name_documents

MAX_TEXT = 3000
"Characters of a sample, a prompt or a setting that are shown."
LOSS_NOTE = "The mean of ±5 % of the steps. Of runs with different tokenizers only bits per byte can be compared."
MAX_PROMPTS, MAX_TIMES, MAX_EVENTS, MAX_SETTINGS = 12, 4, 40, 200
SET_BY = {"user": "you", "recipe": "recipe", "rule": "rule"}
EVENTS = {"start": "started", "stopped": "stopped", "audit": "audit: two passes differ", "finish": "finished"}
EVENTS |= {event: words for event, (words, _, _) in MARKS.items()}


def run_page(run_dir: Path, run: FollowedRun, between: tuple[float, float] | None) -> Object:
    """Return everything shown of a run; charts of steps hold those `between` two amounts of tokens, if given."""
    start = (run.events.get("start") or [{}])[-1]
    return {
        "charts": _as_json(_charts(run_dir, run, between)),
        "figures": _figures(run, start, table(read_json_or_none(run_dir / "evaluation.json"))),
        "samples": _samples(run.events.get("samples", [])),
        "events": _events(run),
        "settings": _settings(run_dir),
    }


def _charts(run_dir: Path, run: FollowedRun, between: tuple[float, float] | None) -> dict[str, Chart | None]:
    first, last = run.between(*between) if between else (0, None)
    forecast, in_sight = table(read_json_or_none(run_dir / "forecast.json")), between or (-math.inf, math.inf)
    charts = run_charts(run.by_event(), lambda name: run.curve(name, first, last), forecast, in_sight, with_saves=True)
    # a run that rewards train has steps without a loss
    rewards = {name: points(run.events.get("step", []), "step", name) for name in ("reward", "kl_to_start")}
    charts |= {name: step_chart(name, curve, x="step") for name, curve in rewards.items()}
    probes = run.events.get("probes", [])
    for index, name in enumerate(dict.fromkeys(name for record in probes for name in table(record, "probes"))):
        latest = table(probes[-1], "probes", name)
        charts[f"probe {name[:80]}"] = probe_chart(
            name[:80], points(probes, "tokens_seen", "probes", name, "right"), latest, series(index)
        )
    return charts


def compared(runs: dict[str, FollowedRun], more_notes: list[str]) -> Object:
    """Return the loss of several runs laid over each other, their bits per byte on held-out text, and notes."""
    losses, scores = {}, {}
    for name, run in runs.items():
        with run.lock:  # another thread may be reading on
            run.poll()
            losses[name] = run.curve("loss")
            scores[name] = points(run.events.get("validation", []), "tokens_seen", "bits_per_byte", "all")
    charts = {
        "held_out": overlaid(
            "Bits per byte",
            "Of each run's held-out text, mostly a sample of it, during training.",
            scores,
            "bits per byte",
        ),
        "loss": overlaid("Loss", LOSS_NOTE, losses, "nats per token", smoothed=True),
    }
    notes = [_no_loss(name, run) for name, run in runs.items() if not losses[name]]
    return {"charts": _as_json(charts), "notes": [_cut(note, 300) for note in [*notes, *more_notes]]}


def _no_loss(name: str, run: FollowedRun) -> str:
    return f"{name} is trained by rewards and has no loss" if run.events.get("step") else f"{name} has no loss yet"


def _as_json(charts: dict[str, Chart | None]) -> Object:
    fields = Chart.__slots__  # asdict would copy every point
    return {key: {name: getattr(chart, name) for name in fields} for key, chart in charts.items() if chart is not None}


def _figures(run: FollowedRun, start: Record, evaluation: Object) -> list[Object]:
    """Return the figures of a run with their names and notes, of those that are known."""
    validation = (run.events.get("validation") or [{}])[-1]
    parameters, device = amount(start, "parameters", "total"), table(start, "device")
    steps, seen = run.columns["step"], run.columns["tokens_seen"]
    planned = amount(start, "num_tokens")
    peak = max((amount(each, "peak_memory_bytes") or 0 for each in run.events.get("checkpoint", [])), default=0)
    score, is_of_all = held_out_score(validation, evaluation if "finish" in run.events else {})
    scored = f"{text_scored({'is_of_all': is_of_all})}, step {validation.get('step', '')}"
    found = [
        ("tokens", count(seen[-1]) if steps else None, planned and f"of {count(planned)}"),
        ("bits per byte", score and decimal(score), scored),
        ("parameters", parameters and count(parameters), f"{device.get('name', '')} {device.get('dtype', '')}"),
        ("memory", peak and size(peak), peak_caption(start)),
    ]
    return [{"name": name, "value": value, "note": _cut(note or "", 120)} for name, value, note in found if value]


def _samples(records: list[Record]) -> list[Object]:
    """Return what the model wrote after each prompt, the latest first."""
    by_prompt: dict[str, list[Object]] = {}
    for record in reversed(records):
        for sample in entries(record, "samples"):
            prompt, text = _cut(sample.get("prompt", "")), _cut(sample.get("text", ""))
            if prompt in by_prompt or len(by_prompt) < MAX_PROMPTS:
                texts = by_prompt.setdefault(prompt, [])
                if len(texts) < MAX_TIMES:
                    texts.append({"step": record["step"], "text": text.removeprefix(prompt)})
    return [{"prompt": prompt, "texts": texts} for prompt, texts in by_prompt.items()]


def _events(run: FollowedRun) -> list[Object]:
    """Return what happened besides steps and measurements, the latest first."""
    found = [record for event in EVENTS for record in run.events.get(event, [])]
    found.sort(key=lambda record: (amount(record, "attempt") or 0, amount(record, "time") or 0), reverse=True)
    return [
        {"step": record["step"], "what": EVENTS[record["event"]], "how": _how(record), "time": amount(record, "time")}
        for record in found[:MAX_EVENTS]
    ]


def _how(record: Record) -> str:
    if record["event"] == "checkpoint":
        return f"{count(amount(record, 'bytes'))}B in {significant(amount(record, 'seconds') or 0.0)} s"
    documents = table(record, "documents")
    parts = [str(record[name]) for name in ("reason", "signal") if record.get(name)]
    if isinstance(documents.get("count"), int) and isinstance(documents.get("listed"), list):
        listed = [each for each in documents["listed"] if isinstance(each, list) and len(each) == 2]
        parts.append(name_documents(documents | {"listed": listed}))
    return _cut("; ".join(parts), 500)


def _settings(run_dir: Path) -> list[Object]:
    """Return the settings of a run that haven't their defaults, with who set each: the user's first, then by rules."""
    reasons = entries(read_json_or_none(run_dir / "config.json"), "reasons")
    chosen = [each for origin in SET_BY for each in reasons if each.get("origin") == origin]
    return [
        {
            "setting": _cut(each.get("setting", ""), 200),
            "value": _cut(setting(each.get("value")), 500),
            "set_by": SET_BY[each["origin"]],
        }
        for each in chosen[:MAX_SETTINGS]
    ]


def _cut(text: Any, most: int = MAX_TEXT) -> str:
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[:most]} … ({len(whole) - most:,} more characters)"
