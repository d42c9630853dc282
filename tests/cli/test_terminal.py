"""What is shown can't drive the terminal it is shown on, and is readable where there is none."""

from __future__ import annotations

import io
import subprocess
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from golden_rows import rows
from hypothesis import given
from hypothesis import strategies as st
from small_run import call, command, environment

from headwater.cli.progress import TrainingDisplay
from headwater.cli.terminal import card, safe
from headwater.core.numbers import duration
from headwater.core.printable import printable
from headwater.train.settings import TrainSettings

SIZES = {"num_steps": 20, "batch_tokens": 512, "microbatch_tokens": 512}
TRAIN = TrainSettings(**SIZES, log_every=10, save_every=20, validate_every=20, num_probes=0)
STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step_record(step: int, **changed: object) -> dict:
    record = {"event": "step", "step": step, "tokens_seen": 512 * step, "loss": 5.0, "lr": 0.01, "grad_norm": 1.5}
    record |= {"tokens_per_second": 12345.6, "mfu": 0.41, "seconds": 0.04, "data_wait_fraction": 0.001}
    return record | changed


@given(st.text())
def test_safe_text_holds_nothing_that_steers_a_terminal(text):
    shown = safe(text)
    bad = [c for c in shown if unicodedata.category(c) in STEERING and c not in "\n\t\u200c\u200d\u00ad"]
    assert not bad


WORDS = "naïve 中文 می\u200cخواهم 👩\u200d🔬 \u00a0 \\n"


@pytest.mark.parametrize(
    ("keep", "text", "shown"),
    [
        ("", "\x1b[2J\x9b31m\x07\r\n", "\\x1b[2J\\x9b31m\\x07\\r\\n"),
        ("", "a\u202eb\u2028\u200e\ud800", "a\\u202eb\\u2028\\u200e\\ud800"),
        ("\n\t", "one\n\ttwo\x1b", "one\n\ttwo\\x1b"),
        ("", WORDS, WORDS),
    ],
)
def test_what_steers_a_terminal_is_shown_as_escapes_and_words_stay(keep, text, shown):
    assert printable(text, keep) == shown


@pytest.mark.parametrize("verb", ["next", "generate", "surprise"])
def test_a_prompt_with_control_characters_is_shown_escaped(finished, verb):
    said = call(verb, "a\x1b[31mred\u202e", "--run", "runs/mine", cwd=finished.cwd)
    assert said.status == 0, said
    assert not [c for c in said.out if unicodedata.category(c) in STEERING and c not in "\n\t"]


def test_generated_text_is_shown_as_it_comes_and_its_end_is_named(finished, monkeypatch):
    from headwater.evaluate import generate
    from headwater.evaluate.generate import GeneratedText

    seen = []

    def pieces(*_: object) -> Iterator[GeneratedText]:
        for number, piece in enumerate(("ri", "ver\n\x1b[2J"), 1):
            yield GeneratedText(piece, number)
            seen.append(sys.stdout.buffer.getvalue().decode())  # what has left the program's own buffer
        yield GeneratedText("", 2, "end token")

    monkeypatch.setattr(generate, "stream", pieces)
    said = call("generate", "The ", "--run", "runs/mine", cwd=finished.cwd)
    assert seen == ["The ri", "The river\n\\x1b[2J"]
    assert said.out == "The river\n\\x1b[2J\n"
    assert said.err == "2 tokens; the model ended the text; step 24\n"


def test_every_line_of_training_is_a_line_where_there_is_no_terminal():
    out = io.StringIO()
    display = TrainingDisplay(TRAIN, out=out)
    for step in range(1, 21):
        display(step_record(step))
    lines = out.getvalue().splitlines()
    assert [line.split()[:2] for line in lines] == [["step", "1/20"], ["step", "10/20"], ["step", "20/20"]]
    for part in ("loss 5.000", "grad 1.50", "lr 1.0e-02", "12.3k tokens/s", "41% of peak", "0s left"):
        assert part in lines[2]


def status_of(out: io.StringIO, record: dict, **start: object) -> str:
    train = TRAIN.model_copy(update={"num_steps": record["step"]})
    display = TrainingDisplay(train, 1, out)
    display({"event": "start", "step": 0, **start})
    display({"event": "validation", "step": 0, "bits_per_byte": {"all": 1.2345}})
    display(record)
    return out.getvalue().splitlines()[-1].removeprefix("\x1b[K")  # what a return begins is a line


LONGEST = {"loss": 10.1, "grad_norm": 100.0, "tokens_per_second": 123456.0, "data_wait_fraction": 0.5}
RANKS = {"exchange_fraction": 0.31, "slowest_rank": 3, "slowest_lead": 0.24}
LINES = [  # what is measured of a step, and what its line says of that
    ({}, "12.3k tokens/s  int8  41% of peak"),
    (LONGEST, "loss 10.100"),
    (LONGEST, "data wait 50%"),
    ({"gradient_error": 0.06}, "12.3k tokens/s  gradient checked  int8"),
    ({"audited": True}, "12.3k tokens/s  audited  int8"),
    (RANKS, "exchange 31%  rank 3 slow"),
]


