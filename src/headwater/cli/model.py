"""Verbs about a trained model: next, generate, surprise, chat, evaluate, report, export."""

from __future__ import annotations

import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from headwater.cli.terminal import print_json, safe, say, say_aside, say_beside, table
from headwater.cli.verbs import (
    A_RUN,
    OFFLINE,
    App,
    AsJson,
    RunOption,
    RunOrNone,
    SameRun,
    argument,
    folder_of,
    option,
    unicode_text,
)
from headwater.core.conversations import ASSISTANT, SYSTEM, USER, Message
from headwater.core.errors import ConfigError
from headwater.core.numbers import plural, size

if TYPE_CHECKING:
    from headwater.runs.library.model import Model


ENDS = {"end token": "the model ended the text", "max_tokens": "stopped at --max-tokens"}

GgufType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
Prompt = Annotated[str, argument("PROMPT", "The text to continue.", callback=unicode_text)]
MaxTokens = Annotated[int, option("N", "Stop after this many tokens.", min=1)]
Temperature = Annotated[float, option("X", "Randomness: 0 takes the likeliest token, 1 samples as learned.")]
TopP = Annotated[float, option("P", "Sample from the likeliest tokens that add up to this probability.")]
Seed = Annotated[int, option("N", "The same seed gives the same text.")]


def add_to(app: App) -> None:
    app.verb(next_token, "next")
    for verb in (generate, surprise, chat, evaluate, report, export):
        app.verb(verb)


@contextmanager
def loaded(run: str) -> Iterator[Model]:
    from headwater.machine.host.waiting import sleep_under_load
    from headwater.runs.library.model import Model
    from headwater.runs.loading import step_shown
    from headwater.train.checkpoint.layout import checkpoint_of

    with sleep_under_load():
        model = Model.load(run)
        if model.step and (which := step_shown(checkpoint_of(model.folder, model.step))) != str(model.step):
            say_aside(f"the model is of step {which}")
        yield model


def next_token(
    prompt: Prompt,
    run: RunOption,
    top: Annotated[int, option("N", "How many tokens to show.", min=1, max=1000)] = 10,
    as_json: AsJson = False,
) -> None:
    """Print the likeliest next tokens of a text."""
    with loaded(run) as model:
        following = model.next(prompt, top)
    if as_json:
        return print_json({"prompt": prompt, "next": [each._asdict() for each in following]})
    for token, probability in following:
        print(safe(f"{probability:7.2%}  {'█' * round(40 * probability):<40}  {token!r}"))


