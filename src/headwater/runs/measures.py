"""The few numbers that several parts of the page show, each worked out in one place."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from headwater.core.intervals import MIN_DOCUMENTS, share
from headwater.core.numbers import MISSING, number, plural, whole
from headwater.core.records import Object, Record, amount, table, text_scored
from headwater.corpus.sources.settings import REPLAYED
from headwater.runs.run_data import Points, RunData, points

MIN_TARGETS, MIN_SHOWN_TARGETS = 2500, 300
"Scored tokens; of fewer the standard error is over 2 %, and 6 %: a token's surprise deviates by about its mean."
_STAGES = {"rows": "tokens"}
"What a stage is counted with."
OF_OWN_TEXT = ("words",)
"Probes that are made of a run's held-out text; the others are of the almanac."
TIMED = {
    "validation": ("validation", "evaluation_seconds"),
    "probes": ("probes", "evaluation_seconds"),
    "samples": ("samples", "evaluation_seconds"),
    "checkpoint": ("checkpoints", "seconds"),
}
"By event: what a time is called, and a record's field of it."
BASELINES = {"xz": "xz\u00a0-9e", "ngram5": "5-gram"}


def final_bits_per_byte(run: RunData) -> tuple[float | None, str]:
    """Return the best account of the model's quality there is, and on which text it was measured."""
    for measured in (run.evaluation, run.last("validation")):
        score, text = _score(measured)
        if score is not None:
            return score, text if measured is run.evaluation else text_scored(measured, text)
    return None, "held-out text"


def _score(measured: Object) -> tuple[float | None, str]:
    """Return bits per byte of real text, where that was measured by itself, else of all; and which it is."""
    everything, real = amount(measured, "bits_per_byte", "all"), amount(measured, "bits_per_byte_real_text")
    return (everything, "held-out text") if real in (None, everything) else (real, "held-out real text")


def baselines(evaluation: Object) -> dict[str, float]:
    """Return the bits per byte that simpler models need for the same text, by name."""
    found = table(evaluation, "baselines")
    named = {BASELINES.get(name, name): number(value) for name, value in found.items()}
    return {name: value for name, value in named.items() if value is not None and value > 0}


def scores_of(evaluation: Object) -> dict[str, float]:
    """Return bits per byte by what was scored: real text, simpler models on it, all text with the almanac."""
    score, text = _score(evaluation)
    scores = {f"this model, {text}": score, **{f"{name}, {text}": bits for name, bits in baselines(evaluation).items()}}
    if (everything := amount(evaluation, "bits_per_byte", "all")) != score:
        scores["this model, all held-out text, with the almanac that a program writes"] = everything
    return {name: bits for name, bits in scores.items() if bits is not None}


def few_targets(evaluation: Object) -> str | None:
    """Return a warning where figures rest on so few held-out tokens that chance moves them; None elsewhere."""
    counts = table(evaluation, "num_targets")
    found = {name: int(count) for name in counts if (count := amount(counts, name)) is not None and count < MIN_TARGETS}
    if not found:
        return None
    named = {"all": found["all"]} if "all" in found else found
    words = ", ".join(f"{count:,} {'in all' if name == 'all' else f'of {name}'}" for name, count in named.items())
    error = 1 / math.sqrt(max(1, min(named.values())))
    return f"held-out tokens scored: {words}; chance alone moves a figure of so few by {error:.0%} or so"


def few_documents(evaluation: Object) -> str | None:
    """Return a warning where the held-out text is of too few documents to say how the model does on others."""
    num = amount(evaluation, "num_documents")
    if num is None or num >= MIN_DOCUMENTS:
        return None
    return f"of {plural(int(num), 'held-out document')} alone, too few for an interval: other text may score otherwise"


def repeated_text(evaluation: Object) -> str | None:
    """Return which share of the held-out lines stands in the training text, too; None of less than one in a hundred."""
    read = table(evaluation, "baseline_sample")
    lines, repeated, counted, tokens = (
        amount(read, name) or 0 for name in ("scored_lines", "repeated_lines", "counted_tokens", "of_tokens")
    )
    if repeated < 0.01 * max(1, lines):
        return None
    at_least = "at least " if counted < tokens else ""  # of the training text a sample was searched
    return f"{at_least}{repeated / lines:.0%} of the held-out lines are in the training text, too"