@pytest.mark.parametrize(("more", "words"), LINES)
def test_a_line_of_training_says_what_its_step_did_in_100_characters(more, words):
    """Its number format; that it was computed twice; how long several ranks exchange, and whom they wait for."""
    line = status_of(io.StringIO(), step_record(1_000_000, **more), device={"dtype": "int8"})
    assert words in line and len(line) <= 100
    assert not more or words not in status_of(io.StringIO(), step_record(1_000_000), device={"dtype": "int8"})


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_a_line_of_training_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    line = status_of(Terminal(), step_record(100_000), device={"dtype": "bfloat16"})
    assert len(line) < max(61, min(columns, 101))
    assert "loss 5.000" in line and "12.3k tokens/s" in line and line.endswith("left")


def test_a_terminal_shows_every_step_on_one_line():
    out = Terminal()
    display = TrainingDisplay(TRAIN, out=out)
    for step in range(2, 10):
        display(step_record(step))
    assert "\n" not in out.getvalue()
    assert out.getvalue().count("\r\x1b[K") == 8


@pytest.mark.parametrize(
    ("records", "lines"),
    [each[1:] for each in rows("terminal_lines")],
    ids=[each[0] for each in rows("terminal_lines")],
)
def test_what_else_happens_is_said_in_lines_that_cannot_drive_the_terminal(records, lines):
    out, cards = io.StringIO(), []
    display = TrainingDisplay(TRAIN, 1, out, opening=cards.append)
    for record in records:
        display(record)
    assert out.getvalue().splitlines() == lines and not cards


def test_fact_and_forecast_stand_side_by_side():
    out = io.StringIO()
    display = TrainingDisplay(TRAIN, out=out)
    forecast = {
        "training": {"hours": {"p10": 347 / 3600, "p50": 370 / 3600, "p90": 397 / 3600}},
        "loss": {"p10": 1.25, "p50": 1.28, "p90": 1.31},
        "loss_unit": "bits_per_byte",
    }
    display({"event": "start", "step": 0, "forecast": forecast, "seconds": 3.0})
    for step in range(1, 21):
        display(step_record(step))
    display({"event": "validation", "step": 20, "bits_per_byte": {"all": 1.3456}})
    display({"event": "finish", "step": 20, "seconds": 336.0, "energy_wh": 1.0})
    first, *_, last, held_out, time, loss = out.getvalue().splitlines()
    assert "training time 6m10s (5m47s to 6m37s), held-out loss 1.280 bits per byte (1.250 to 1.310)" in first
    assert last.endswith("0s left") and held_out.endswith("bits/byte of a sample of held-out text at step 20: 1.346")
    assert time.strip() == "training time 5m36s, forecast 6m10s (5m47s to 6m37s): outside, 9.2% under"
    band = "forecast 1.280 bits per byte (1.250 to 1.310)"
    display({"event": "validation", "step": 20, "bits_per_byte": {"all": 1.3456}, "is_of_all": True})
    assert out.getvalue().endswith("bits/byte of all held-out text at step 20: 1.346\n")
    assert loss.strip() == f"held-out loss 1.346 bits per byte of a sample, {band}: all held-out text decides"


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (65, "1m05s"), (3600, "1h00"), (5400, "1h30"), (59.7, "1m00s")]
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_a_card_is_a_box_in_which_a_long_path_stays_whole():
    out = io.StringIO()
    card("title", [("name", "word " * 40), ("", "x"), ("last", "y\x1b")], out)
    lines = out.getvalue().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].startswith("╭─ title ") and lines[-1].startswith("╰")
    card("title", [("folder", "/home" * 40)], out)
    assert "/home" * 40 in out.getvalue(), "it can be copied"


def test_a_terminal_without_unicode_gets_escapes_not_a_traceback(finished):
    verbs = [["next", "naïve"], ["generate", "naïve 中"], ["corpus", "show"], ["evaluate"]]
    program = (
        "import sys; from headwater.cli.main import main\n"
        f"for verb in {verbs!r}:\n"
        "    sys.argv = ['headwater', *verb, '--run', 'runs/mine']\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, (verb, end)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        **{"cwd": finished.cwd, "env": environment() | {"PYTHONIOENCODING": "ascii"}, "capture_output": True},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and done.stdout


def test_a_reader_that_leaves_early_causes_no_traceback(finished):
    reader = f"{' '.join(command('corpus', 'show', '--run', 'runs/mine'))} | true"
    done = subprocess.run(
        ["bash", "-c", reader], cwd=finished.cwd, env=environment(), capture_output=True, encoding="utf-8"
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
