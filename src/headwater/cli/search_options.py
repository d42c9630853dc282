"""The options of `headwater plan --budget`, under the headings that its help has; each is one of `Wishes`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TEXT, MODEL, DEVICES, LOSS = "Text and use", "Model", "Devices and prices", "Loss"

Run = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN] [a.b=c]...", help="A run whose text, vocabulary and family count.")
]
Budget = Annotated[str, typer.Option(metavar="AMOUNT", help="Money ('$10k') or time (2h, 90min, 3d).")]
Hardware = Annotated[
    str, typer.Option(metavar="NxDEVICE", help="Such as 8xH100; none: this machine.", rich_help_panel=DEVICES)
]
TextBytes = Annotated[
    str, typer.Option(metavar="SIZE", help="How much text there is, such as 40G.", rich_help_panel=TEXT)
]
BytesPerToken = Annotated[
    float | None, typer.Option(help="Of your tokenizer; none: a rule of thumb.", rich_help_panel=TEXT)
]
ServeTokens = Annotated[
    str,
    typer.Option(
        metavar="COUNT",
        help="Tokens the model will serve (1T); none: as many as it trains on.",
        rich_help_panel=TEXT,
    ),
]
FinishedRuns = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV", help="Finished runs (params, tokens, loss) instead of published laws.", rich_help_panel=LOSS
    ),
]
FinalShare = Annotated[
    float | None, typer.Option(help="Part of the budget for the final run; 2/3 of money, all of time if none.")
]
Family = Annotated[str, typer.Option(help="qwen3, llama or gpt2.", rich_help_panel=MODEL)]
VocabSize = Annotated[int | None, typer.Option(help="Token ids of the vocabulary.", rich_help_panel=MODEL)]
SeqLen = Annotated[int | None, typer.Option(help="Tokens in a row.", rich_help_panel=MODEL)]
MaxMemory = Annotated[
    str, typer.Option(metavar="SIZE", help="What may be used of a device, such as 60G.", rich_help_panel=DEVICES)
]
Precision = Annotated[
    str, typer.Option(help="bf16, fp8, or auto: whichever gives the lower loss.", rich_help_panel=DEVICES)
]
Price = Annotated[
    str, typer.Option(help="reserved, on_demand or spot; the table's first if none.", rich_help_panel=DEVICES)
]
PricePerHour = Annotated[
    float | None, typer.Option(help="Dollars a device-hour, instead of the table's.", rich_help_panel=DEVICES)
]
Site = Annotated[str, typer.Option(help="The site whose PUE and carbon count.", rich_help_panel=DEVICES)]
Sites = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A table of sites instead of ours.", rich_help_panel=DEVICES)
]
HardwareTable = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A hardware table for ours.", rich_help_panel=DEVICES)
]
Prices = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A price table instead of ours.", rich_help_panel=DEVICES)
]