@dataclass(frozen=True)
class SinceBase:
    """Bits per byte of a source's held-out text: of the base before the first step, and of the model at the last."""

    source: str
    is_old: bool
    base: float
    now: float

    @property
    def change(self) -> str:
        return f"{100 * (self.now / self.base - 1):+.1f}\u00a0%"


def since_base(run: RunData) -> list[SinceBase]:
    """Return what a run that started from a base has learned and forgotten, new text first; nothing of other runs.

    Both are of the same sample of each source, as validations take it. A source of very few tokens has no figure.
    """
    first, last = (run.events("validation") or [{}])[0], run.last("validation")
    if amount(first, "step") != 0 or amount(last, "step") == 0:
        return []
    found = [
        SinceBase(name, name.startswith(REPLAYED), base, now)
        for name in run.sources
        if (base := amount(first, "bits_per_byte", name))
        and (now := amount(last, "bits_per_byte", name))
        and ((targets := amount(run.evaluation, "num_targets", name)) is None or targets >= MIN_SHOWN_TARGETS)
    ]
    return sorted(found, key=lambda each: each.is_old)


def lines_since_base(run: RunData) -> list[tuple[str, str]]:
    """Return what a run from a base has learned, and what it has forgotten or kept, each as a name and a line.

    Old are the base's own text, read again, and the probes of the almanac, whichever text the run reads.
    """
    changes = since_base(run)
    if not changes:
        return []
    new, old = (
        [f"{each.source} {each.base:.3f} → {each.now:.3f} ({each.change})" for each in changes if each.is_old is is_old]
        for is_old in (False, True)
    )
    first, last = ((run.events("probes") or [{}])[index] for index in (0, -1))
    probes = {
        name: (before, now)
        for name in table(first, "probes")
        if amount(first, "step") == 0 and name not in OF_OWN_TEXT
        if (before := amount(first, "probes", name, "right")) is not None
        and (now := amount(last, "probes", name, "right")) is not None
    }
    is_worse = [each.now > each.base for each in changes if each.is_old] + [now < was for was, now in probes.values()]
    parts = [f"old text {', '.join(old)}"] if old else []
    if probes:
        parts.append("right " + ", ".join(f"{name} {was:.0%} → {now:.0%}" for name, (was, now) in probes.items()))
    unit = f"bits per byte of {text_scored(run.last('validation'))}"
    lines = [("new text", f"{unit}: {', '.join(new)}")] if new else []
    return [
        *lines,
        ("forgotten" if any(is_worse) else "kept", f"{unit}: {'; '.join(parts)}")
        if parts
        else ("forgotten", "not measured: the base's text isn't here ([replay] names its run)"),
    ]


def is_on_real_text(run: RunData) -> bool:
    """Return whether validation measured real text by itself, without the almanac that the run has besides."""
    return _score(run.last("validation"))[1] == "held-out real text"


def quality_curve(run: RunData) -> Points:
    """Return bits per byte over tokens, as validations sample it: of real text where measured, else of every source."""
    if is_on_real_text(run):
        return points(run.events("validation"), "tokens_seen", "bits_per_byte_real_text")
    return bits_per_byte_curve(run, "all")


def bits_per_byte_curve(run: RunData, source: str) -> Points:
    return points(run.events("validation"), "tokens_seen", "bits_per_byte", source)


@dataclass(frozen=True, slots=True)
class Share:
    """What one source gives to training: its tokens, their share of all, and how often its text is read."""

    tokens: float | None = None
    fraction: float | None = None
    epochs: float | None = None


def read_shares(run: RunData) -> dict[str, Share]:
    """Return the share of each source over the whole run, by the plan; {} while no plan is known."""
    sources = table(run.start, "plan", "sources")
    tokens = {name: amount(sources, name, "tokens") for name in sources}
    total = sum(value for value in tokens.values() if value is not None)
    return {
        name: Share(value, value / total if value is not None and total else None, amount(sources, name, "epochs"))
        for name, value in tokens.items()
    }


def median_of(run: RunData, field: str) -> float | None:
    values = run.log.measured(field)
    return statistics.median(values) if values else None


