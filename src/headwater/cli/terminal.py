"""What a run says: a card before, one line an interval, live progress on a terminal only, a card after."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO

from headwater.cli.time_left import TimeLeft
from headwater.durations import duration
from headwater.evaluate.printable import printable
from headwater.machine.place import named
from headwater.report.measures import audit_line
from headwater.report.numbers import carbon_unit, count, energy_unit, significant
from headwater.report.outcome import LAST_VALIDATION, Outcome, outcomes
from headwater.train.interventions import name_documents

if TYPE_CHECKING:
    from headwater.train.settings import TrainSettings

CARD_WIDTH, MAX_WIDTH = 86, 100
SAMPLE_CHARACTERS = 80
MANY_WAITS = 0.05
"Part of a step's time that waits for data, from which a line says so."


def safe(text: str) -> str:
    """Return text that can't drive a terminal: control and direction characters are shown as escapes."""
    return printable(text, keep="\n\t")


def say(message: str) -> None:
    """Print one line of progress."""
    print(printable(message), flush=True)


def say_aside(message: str) -> None:
    """Print one line of progress on standard error, where standard output is for JSON alone."""
    print(printable(message), file=sys.stderr, flush=True)


def say_beside(as_json: bool) -> Callable[[str], None]:
    """Return what prints lines of progress: on standard output, or on standard error where that holds JSON alone."""
    return say_aside if as_json else say


def print_json(value: Any) -> None:
    """Print one JSON object; where the output can't hold every character, with escapes for all but ASCII."""
    is_unicode = (sys.stdout.encoding or "ascii").lower().replace("-", "").startswith("utf")
    json.dump(value, sys.stdout, ensure_ascii=not is_unicode)
    sys.stdout.write("\n")


def width() -> int:
    """Return the width of lines: the terminal's less one, from 60 to 100 characters."""
    return max(60, min(shutil.get_terminal_size().columns - 1, MAX_WIDTH))


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
    print(f"╭─ {title} " + "─" * max(0, CARD_WIDTH - 5 - len(title)) + "╮", file=out)
    for name, value in lines:
        # words stay whole, so that a long path can be copied
        pieces = textwrap.wrap(safe(value), CARD_WIDTH - 19, break_long_words=False, break_on_hyphens=False) or [""]
        for index, piece in enumerate(pieces):
            print(f"│ {'' if index else name:<14} {piece:<{CARD_WIDTH - 19}} │", file=out)
    print("╰" + "─" * (CARD_WIDTH - 2) + "╯", file=out, flush=True)


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
    rows, held = f"sequences {entry['first_row']} to {entry['last_row']}", name_documents(entry["documents"])
    if entry["kind"] == "skip":
        return f"after step {entry['from_step']}: {rows} skipped: {entry['reason']}; {held}"
    back = f"back from step {entry['from_step']} to step {entry['to_step']}, {rows} excluded: {entry['reason']}"
    return f"{back}; from sequence {entry['suspect_row']} on {held}"


class TrainingDisplay:
    """Turn records into lines: one every `log_every` steps (the settings'), and one for each probe, stop and resume.

    The `start` record brings the run's forecast, which is shown first, and at the end beside what was measured.
    """

    _not_judged: frozenset[str] = frozenset()

    def __init__(
        self,
        train: TrainSettings,
        log_every: int | None = None,
        out: TextIO | None = None,
        opening: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """`opening` prints the run's card, of its record `start`."""
        self._opening, self._dtype = opening, ""
        self._num_steps, self._log_every, self._out = train.num_steps, log_every or train.log_every, out or sys.stdout
        self._time_left = TimeLeft(train)
        self._is_terminal = self._out.isatty()
        self._validation: dict[str, Any] = {}
        self._forecast: dict[str, Any] = {}

    def __call__(self, record: dict[str, Any]) -> None:
        self._time_left.note(record)
        if (show := getattr(self, f"_show_{record['event']}", None)) is not None:
            show(record)

    def _show_start(self, record: dict[str, Any]) -> None:
        self._dtype = record.get("device", {}).get("dtype", "")
        if self._opening is not None and self._dtype:
            self._opening(record)
        self._forecast = record.get("forecast") or {}
        expected = outcomes(self._forecast, {}, {}, {})
        said = [f"{each.quantity} {forecast_of(each)}" for each in expected if each.quantity in ("time", "loss")]
        if said:
            self._line(f"     forecast (80 % intervals): {', '.join(said)}")

    def _show_step(self, record: dict[str, Any]) -> None:
        step = record["step"]
        line = self._status(record)
        if step % self._log_every == 0 or step == self._num_steps:
            self._line(line)
        elif self._is_terminal:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)
        from headwater.train.settings import MAX_GRADIENT_ERROR  # pydantic is slow to import: not for --help

        if (error := record.get("gradient_error", 0.0)) > MAX_GRADIENT_ERROR:
            self._line(
                f"step {step}: rounding to {self._dtype} changes a matrix's gradient by {error:.0%} of its norm, over "
                f'{MAX_GRADIENT_ERROR:.0%}; set machine.dtype = "bfloat16" and resume'
            )

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
        """Return one line of a step that fits the terminal; what is least needed goes first where it is narrow."""
        step, waiting = record["step"], record["data_wait_fraction"]
        remaining = self._time_left.after(step)
        parts = {
            "step": f"step {step:>{len(str(self._num_steps))}}/{self._num_steps}",
            "loss": f"loss {record['loss']:.3f}",
            "bpb": f"bpb {self._validation['bits_per_byte']['all']:.3f}" if self._validation else "",
            "grad": f"grad {record['grad_norm']:.2f}",
            "lr": f"lr {record['lr']:.1e}",
            "rate": f"{count(record['tokens_per_second'])} tok/s",
            "dtype": self._dtype,
            "mfu": "" if record["mfu"] is None else f"mfu {record['mfu']:.0%}",
            "data": f"data wait {waiting:.0%}" if waiting >= MANY_WAITS else "",
            "left": f"{'?' if remaining is None else duration(remaining)} left",
        }
        limit = width() if self._is_terminal else MAX_WIDTH
        for name in ("", "lr", "grad", "mfu", "bpb", "dtype"):
            parts[name] = ""
            line = "  ".join(filter(None, parts.values()))
            if len(line) <= limit:
                break
        return line

    def _show_validation(self, record: dict[str, Any]) -> None:
        self._validation = record

    def _show_probes(self, record: dict[str, Any]) -> None:
        scores = " · ".join(f"{name} {values['right']:.0%}" for name, values in record["probes"].items())
        self._line(f"     probes at step {record['step']}: {scores}")

    def _show_samples(self, record: dict[str, Any]) -> None:
        for sample in record["samples"][:1]:
            following = record["next"][0]["next"][0]
            self._line(
                f"     step {record['step']}: next token {following['token']!r} {following['probability']:.0%}; sample:"
            )
            for line in f"{sample['prompt']}{sample['text'][:SAMPLE_CHARACTERS]}".rstrip().split("\n"):
                self._line(f"       {line}".rstrip())

    def _show_stopped(self, record: dict[str, Any]) -> None:
        signal, step = record["signal"], record["step"]
        if record.get("saved", True):
            self._line(f"stopped by {signal} after saving step {step}; run the same command to resume")
        else:
            long = f"which may take {record['save_seconds']} s: more than --stop-within allows"
            self._line(f"stopped by {signal} at step {step} without a save, {long}; run the same command to resume")

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
