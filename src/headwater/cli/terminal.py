"""What a run says: a card before, one line an interval, live progress on a terminal only, a card after."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO

from headwater.cli.time_left import TimeLeft
from headwater.durations import duration
from headwater.evaluate.printable import printable
from headwater.machine.place import named
from headwater.report.measures import audit_line
from headwater.report.numbers import carbon_unit, count, energy_unit, significant
from headwater.report.outcome import LAST_VALIDATION, Outcome, outcomes
from headwater.train.interventions import told as documents_line

if TYPE_CHECKING:
    from headwater.train.settings import TrainSettings

CARD_WIDTH = 86


def safe(text: str) -> str:
    """Return text that can't drive a terminal: control and direction characters are shown as escapes."""
    return printable(text, keep="\n\t")


def say(message: str) -> None:
    """Print one line of progress."""
    print(printable(message), flush=True)


def say_aside(message: str) -> None:
    """Print one line of progress on standard error, where standard output is for JSON alone."""
    print(printable(message), file=sys.stderr, flush=True)


def width() -> int:
    """Return the width of lines: the terminal's, from 60 to 100 characters."""
    return max(60, min(shutil.get_terminal_size().columns, 100))


def hours_interval(hours: dict[str, float]) -> str:
    """Return the median of hours with P10 and P90: 5m08s (4m47s to 5m31s)."""
    p10, p50, p90 = (duration(3600 * hours[name]) for name in ("p10", "p50", "p90"))
    return f"{p50} ({p10} to {p90})"


def interval(values: dict[str, float], unit: str) -> str:
    """Return the median with its unit, and P10 and P90: 0.595 GiB (0.559 to 0.635)."""
    p10, p50, p90 = (significant(values[name]) for name in ("p10", "p50", "p90"))
    return f"{p50} {unit}".strip() + f" ({p10} to {p90})"


def energy_interval(kwh: dict[str, float]) -> str:
    """Return the median of kWh with P10 and P90, in Wh where that reads better: 3.21 Wh (2.10 to 4.80)."""
    unit, factor = energy_unit(kwh["p50"])
    return interval({name: factor * value for name, value in kwh.items()}, unit)


def carbon_interval(kg: dict[str, float]) -> str:
    """Return the median of kg of CO2 with P10 and P90, in g or tonnes where that reads better."""
    unit, factor = carbon_unit(kg["p50"])
    return interval({name: factor * value for name, value in kg.items()}, f"{unit} CO2")


def card(title: str, lines: Iterable[tuple[str, str]], out: TextIO | None = None) -> None:
    """Print a boxed list of (name, value), on standard output unless `out` is given; long values are wrapped."""
    out, title = out or sys.stdout, printable(title)
    rows = [(name, piece) for name, value in lines for name, piece in _wrapped(name, safe(value))]
    inner = CARD_WIDTH - 4
    print(f"╭─ {title} " + "─" * max(0, CARD_WIDTH - 5 - len(title)) + "╮", file=out)
    for name, value in rows:
        print(f"│ {f'{name:<14} {value}':<{inner}} │", file=out)
    print("╰" + "─" * (CARD_WIDTH - 2) + "╯", file=out, flush=True)


def _wrapped(name: str, value: str) -> list[tuple[str, str]]:
    width = CARD_WIDTH - 4 - 15
    pieces: list[str] = [""]
    for word in value.split(" "):
        if pieces[-1] and len(pieces[-1]) + 1 + len(word) > width:
            pieces.append(word)
        else:
            pieces[-1] = f"{pieces[-1]} {word}".strip()
    return [(name if index == 0 else "", piece) for index, piece in enumerate(pieces)]


def against_forecast(outcome: Outcome) -> str:
    """Return a fact against its forecast: 5m36s, forecast 6m10s (5m47s to 6m37s): inside."""
    if outcome.fact is None or outcome.error is None:
        return f"forecast {forecast_of(outcome)}"
    if outcome.how == LAST_VALIDATION:  # the forecast is of all held-out text, and a sample of it is no verdict
        fact = shown(outcome, outcome.fact)
        return f"{fact} of a sample, forecast {forecast_of(outcome)}: all held-out text decides"
    off = f"{abs(outcome.error):.1%} {'over' if outcome.error > 0 else 'under'}"
    verdict = "inside" if outcome.is_inside else f"outside, {off}"
    return f"{shown(outcome, outcome.fact)}, forecast {forecast_of(outcome)}: {verdict}{outcome.mark}"