def utilisation(run: RunData) -> tuple[float | None, Points]:
    """Return the largest peak that the run measured without load, and the fraction of it reached in each step.

    A process counts from the largest peak known to it; here all steps count from the same one. (None, []) without any.
    """
    device = {name: table(run.start, "device").get(name) for name in ("name", "cores", "dtype")}
    largest: float | None = None
    known: dict[object, float] = {}
    for start in run.log.starts:
        found = table(start, "device")
        peak = amount(found, "peak_flops_per_second")
        if peak is not None and "peak_under_load" not in found and device.items() <= found.items():
            largest = max(peak, largest or 0.0)
        if largest is not None:
            known[number(start.get("attempt"))] = largest
    if largest is None or largest <= 0:
        return None, []
    steps = zip(*(run.log.columns[name] for name in ("attempt", "tokens_seen", "mfu")), strict=True)
    return largest, [
        (seen, fraction * known[attempt] / largest)
        for attempt, seen, fraction in steps
        if attempt in known and math.isfinite(seen) and math.isfinite(fraction)
    ]


def ranks_of(start: Record) -> str:
    """Return how many ranks trained and how they lay: 4 ranks (replicate = 2 × shard = 2)."""
    num_ranks, sizes = amount(start, "plan", "ranks") or 1, table(start, "layout")
    many = {axis: size for axis in sizes if (size := amount(sizes, axis) or 1) > 1}
    machines = many.pop("machines", 1)
    layout = f" ({' × '.join(f'{axis} = {whole(size)}' for axis, size in many.items())})" if many else ""
    where = f" on {plural(int(machines), 'machine')}" if machines > 1 else ""
    return f"{plural(int(num_ranks), 'rank')}{layout}{where}"


def no_utilisation(run: RunData) -> str:
    """Return why there is none, where there is none."""
    if "peak_under_load" in table(run.start, "device"):
        return "not measured: other processes used the processor"
    return "not measured" if run.is_finished else MISSING


def median_share(curve: Points) -> float | None:
    return statistics.median(y for _, y in curve) if curve else None


def seconds_trained(run: RunData) -> float | None:
    """Return the time of training: the trainer's own figure at the end, or what its records add up to so far."""
    finished = amount(run.last("finish"), "seconds")
    return finished if finished is not None else sum(time_split(run).values()) or None


def time_split(run: RunData) -> dict[str, float]:
    """Return the seconds of training by kind of work, as the records time it, and what is left of the whole."""
    kinds = {"training steps": sum(run.log.measured("seconds"))}
    for event, (kind, field) in TIMED.items():
        kinds[kind] = sum(amount(record, field) or 0.0 for record in run.events(event))
    finished = amount(run.last("finish"), "seconds")
    if finished is not None:
        kinds["everything else"] = max(0.0, finished - sum(kinds.values()))
    return {kind: seconds for kind, seconds in kinds.items() if seconds > 0}


def stage_seconds(run: RunData) -> dict[str, float]:
    """Return the seconds of every stage of the run that was timed, training among them, in their order; {} of none."""
    timed = {str(name): number(value) for name, value in table(run.stages, "seconds").items()}
    before = ("corpus", "tokenizer", "tokens", "rows")
    names = [*(name for name in before if name in timed), "training", *(name for name in timed if name not in before)]
    every: dict[str, float] = {}
    for name in names:
        if seconds := {**timed, "training": seconds_trained(run)}[name]:
            every[_STAGES.get(name, name)] = every.get(_STAGES.get(name, name), 0.0) + seconds
    return every if len(every) > 1 else {}


def number_formats(run: RunData) -> dict[str, str]:
    """Return the number formats that the run was trained and validated in, as far as the records say."""
    formats = {
        "number format of training": table(run.start, "device").get("dtype"),
        "number format of validation": run.last("validation").get("dtype"),
    }
    return {name: value for name, value in formats.items() if isinstance(value, str)}


def right(probe: str, score: Object) -> str:
    """Return the fraction right; of a probe made from the run's own text with its interval of 95 % and chance."""
    if probe not in OF_OWN_TEXT:
        return f"{score['right']:.0%}"
    found = share(round(score["right"] * score["num_items"]), score["num_items"])
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%}; chance {score['chance']:.0%})"


def computed_twice(step: Record) -> str:
    """Return why a step took about twice the time of others: its gradient was computed again; "" of most steps."""
    return "gradient checked" if "gradient_error" in step else ""


def gradient_line(finish: Record) -> str | None:
    """Return how far int8 took gradients, of the record of a run's end; None where nothing was rounded to it."""
    error = amount(finish, "gradient_error")
    return None if error is None else f"rounding to int8 changed a matrix's gradient by {error:.1%} of its norm at most"