def generate(
    prompt: Prompt,
    run: RunOption,
    max_tokens: MaxTokens = 100,
    temperature: Temperature = 0.8,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Continue a text, shown as it is generated.

    Standard error says how many tokens it took, and what ended it.
    """
    with loaded(run) as model:
        if as_json:
            return print_json({"prompt": prompt, **vars(model.generate(prompt, max_tokens, temperature, top_p, seed))})
        pieces = model.stream(prompt, max_tokens, temperature, top_p, seed)
        last = next(pieces)  # before the prompt is shown: options that mean nothing are refused here
        print(safe(prompt + last.text), end="", flush=True)
        for last in pieces:
            print(safe(last.text), end="", flush=True)
        print(flush=True)
    of_step = f"; step {model.step}" if model.step else ""  # a model from elsewhere has none
    say_aside(f"{plural(last.num_tokens, 'token')}; {ENDS[str(last.end)]}{of_step}")


def surprise(
    text: Annotated[str, argument("TEXT", "The text to score.", callback=unicode_text)],
    run: RunOption,
    as_json: AsJson = False,
) -> None:
    """Print how much each token of a text surprises a model, in bits."""
    with loaded(run) as model:
        found = model.surprise(text)
    if as_json:
        tokens = [each._asdict() for each in found.tokens]
        return print_json({"text": text, "bits_per_byte": found.bits_per_byte, "tokens": tokens})
    for token, value in found.tokens:
        print(safe(f"{value:6.2f} bits  {'█' * min(40, round(2 * value)):<40}  {token!r}"))
    print(f"{found.bits_per_byte:.3f} bits per byte")


def report(
    run: RunOrNone = None,
    same_run: SameRun = None,
    tracker: Annotated[
        list[str] | None, option("NAME", "Send the records to this tracker, such as tensorboard.")
    ] = None,
) -> None:
    """Write the run's report.html: one file that shows what it did."""
    from headwater.page.report.page import render_report
    from headwater.runfile.damage import require_run_dir
    from headwater.runs.run_data import read_run

    run_dir = folder_of(run, same_run)
    require_run_dir(run_dir)
    if tracker:
        from headwater.runfile.run_config import config_of_run
        from headwater.train.trackers import send_records

        send_records(tracker, run_dir, config_of_run(run_dir).model_dump(mode="json"), say)
    path = render_report(run_dir)
    if (lost := read_run(run_dir).damage) is not None:
        say(lost)
    say(f"wrote {path}")


def export(
    run: Annotated[list[str] | None, argument("RUN", A_RUN)] = None,
    same_run: SameRun = None,
    to: Annotated[Literal["hf", "gguf"], option("hf|gguf", "The format.")] = "hf",
    type: Annotated[GgufType | None, option("TYPE", "Of gguf: f32, f16 (usual), bf16, q8_0 or q4_0.")] = None,
) -> None:
    """Write the model for transformers (hf) or llama.cpp (gguf).

    To RUN/export/hf, which vLLM and TRL open, too, or to RUN/export/gguf-TYPE, with a Modelfile for ollama.
    """
    from headwater.runs.library import model as library
    from headwater.runs.loading import step_shown
    from headwater.train.checkpoint.layout import checkpoint_of

    names = run or []
    if len(names) > 1:
        raise ConfigError(f"give one run, as in `headwater export {names[1]} --to gguf`; found {shlex.join(names)}")
    run_dir = folder_of(names[0] if names else None, same_run)
    folder, which = library.export(run_dir, to, type, say), step_shown(checkpoint_of(run_dir))
    if to == "gguf":
        _say_how_to_open(folder, which)
    else:
        say(f"{folder} has the model of step {which}")


def _say_how_to_open(folder: Path, which: str) -> None:
    """Print the name and the size of the GGUF file in a folder, and what opens it."""
    (path,) = folder.glob("*.gguf")
    say(f"{path} has the model of step {which}; {size(path.stat().st_size)}")
    say(f"llama.cpp: llama-cli -m {shlex.quote(str(path))}")
    say(f"ollama: ollama create {shlex.quote(path.stem.lower())} -f {shlex.quote(str(folder / 'Modelfile'))}")


def chat(
    run: RunOption,
    prompt: Annotated[
        str | None, option("TEXT", "Print the answer to this alone.", "--prompt", "-p", callback=unicode_text)
    ] = None,
    system: Annotated[str | None, option("TEXT", "Said before all else, as the system.", callback=unicode_text)] = None,
    max_tokens: MaxTokens = 200,
    temperature: Temperature = 0.0,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Talk with a model that was tuned on conversations.

    What you type is a message; an empty line, or the end of input, ends the conversation.
    """
    if as_json and prompt is None:
        raise ConfigError("--json prints one answer; give the question by --prompt TEXT")
    messages = [] if system is None else [Message(SYSTEM, system)]
    from headwater.runs.library.model import NOT_TUNED

    with loaded(run) as model, warnings.catch_warnings():
        warnings.filterwarnings("ignore", re.escape(NOT_TUNED))  # said here once, as a sentence
        if not model.is_tuned:
            say_aside(NOT_TUNED)
        if prompt is None and sys.stdin.isatty():
            say_aside("an empty line ends the conversation")
        for question in _questions() if prompt is None else [prompt]:
            messages.append(Message(USER, question))
            answer = ""
            for piece in model.chat_stream(messages, max_tokens, temperature, top_p, seed):
                answer += piece.text
                if not as_json:
                    print(safe(piece.text), end="", flush=True)
            if as_json:
                print_json({"prompt": prompt, "answer": answer, "num_tokens": piece.num_tokens, "end": piece.end})
                return
            print(flush=True)
            messages.append(Message(ASSISTANT, answer))
            if piece.end == "max_tokens":
                say_aside(ENDS[piece.end])


def _questions() -> Iterator[str]:
    """Yield what a person types, a line each, up to an empty line."""
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not line.strip():
            return
        yield line


def evaluate(
    run: RunOrNone = None,
    same_run: SameRun = None,
    tasks: Annotated[
        str | None, option("DIR|NAME,...", "Run tasks of lm-evaluation-harness: a folder of task files, or names.")
    ] = None,
    limit: Annotated[int | None, option("N", "Of each task the first N items alone.", min=1)] = None,
    chat: Annotated[
        Literal["yes", "no"] | None, option("yes|no", "Ask tasks as a user does; by default where the model was tuned.")
    ] = None,
    write_tasks: Annotated[
        Path | None, option("DIR", "Write the run's probes as task files, for lm-eval and any model.")
    ] = None,
    text: Annotated[Path | None, option("PATH", "Measure bits per byte of a file, or of a folder's files.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure bits per byte, probes and baselines on held-out text.

    With --tasks or --text, on those.
    """
    if tasks is not None:
        os.environ.update(OFFLINE)  # read when lm-eval's libraries are imported
    from headwater.page import run as library

    is_chat = None if chat is None else chat == "yes"
    run_dir, say = folder_of(run, same_run), say_beside(as_json)
    result = library.evaluate(
        run_dir, tasks=tasks, text=text, write_tasks=write_tasks, limit=limit, chat=is_chat, say=say
    )
    if as_json:
        print_json(result)
    elif tasks is not None:
        _print_scores(result["tasks"])
    elif write_tasks is not None:
        _print_command(run_dir, write_tasks, result["tasks"])
    elif text is not None:
        _print_text(**result)
    else:
        from headwater.cli.running import print_evaluation

        print_evaluation(result)


def _print_scores(scores: list[dict[str, Any]]) -> None:
    from headwater.evaluate.tasks import score_text

    rows = [("task", "metric", "score (95 %)", "items")]
    for each in scores:
        shown = score_text(each["value"], each["low"], each["high"], each["is_share"])
        items = "" if each["num_items"] is None else f"{each['num_items']:,}"
        rows.append((each["task"], each["metric"], shown, items))
    table(rows, "<<<")


def _print_command(run_dir: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        say(f"wrote {folder / name}.yaml")
    say(
        f"run them on the export: lm_eval run --model hf --model_args pretrained={run_dir / 'export/hf'},"
        f"add_bos_token=True --include_path {folder} --tasks {','.join(names)}"
    )


def _print_text(measure: dict[str, Any], baselines: dict[str, float]) -> None:
    from headwater.core.numbers import plural
    from headwater.runs.measures import BASELINES

    interval = ""
    if (found := measure["interval"]) is not None:
        interval = f" ({found['low']:.3f} to {found['high']:.3f}, of {found['num']} {measure['parts']}, 95 %)"
    read = f"{measure['num_bytes']:,} bytes, {measure['num_tokens']:,} tokens"
    lines = [
        ("bits per byte", f"{measure['bits_per_byte']:.3f}{interval}"),
        ("text", f"{plural(measure['num_documents'], 'document')}, {read}"),
    ]
    if baselines:
        named = (f"{BASELINES[name]} {value:.3f}" for name, value in baselines.items())
        lines.append(("simpler models", ", ".join(named)))
    table(lines, "<<")
