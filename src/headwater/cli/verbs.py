"""How verbs are declared, listed, explained and misspelt: typer's commands, with help and errors for people."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from headwater.core.errors import ConfigError

SECTIONS = {
    "start": ("new", "run", "train"),
    "inspect": ("evaluate", "next", "generate", "chat", "surprise", "report", "watch", "serve"),
    "decide": ("plan", "ladder"),
    "data": ("corpus",),
    "export": ("export", "downstream", "launch"),
    "help": ("explain", "doctor"),
}
"The verbs of headwater, as its help lists them."

OPTIONS_COLUMN = 28


class _Readable:
    """Usage lines and lists of options as they are typed: `headwater run RUN [setting=value ...] [options]`."""

    def collect_usage_pieces(self: Any, ctx: Any) -> list[str]:
        arguments = [each for each in self.get_params(ctx) if each.param_type_name == "argument"]
        rest = "VERB ..." if isinstance(self, TyperGroup) else "[options]"
        return [*(each.metavar or each.name.upper() for each in arguments), rest]

    def format_options(self: Any, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for each in self.get_params(ctx):
            if each.param_type_name == "argument":
                sections["Arguments"].append((each.metavar or each.name.upper(), each.help or ""))
            elif (record := each.get_help_record(ctx)) is not None:
                words = re.sub(r"(\d+)<=x<=(\d+)", r"\1 to \2", record[1]).replace("x>=", "at least ")
                sections.setdefault(getattr(each, "rich_help_panel", None) or "Options", []).append((record[0], words))
        for name, records in sections.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records, col_max=OPTIONS_COLUMN)


class Verb(_Readable, TyperCommand):
    """A command."""


class VerbGroup(_Readable, TyperGroup):
    """Verbs in sections, each with the first paragraph of its help, uncut."""

    sections: dict[str, tuple[str, ...]] | None = None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections = self.sections or {"verbs": tuple(self.commands)}
        width = max(map(len, self.commands))
        for heading, names in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), summary(self.commands[name])) for name in names])
        super().format_options(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Raise ConfigError, with the nearest verb, where the first argument is none; a verb may have two words."""
        if (two := " ".join(args[:2])) in self.commands:
            args = [two, *args[2:]]
        if args[0] in self.commands or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        word, path = args[0], ctx.command_path
        close = difflib.get_close_matches(word, list(self.commands), n=1)
        if self.sections is not None and (word.endswith(".toml") or "/" in word):
            close = [f"run {word}"]
        hint = f"did you mean `{path} {close[0]}`?" if close else f"`{path} -h` lists the verbs"
        raise ConfigError(f"there is no verb {word!a}; {hint}")


class Root(VerbGroup):
    sections = SECTIONS


class App(typer.Typer):
    """A group of verbs, whose help is plain text."""

    def __init__(self, help: str, **options: Any) -> None:
        plain = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
        super().__init__(**{"cls": VerbGroup, "help": help, "no_args_is_help": True, **plain, **options})

    def verb(self, function: Callable[..., None], name: str | None = None) -> None:
        self.command(name, cls=Verb)(function)


def summary(command: Any) -> str:
    """Return what a verb does, in the one line that lists of verbs have."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


def usage_problem(error: Any, called: str) -> str:
    """Return a usage error of typer's in one sentence, with what to do about it; `called` are the command's words."""
    path = error.ctx.command_path if error.ctx else called
    verb, advice = path.partition(" ")[2], f"; `{path} -h` shows what it takes"
    param, option = getattr(error, "param", None), getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        near = [each for each in error.possibilities or () if each != "--help"]
        if "." in option:
            advice = f"; settings are written without dashes: {option.lstrip('-')}=VALUE"
        elif near:
            advice = f"; did you mean {near[0]}?"
        elif error.ctx and any("setting=value" in (each.metavar or "") for each in error.ctx.command.params):
            advice = f"; settings are written without dashes, such as train.num_steps=200{advice}"
        return f"{verb or path} has no option {option}{advice}"
    if param is not None and hasattr(error, "param_type"):
        what = param.metavar or param.name.upper()
        what = what if param.param_type_name == "argument" else f"{param.opts[0]} {what}"
        why = f": {param.help[:1].lower()}{param.help[1:].rstrip('.')}" if param.help else ""
        return f"{verb or path} needs {what}{why}{advice}"
    message = error.format_message().rstrip(".").replace("Value error, ", "")
    if (place := message.find(": Input should be a valid ")) >= 0:  # pydantic's words, by way of typer
        kind = "a whole number" if "integer" in message else "a number"
        message = f"{message[:place]}: give {kind}"
    return f"{verb and verb + ': '}{message[:1].lower()}{message[1:]}{advice}"


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
