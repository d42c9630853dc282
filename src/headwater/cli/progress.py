"""What training says: one line an interval, live progress on a terminal only, what came of the forecast at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from headwater.cli.terminal import MAX_WIDTH, safe, width
from headwater.core.numbers import count, duration
from headwater.core.records import text_scored
from headwater.runs.measures import computed_twice, gradient_line, right
from headwater.runs.outcome import LAST_VALIDATION, Outcome, outcomes, show_error
from headwater.runs.summary import TimeLeft
from headwater.tokens.skipped_rows import name_documents
from headwater.train.settings import MAX_GRADIENT_ERROR, TrainSettings

SAMPLE_CHARACTERS = 80
MANY_WAITS = 0.05
"Part of a step's time that waits for data, or of all that comes between steps, from which a line says so."
EXPECTED = ("training time", "held-out loss", "new text", "old text")
"Of what is forecast, said before the first step."


def against_forecast(outcome: Outcome) -> str:
    """Return a fact against its forecast: 5m36s, forecast 6m10s (5m47s to 6m37s): inside."""
    if outcome.fact is None or outcome.error is None:
        return f"forecast {outcome.show_forecast()}"
    if outcome.how == LAST_VALIDATION:  # the forecast is of all held-out text, and a sample of it is no verdict
        fact = outcome.show(outcome.fact)
        return f"{fact} of a sample, forecast {outcome.show_forecast()}: all held-out text decides"
    size = show_error(outcome.error)
    way = " the forecast" if outcome.error >= 1 else " over" if outcome.error > 0 else " under"
    off = "" if outcome.is_inside else f", {size.lstrip('+-')}{way}"
    return f"{outcome.show(outcome.fact)}, forecast {outcome.show_forecast()}: {outcome.verdict}{off}"


def measured(found: Iterable[Outcome]) -> list[tuple[str, str]]:
    """Return every fact that was measured against its forecast; nothing without a forecast."""
    return [(each.quantity, against_forecast(each)) for each in found if each.fact is not None and each.is_counted]


def intervention_line(entry: dict[str, Any]) -> str:
    """Return one line of an entry of interventions.jsonl: what wasn't trained on, and why."""
    rows, held = f"sequences {entry['first_row']} to {entry['last_row']}", name_documents(entry["documents"])
    if entry["kind"] == "skip":
        return f"after step {entry['from_step']}: {rows} skipped: {entry['reason']}; {held}"
    back = f"back from step {entry['from_step']} to step {entry['to_step']}, {rows} excluded: {entry['reason']}"
    return f"{back}; from sequence {entry['suspect_row']} on {held}"


