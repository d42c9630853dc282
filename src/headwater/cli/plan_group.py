"""How `headwater plan` finds its verb, and its help: every option, under the question that it belongs to."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from typer.core import TyperGroup

from headwater.cli.track_record import TRACK_RECORD

VERB, SEARCH = "run", "search"
VERB_OF_OPTION = {"--budget": SEARCH, "--track-record": TRACK_RECORD}
"An option that asks something else, and the verb that answers it."

TYPED = {VERB: "", SEARCH: "--budget AMOUNT", TRACK_RECORD: "--track-record"}
"What is typed for a verb that an option or a run's name stands for."

QUESTIONS = {
    VERB: ("RUN [a.b=c]...", "What will this run cost here, and how good will it be?"),
    SEARCH: ("--budget AMOUNT [RUN [a.b=c]...]", "Which model should be trained for this money or time, and how?"),
    TRACK_RECORD: ("--track-record [FOLDER]", "How good were the forecasts of the runs that are done?"),
    "count": ("count [FOLDER] [a=b]...", "How many parameters and FLOPs per token, exactly?"),
}
"The arguments of each verb as they are typed, and what it answers."


_Context: Any = TyperGroup.context_class  # typer brings its own


class PlainContext(_Context):
    """A command's context whose path has no space after it where the verb is an empty word."""

    @property
    def command_path(self) -> str:
        return str(super().command_path).rstrip()


class PlanGroup(TyperGroup):
    """Commands by name; whatever begins with anything else is `plan run`, or what an option in it asks for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            asked = (VERB_OF_OPTION.get(argument.partition("=")[0]) for argument in args)
            args = [next(filter(None, asked), VERB), *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb under the words that a person types for it, which its errors and its usage then show."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            command.context_class = PlainContext
        return TYPED.get(name or "", name), command, rest

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        for number, (arguments, _) in enumerate(QUESTIONS.values()):
            formatter.write_usage(ctx.command_path, f"{arguments} [OPTIONS]", "       " if number else None)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for name, (arguments, question) in QUESTIONS.items():
            by_panel: dict[str, list[tuple[str, str]]] = defaultdict(list)
            for parameter in self.commands[name].get_params(ctx):
                record = parameter.get_help_record(ctx)
                if parameter.param_type_name == "option" and record is not None and "--help" not in parameter.opts:
                    by_panel[getattr(parameter, "rich_help_panel", None) or ""].append(record)
            with formatter.section(f"{ctx.command_path} {arguments}"):
                formatter.write(f"  {question}\n")
                for panel, records in sorted(by_panel.items()):  # those without a heading first
                    with formatter.section(panel) if panel else formatter.indentation():
                        formatter.write_dl(records, col_max=28)
