"""Say whether a run comes to the same bits again, and what was left out of it on the way."""

from __future__ import annotations

from headwater.checkpoint.lock import owned
from headwater.cli.terminal import TrainingDisplay, intervention_line, safe, say
from headwater.recipes.run_config import RunConfig
from headwater.recipes.stages import require_run_dir


def run_replay(config: RunConfig) -> bool:
    """Train a run anew beside itself and print what came of it; return whether every bit was the same."""
    from headwater.recipes.replaying import replay_run

    display = TrainingDisplay(config.train)
    require_run_dir(config.run_dir)
    with owned(config.run_dir):
        found, interventions = replay_run(config, display, say)
    for entry in interventions:
        print(safe(intervention_line(entry)))
    if found.difference is None:
        followed = f"{len(interventions)} intervention{'' if len(interventions) == 1 else 's'}"
        print(f"replayed bitwise: {found.num_steps} steps, {followed}, state {found.digest}")
    else:
        print(safe(f"differs: {found.difference}; the replay is kept in {config.run_dir}/replay-…"))
    return found.difference is None
