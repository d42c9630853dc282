"""The command line: one function a verb; each parses, calls and prints. Heavy imports wait until a verb runs."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.terminal import safe
from headwater.cli.verbs import STOPPED_BY_SIGNAL, App, Root, usage_problem
from headwater.core.errors import HeadwaterError
from headwater.machine.host.signals import Termination

INTERRUPTED = 130  # by SIGINT, as shells say it
STOPPED = "stopped by SIGTERM; run the same command to resume"

ABOUT = """From raw text to a foundation model.

`headwater` alone lists the recipes and the runs here; `headwater VERB -h` explains a verb.
"""

VERBS = {
    "training": ("run", "train", "new", "explain", "doctor", "launch"),
    "data": ("corpus",),
    "model": ("next", "generate", "surprise", "chat", "evaluate", "report", "export"),
    "plan": ("plan",),
    "ladder": ("ladder",),
    "downstream": ("downstream",),
    "watch": ("watch", "serve"),
}
"The modules of verbs; that of the first argument alone is loaded."


def command_line(verb: str = "") -> App:
    """Return the command line: with what belongs to one verb, or all of it where that is none."""
    app = App(
        ABOUT,
        cls=Root,
        name="headwater",
        add_completion=True,
        no_args_is_help=False,
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(headwater)
    for module in [module for module, verbs in VERBS.items() if verb in verbs] or VERBS:
        importlib.import_module(f"headwater.cli.{module}").add_to(app)
    return app


def headwater(
    ctx: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print headwater's version.")] = False
) -> None:
    """Print the version, or what is here where no verb is named."""
    if version:
        from headwater import __version__

        print(f"headwater {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        from headwater.cli.watch import show_overview

        show_overview()


def main() -> None:
    """Run one verb; an error that the user can act on is printed without a traceback."""
    if sys.platform == "win32":
        _complain("headwater runs on Linux, and more slowly on macOS; on Windows, start it in WSL")
        sys.exit(1)
    # what makes matmuls on a GPU deterministic; read when torch first multiplies there
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # torch then asks the system for large pages: steps are 3 to 4 % shorter (docs/log.md, 2026-11-25, Large pages)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # torch's profiler says on standard error when it starts and stops, into the lines of a run's progress
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # it calls its makers, of offline runs too
    # a terminal that isn't UTF-8 shows an escape where it has no character
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with Termination(STOPPED_BY_SIGNAL, f"headwater: {STOPPED}") as termination:
        try:
            status = _run_verb()
        except KeyboardInterrupt:
            status = INTERRUPTED
        # whatever a stopped process meets on its way out, a rank that is gone, say, comes of the signal
        if termination.is_requested and status:
            status = STOPPED_BY_SIGNAL
            if _is_first_here():
                _complain(STOPPED)
        elif status == INTERRUPTED:  # outside of training, where a signal saves
            _complain("interrupted; run the same command to resume")
        if status == STOPPED_BY_SIGNAL:
            termination.ignore_further()
    sys.exit(status)


def _run_verb() -> int:
    """Return the exit status of the verb that the arguments name."""
    try:
        app = command_line(sys.argv[1] if len(sys.argv) > 1 else "")
        return int(app(prog_name="headwater", standalone_mode=False) or 0)
    except HeadwaterError as error:
        _say_once(str(error))
        return error.exit_status
    except BrokenPipeError:
        return 1
    except typer.Abort:  # how older typers say it
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        # of a file that no stage expects to fail; those that do say more
        _say_once(f"{error.filename or 'input or output'}: {error.strerror or error}")
        return 1
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own, a usage error
            raise
        return _wrong_usage(error)


def _wrong_usage(error: Any) -> int:
    """Say what is wrong with the arguments; a group alone shows its help, which is no error."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.ctx.get_help())
        return 0
    _complain(usage_problem(error, " ".join(["headwater", *sys.argv[1:2]])))
    return 2


def _say_once(message: str) -> None:
    """Say why the verb ends: once a machine, and not again at every restart, where torchrun's ranks find the same.

    What another rank finds is in its log, and so in its last heartbeat, which the first one says; and in torchrun's own
    last words. torchrun knows no error after which it doesn't restart.
    """
    if _is_first_here() and _message_before_restart() != _for_launcher(message):
        _complain(message)
    _report_to_launcher(message)


def _is_first_here() -> bool:
    """Return whether this is the first rank of this machine, or a process alone."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _report_to_launcher(message: str) -> None:
    """Give torchrun what to end its own traceback with, where that started this process."""
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        from headwater.core import files

        about = {"message": _for_launcher(message), "extraInfo": {"timestamp": str(int(time.time()))}}
        with suppress(HeadwaterError, OSError):
            files.write_json(Path(path), {"message": about})


def _message_before_restart() -> str:
    """Return what the first rank gave torchrun when it was last started, in a folder of its own; "" of nothing."""
    restarts, path = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")), os.environ.get("TORCHELASTIC_ERROR_FILE")
    try:
        given = Path(path or "").parents[2] / f"attempt_{restarts - 1}" / "0" / "error.json"  # beside attempt_0/0
        return str(json.loads(given.read_text())["message"]["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _for_launcher(message: str) -> str:
    return "\n".join(textwrap.fill(line, 100) for line in message.splitlines())


def _complain(message: str) -> None:
    print(f"headwater: {safe(message)}", file=sys.stderr)
