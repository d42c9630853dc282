"""Arguments that several verbs share, and how they are declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.core.errors import ConfigError

STOPPED_BY_SIGNAL = 75  # EX_TEMPFAIL: saved; the same command resumes
MAX_ANSWER_TOKENS = 32  # of an answer that is rewarded, where nobody says
OFFLINE = dict.fromkeys(
    ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE",
     "TRL_EXPERIMENTAL_SILENCE", "TQDM_DISABLE", "HF_DATASETS_DISABLE_PROGRESS_BARS"), "1"
)  # fmt: skip
"What libraries find in the environment when they are imported, so that they send and fetch nothing."


def argument(metavar: str, help: str, **more: Any) -> Any:
    return typer.Argument(metavar=metavar, help=help, **more)


def option(metavar: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, **more)


def flag(name: str, help: str) -> Any:
    return typer.Option(name, help=help)


A_RUN = "A recipe (first-light), a run file (mine.toml) or a run folder (runs/mine)."
RunFile = Annotated[str, argument("RUN", A_RUN)]
RunOrNone = Annotated[str | None, argument("RUN", A_RUN)]
Overrides = Annotated[
    list[str] | None, argument("[setting=value ...]", "Settings for this call, such as train.num_steps=200.")
]
A_MODEL = f"{A_RUN[:-1]}; or a checkpoint's folder, a Hugging Face folder, a .gguf file."
RunOption = Annotated[str, option("RUN", A_MODEL, "--run", "-r")]
SameRun = Annotated[str | None, option("RUN", "The same as RUN.", "--run", "-r")]
AsJson = Annotated[bool, flag("--json", "Print one JSON object on standard output and nothing else.")]


TunedRun = Annotated[str, argument("RUN", "The run to begin from: its folder, file or recipe.")]


def folder_of(run: str | None, same_run: str | None = None, overrides: list[str] | None = None) -> Path:
    """Return the folder of the run that is named once, as the argument or by --run; `overrides` may move it."""
    from headwater.runfile.run_config import run_folder

    named = [name for name in (run, same_run) if name is not None]
    if len(named) != 1:
        raise ConfigError(f"name one run, such as runs/mine; {'two were' if named else 'none was'} named")
    return run_folder(named[0], overrides or [])


def unicode_text(text: str | None) -> str | None:
    """Return a text from the command line; raise ConfigError when its bytes weren't text in the terminal's encoding."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the text {text!a} is not UTF-8; models here read Unicode text") from None
    return text
