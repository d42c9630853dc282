"""headwater run --dry-run: what each stage would do and why, time and memory, and what would be refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from headwater.cli.terminal import card, hours_interval, interval, print_json
from headwater.core.errors import ConfigError
from headwater.machine.ranks.mesh import place_of
from headwater.page.report.stage import is_shown
from headwater.runfile.run_config import load_run
from headwater.runs.dry_run import dry_run


def show_dry_run(name: str, overrides: Sequence[str], as_json: bool) -> None:
    """Print what `headwater run` would do; exit with the status of what it would refuse."""
    config, reasons = load_run(name, overrides)
    found = dry_run(config, reasons, place_of(os.environ), is_shown)
    if as_json:
        print_json(found.fields())
    else:
        lines = [(each.stage, f"{each.action}: {each.why}") for each in found.stages]
        if found.plan:
            unit = "GB a rank" if "ranks" in found.plan else "GB"
            lines += [
                ("time", hours_interval(found.plan["hours"])),
                ("memory", interval(found.plan["memory_gb"], unit)),
            ]
        of_stages = {each.why for each in found.stages}
        lines += [("refused", why) for why in found.refused if why not in of_stages]
        card(f"{config.name} · nothing is written", lines)
    if found.refused:
        sys.exit(ConfigError.exit_status)