class TrainingDisplay:
    """Turn records into lines: one every `log_every` steps (the settings'), and one for each probe, stop and resume.

    The `start` record brings the run's forecast, which is shown first, and at the end beside what was measured. A
    start that resumes shows neither card nor forecast again.
    """

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
        self._time_left = TimeLeft()
        self._is_terminal = self._out.isatty()
        self._validation: dict[str, Any] = {}
        self._forecast: dict[str, Any] = {}

    def __call__(self, record: dict[str, Any]) -> None:
        if (show := getattr(self, f"_show_{record['event']}", None)) is not None:
            show(record)

    def _show_start(self, record: dict[str, Any]) -> None:
        self._dtype = record.get("device", {}).get("dtype", "")
        self._forecast = record.get("forecast") or {}
        if record["step"]:
            return
        if self._opening is not None and self._dtype:
            self._opening(record)
        found = outcomes(self._forecast, {}, {}, {})
        expected = [f"{each.quantity} {each.show_forecast()}" for each in found if each.quantity in EXPECTED]
        if expected:
            self._line(f"     forecast (80 % intervals): {', '.join(expected)}")

    def _show_step(self, record: dict[str, Any]) -> None:
        step = record["step"]
        self._time_left.add(record)
        line = self._status(record)
        # the first one, too: nothing was heard since the card
        if step % self._log_every == 0 or step in (1, self._num_steps):
            self._line(line)
        elif self._is_terminal:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)
        if (error := record.get("gradient_error", 0.0)) > MAX_GRADIENT_ERROR:
            self._line(
                f"step {step}: rounding to {self._dtype} changes a matrix's gradient by {error:.0%} of its norm, over "
                f'{MAX_GRADIENT_ERROR:.0%}; set machine.dtype = "bfloat16" and resume'
            )

    def _show_skipped(self, record: dict[str, Any]) -> None:
        self._line(intervention_line(record | {"kind": "skip", "from_step": record["step"]}))

    def _show_rollback(self, record: dict[str, Any]) -> None:
        self._line(intervention_line(record | {"kind": "rollback", "to_step": record["step"]}))

    def _show_checkpoint(self, record: dict[str, Any]) -> None:
        if record.get("signal"):  # the others come by themselves, and nobody waits for them
            self._line(f"saved step {record['step']}, as {record['signal']} requested; training continues")

    def _status(self, record: dict[str, Any]) -> str:
        """Return one line of a step that fits the terminal; what is least needed goes first where it is narrow."""
        step, waiting = record["step"], record["data_wait_fraction"]
        remaining, pausing = self._time_left.after(step, self._num_steps), self._time_left.pause_fraction
        parts = {
            "step": f"step {step:>{len(str(self._num_steps))}}/{self._num_steps}",
            "loss": f"loss {record['loss']:.3f}",
            "grad": f"grad {record['grad_norm']:.2f}",
            "lr": f"lr {record['lr']:.1e}",
            "rate": f"{count(record['tokens_per_second'])} tokens/s",
            "twice": computed_twice(record),
            "dtype": self._dtype,
            "mfu": "" if record["mfu"] is None else f"{record['mfu']:.0%} of peak",
            "data": f"data wait {waiting:.0%}" if waiting >= MANY_WAITS else "",
            "pauses": f"pauses {pausing:.0%}" if pausing >= MANY_WAITS else "",  # which the time left counts
            "exchange": f"exchange {record['exchange_fraction']:.0%}" if "exchange_fraction" in record else "",
            "slowest": f"rank {record['slowest_rank']} slow" if "slowest_rank" in record else "",
            "left": "" if remaining is None else f"{duration(remaining)} left",
        }
        limit = width() if self._is_terminal else MAX_WIDTH
        for name in ("", "lr", "grad", "pauses", "mfu", "dtype", "exchange"):
            parts[name] = ""
            line = "  ".join(filter(None, parts.values()))
            if len(line) <= limit:
                break
        return line

    def _show_validation(self, record: dict[str, Any]) -> None:
        self._validation = record
        bits = record["bits_per_byte"]["all"]
        self._line(f"     bits/byte of {text_scored(record)} at step {record['step']}: {bits:.3f}")

    def _show_probes(self, record: dict[str, Any]) -> None:
        scores = " · ".join(f"{name} {right(name, score)}" for name, score in record["probes"].items())
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
            seconds = record["save_seconds"]  # 0 before the run's first save
            long = f"which may take {seconds} s: more than --stop-within allows" if seconds else "for the time was over"
            self._line(f"stopped by {signal} at step {step} without a save, {long}; run the same command to resume")

    def _show_resume(self, record: dict[str, Any]) -> None:
        self._line(f"resuming from step {record['step']}")

    def _show_finish(self, record: dict[str, Any]) -> None:
        for quantity, fact in measured(outcomes(self._forecast, record, self._validation, {})):
            self._line(f"     {quantity} {fact}")
        if error := gradient_line(record):
            self._line(f"     {error}")

    def _line(self, text: str) -> None:
        start = "\r\x1b[K" if self._is_terminal else ""
        print(start + safe(text), file=self._out, flush=True)