def forecast_of(outcome: Outcome) -> str:
    """Return the median of a forecast with its unit, and the band in it."""
    low, high = (shown(outcome, value).removesuffix(f" {outcome.unit}") for value in (outcome.p10, outcome.p90))
    return f"{shown(outcome, outcome.p50)} ({low} to {high})"


def shown(outcome: Outcome, value: float) -> str:
    if outcome.unit != "seconds":
        return outcome.show(value)
    return duration(value) if value >= 60 else f"{value:.1f}s"


def intervention_line(entry: dict[str, Any]) -> str:
    """Return one line of an entry of interventions.jsonl: what wasn't trained on, and why."""
    rows, held = f"sequences {entry['first_row']} to {entry['last_row']}", documents_line(entry["documents"])
    if entry["kind"] == "skip":
        return f"after step {entry['from_step']}: {rows} skipped: {entry['reason']}; {held}"
    back = f"back from step {entry['from_step']} to step {entry['to_step']}, {rows} excluded: {entry['reason']}"
    return f"{back}; from sequence {entry['suspect_row']} on {held}"


class TrainingDisplay:
    """Turn records into lines: one every `log_every` steps (the settings'), and one for each look, stop and resume.

    The `start` record brings the run's forecast besides: it is shown first, beside what becomes of it, and at the end.
    """

    _not_judged: frozenset[str] = frozenset()

    def __init__(self, train: TrainSettings, log_every: int | None = None, out: TextIO | None = None) -> None:
        self._num_steps, self._log_every, self._out = train.num_steps, log_every or train.log_every, out or sys.stdout
        self._time_left = TimeLeft(train)
        self._is_terminal = self._out.isatty()
        self._validation: dict[str, Any] = {}
        self._forecast: dict[str, Any] = {}
        self._expected: dict[str, Outcome] = {}
        self._zero: float | None = None  # when the run's clock would have begun, had it never stopped
        self._loss: float | None = None
        self._shown: dict[str, Callable[[dict[str, Any]], None]] = {
            "start": self._show_start,
            "step": self._show_step,
            "skipped": self._show_skipped,
            "rollback": self._show_rollback,
            "audit": self._show_audit,
            "checkpoint": self._show_checkpoint,
            "validation": self._show_validation,
            "probes": self._show_abilities,
            "samples": self._show_samples,
            "stopped": self._show_stopped,
            "resume": self._show_resume,
            "finish": self._show_finish,
        }

    def __call__(self, record: dict[str, Any]) -> None:
        self._time_left.note(record)
        show = self._shown.get(record["event"])
        if show is not None:
            show(record)

    def _show_start(self, record: dict[str, Any]) -> None:
        self._zero = time.monotonic() - record.get("seconds", 0.0)
        self._forecast = record.get("forecast") or {}
        self._expected = {outcome.quantity: outcome for outcome in outcomes(self._forecast, {}, {}, {})}
        said = [
            f"{name} {forecast_of(outcome)}" for name, outcome in self._expected.items() if name in ("time", "loss")
        ]
        if said:
            self._line(f"     forecast, 8 in 10 to fall inside: {', '.join(said)}")

    def _show_step(self, record: dict[str, Any]) -> None:
        step = record["step"]
        loss = record["loss"]
        self._loss = loss if self._loss is None else 0.9 * self._loss + 0.1 * loss
        line = self._status(record)
        if step % self._log_every == 0 or step == self._num_steps:
            self._line(line)
        elif self._is_terminal:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)

    def _show_skipped(self, record: dict[str, Any]) -> None:
        self._line(intervention_line(record | {"kind": "skip", "from_step": record["step"]}))

    def _show_rollback(self, record: dict[str, Any]) -> None:
        self._line(intervention_line(record | {"kind": "rollback", "to_step": record["step"]}))

    def _show_audit(self, record: dict[str, Any]) -> None:
        names = ", ".join(record["differing"][:4])
        wrong = named(record["ranks"], record["world_size"])
        self._line(f"audit after step {record['step']}: two passes differ in {names}; {wrong} computed wrong")

    def _show_checkpoint(self, record: dict[str, Any]) -> None:
        if record.get("signal"):  # the others come by themselves, and nobody waits for them
            self._line(f"saved step {record['step']}, as {record['signal']} requested; training continues")

    def _status(self, record: dict[str, Any]) -> str:
        step = record["step"]
        parts = [
            f"step {step:>{len(str(self._num_steps))}}/{self._num_steps} {100 * step / self._num_steps:.1f}%",
            f"tok {count(record['tokens_seen'])}",
            f"loss {record['loss']:.3f} (ema {math.nan if self._loss is None else self._loss:.3f})",
            *self._validated(),
            f"gnorm {record['grad_norm']:.2f}",
            f"lr {record['lr']:.1e}",
            f"{count(record['tokens_per_second'])} tok/s",
            f"mfu {record['mfu']:.0%}",
            f"data {record['data_wait_fraction']:.1%}",
            self._times(step),
        ]
        return " | ".join(parts)

    def _validated(self) -> list[str]:
        if not self._validation:
            return []
        loss = self._expected.get("loss")
        is_alike = loss is not None and loss.unit == "bits per byte"
        beside = f" (forecast {loss.p50:.3f})" if loss is not None and is_alike else ""
        return [f"val {self._validation['bits_per_byte']['all']:.3f} bpb{beside}"]

    def _times(self, step: int) -> str:
        """Return the time that is left and, where there is a forecast, what the whole comes to beside it."""
        remaining = self._time_left.after(step)
        if remaining is None:
            return "eta ?"
        expected = self._expected.get("time")
        if expected is None or self._zero is None:
            return f"eta {duration(remaining)}"
        whole = duration(time.monotonic() - self._zero + remaining)
        return f"eta {duration(remaining)}, in all {whole}, forecast {duration(expected.p50)}"

    def _show_validation(self, record: dict[str, Any]) -> None:
        self._validation = record

    def _show_abilities(self, record: dict[str, Any]) -> None:
        scores = " · ".join(f"{name} {values['right']:.0%}" for name, values in record["probes"].items())
        self._line(f"     abilities at step {record['step']}: {scores}")

    def _show_samples(self, record: dict[str, Any]) -> None:
        for sample in record["samples"][:1]:
            following = record["next"][0]["next"][0]
            chance = f"  (next: {following['token']!r} {following['probability']:.0%})"
            text = f"{sample['prompt']}{sample['text'][:60]}".replace("\n", "\n     ")
            self._line(f"     {text}{chance}")

    def _show_stopped(self, record: dict[str, Any]) -> None:
        signal, step = record["signal"], record["step"]
        if record.get("saved", True):
            self._line(f"stopped by {signal} after saving step {step}; run the same command to resume")
            return
        self._line(
            f"stopped by {signal} at step {step} without a save, which may take {record['save_seconds']} s: more than "
            "--stop-within allows; run the same command to resume from the last checkpoint"
        )

    def _show_resume(self, record: dict[str, Any]) -> None:
        self._line(f"resuming from step {record['step']}")

    def _show_finish(self, record: dict[str, Any]) -> None:
        for outcome in outcomes(self._forecast, record, self._validation, {}):
            if outcome.fact is not None and outcome.is_counted and outcome.quantity not in self._not_judged:
                self._line(f"     {outcome.quantity} {against_forecast(outcome)}")
        if audits := audit_line(record):
            self._line(f"     {audits}")

    def _line(self, text: str) -> None:
        start = "\r\x1b[K" if self._is_terminal else ""
        print(start + safe(text), file=self._out, flush=True)


class SmallRunDisplay(TrainingDisplay):
    """Of one of several runs that one process trains: its peak of memory may be that of another."""

    _not_judged = frozenset({"memory"})
