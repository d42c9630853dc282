"""What pairs of answers teach, by TRL: a run that prefers some of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from headwater.downstream import preference
from headwater.downstream.derived import require_unused
from headwater.downstream.preference import PreferenceResult, PreferenceSettings
from headwater.runfile.paths import Say
from headwater.runs.aligning import begin_derived, keep_derived, learning
from headwater.train.checkpoint.origins import Origin


def prefer(
    base: Path, run_dir: Path, pairs: Path, held_out: Path | None, settings: PreferenceSettings, say: Say
) -> PreferenceResult:
    """Make a run, in a folder that has none, whose model finds preferred answers likelier, and return what changed."""
    require_unused(run_dir)
    with learning(base, run_dir, pairs, held_out, settings.seed, say) as given:
        model, result = preference.dpo(*given.start, *given.pairs, settings, given.work)
        identity = {"start": given.digest, "dpo": asdict(settings)}
        begin_derived(base, run_dir, settings.num_steps, Origin("", "preferences"), given.pairs)
        keep_derived(run_dir / preference.RESULT, result, model, settings.num_steps, identity)
    return result
