"""Verbs about a trained model: next, generate, surprise, evaluate, export, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.arguments import AsJson, RunDir, print_json, unicode_text
from headwater.cli.terminal import safe, say

Prompt = Annotated[str, typer.Argument(help="The text to continue.", callback=unicode_text)]


def add_to(app: typer.Typer) -> None:
    app.command("next")(next_token)
    for verb in (generate, surprise, evaluate, report):
        app.command()(verb)
    export = typer.Typer(help="Write the model in other people's formats.", no_args_is_help=True)
    export.command("hf")(export_hf)
    app.add_typer(export, name="export")


def next_token(
    prompt: Prompt,
    run: RunDir,
    top: Annotated[int, typer.Option(help="How many tokens to show.", min=1, max=1000)] = 10,
    as_json: AsJson = False,
) -> None:
    """Print the likeliest next tokens of a text with their probabilities."""
    from headwater.evaluate.generate import next_tokens
    from headwater.recipes.open import load_model

    loaded = load_model(Path(run))
    following = next_tokens(loaded.model, loaded.tokenizer, prompt, top)
    if as_json:
        print_json({"prompt": prompt, "next": [{"token": token, "probability": p} for token, p in following]})
        return
    for token, probability in following:
        print(safe(f"{probability:7.2%}  {'█' * round(40 * probability):<40}  {token!r}"))


def generate(
    prompt: Prompt,
    run: RunDir,
    max_tokens: Annotated[int, typer.Option(help="Stop after this many tokens.", min=1)] = 100,
    temperature: Annotated[float, typer.Option(help="0: the likeliest token; 1: as the model has learnt.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Sample among the likeliest tokens of this much probability.")] = 0.95,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Continue a text."""
    from headwater.evaluate import generate as generation
    from headwater.recipes.open import load_model

    loaded = load_model(Path(run))
    text = generation.generate(loaded.model, loaded.tokenizer, prompt, max_tokens, temperature, top_p, seed)
    print_json({"prompt": prompt, "text": text}) if as_json else print(safe(prompt + text))


def surprise(
    text: Annotated[str, typer.Argument(help="The text to read.", callback=unicode_text)],
    run: RunDir,
    as_json: AsJson = False,
) -> None:
    """Print how surprised the model is by each token of a text, in bits."""
    import math

    from headwater.evaluate import generate as generation
    from headwater.recipes.open import load_model

    loaded = load_model(Path(run))
    found = generation.surprise(loaded.model, loaded.tokenizer, text)
    bits = [(token, nats / math.log(2)) for token, nats in found.tokens]
    if as_json:
        tokens = [{"token": token, "bits": value} for token, value in bits]
        print_json({"text": text, "bits_per_byte": found.bits_per_byte, "tokens": tokens})
        return
    for token, value in bits:
        print(safe(f"{value:6.2f} bits  {'█' * min(40, round(2 * value)):<40}  {token!r}"))
    print(f"{found.bits_per_byte:.3f} bits per byte")


def evaluate(run: RunDir, as_json: AsJson = False) -> None:
    """Measure bits per byte by source, abilities and baselines on all held-out text."""
    from headwater.cli.running import print_evaluation
    from headwater.recipes.finish import evaluate_stage
    from headwater.recipes.run_config import config_of_run

    result = evaluate_stage(config_of_run(Path(run)), say)
    if as_json:
        print_json(result)
    else:
        print_evaluation(result)


def export_hf(run: RunDir) -> None:
    """Write RUN/export/hf, a folder that Hugging Face transformers, vLLM and TRL open."""
    from headwater.recipes.finish import export_stage
    from headwater.recipes.run_config import config_of_run

    say(f"{export_stage(config_of_run(Path(run)), say)} holds the newest checkpoint")


def report(run: RunDir) -> None:
    """Write RUN/report.html: one file that shows what the run did."""
    from headwater.recipes.stages import require_run_dir
    from headwater.report.render import render_report

    require_run_dir(Path(run))
    say(f"wrote {render_report(Path(run))}")
