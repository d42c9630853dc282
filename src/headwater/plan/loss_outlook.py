"""The loss a run will reach, by the law of its ladder or of a table of runs; nothing without one. No torch.

Of a run from a base it is that of short runs, each with a decay of its own. Bits per byte of new text fall on along the
line of the last two over the logarithm of tokens; those of old text along the power law of all of them. On two texts,
with old text read again and without, that was 3.5 and 1.3 % off, where the last short run's own value was 24 and 6 %
(docs/log.md, 2026-11-29; decision 0069 has what was worse).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headwater.core.errors import ConfigError, DataError
from headwater.core.intervals import Z_P90
from headwater.core.numbers import count
from headwater.model.count import count_parameters
from headwater.plan.forecast.result import Band, FromBase, LossOutlook, Spread, mean_bits
from headwater.plan.rungs import ladder_runs, loss_by_rungs, read_ladder, rung_of
from headwater.plan.scaling.checks import forecast_refusal
from headwater.plan.scaling.estimator import ScalingLaw
from headwater.plan.scaling.table import OWN, read_runs
from headwater.plan.text_size import epochs_of
from headwater.runfile.kept_settings import load_with_kept
from headwater.runfile.run_config import RunConfig

NO_SHORT_RUNS = "no loss of a run from a base without three short runs of it: `headwater ladder RUN` trains them"
NO_OLD_TEXT = "the base's text isn't here ([replay] names its run), so that what is forgotten isn't measured"
NO_LAW = "not known without runs from scratch on the new text: --runs CSV, or --runs the run file of their ladder"
MOST_TOKENS = 1000.0  # times the largest run from scratch: as far as a break-even is looked for
OF_STEP, OF_RUN = 0.15, 0.02
"Deviation: of the change since the last short run, and of any run."


def law_of(path: Path) -> ScalingLaw:
    """Return the law of a table, or in bits per byte that of the rungs of the ladder of a run file (.toml)."""
    if path.suffix != ".toml":
        return ScalingLaw(read_runs(path))
    if (found := ladder_runs(load_with_kept(str(path), [])[0])) is None:
        raise DataError(f"{path} has no finished ladder of these settings; `headwater ladder {path}` makes it")
    return ScalingLaw(found, OWN)


def loss_outlook(config: RunConfig, runs_csv: Path | None) -> LossOutlook | None:
    """Return the forecast of the table's law, in its unit, or without a table by the run's ladder; None without either.

    Raises DataError for a table that can't be read.
    """
    target, warnings = rung_of(config), tuple[str, ...]()
    law = None if runs_csv is None else law_of(runs_csv)
    try:
        epochs = epochs_of(config)
        if law is None:
            if not (own := read_ladder(config)):
                return None
            found = loss_by_rungs(config, own, target)
            how = f"{len(own)} smaller runs in {config.folders.ladder}, which read their text as often"
        else:
            predicted = law.predict(target.params, target.tokens, unique_tokens=target.tokens / epochs.overall)
            found = Spread(float(predicted.median[0]), float(predicted.log_deviation[0]))
            how = f"law of {len(law.table)} runs in {runs_csv}"
            warnings = tuple(f"the loss: {each.says}" for each in law.warnings(target.params, target.tokens))
    except (ConfigError, DataError) as refused:
        return LossOutlook(None, str(refused))
    read = f"{epochs.most:.2g} epochs of a source at most" if epochs.by_source else "text of unknown size"
    how += f", {target.params:.3g} parameters, {target.tokens:.3g} tokens ({read})"
    return LossOutlook(found, how, warnings)


def outlook_from_base(config: RunConfig, scratch: Path | None, unit: str) -> LossOutlook:
    """Return both losses of a run from a base by its short runs, and the break-even by runs from scratch."""
    done, tokens = read_ladder(config), float(config.train.num_steps * config.train.batch_tokens)
    if not done:
        return LossOutlook(None, NO_SHORT_RUNS)
    lengths = [each.rung.tokens for each in done]
    of_new, of_old = ([mean_bits(each.loss, is_old) or 0.0 for each in done] for is_old in (False, True))
    new = new_text_after(tokens, lengths, of_new)
    old = old_text_after(tokens, lengths, of_old) if all(of_old) else None
    base = {is_old: mean_bits(done[0].base or {}, is_old) or math.nan for is_old in (False, True)}
    runs = f"short runs of {', '.join(map(count, lengths))} tokens, mean of the sources"
    how = {
        "new": f"the base has {base[False]:.3f}; the line of the last two over the logarithm of tokens: {runs}",
        "old": f"the base has {base[True]:.3f}; the power law of all three: {runs}" if old else NO_OLD_TEXT,
    }
    break_even, how["break_even"] = _break_even(config, new, scratch, unit) if scratch else (None, NO_LAW)
    losses = FromBase(new.band(), old.band() if old else None, break_even, how)
    return LossOutlook(new, "two losses: of the new text and of the old", from_base=losses)


def _break_even(config: RunConfig, new: Spread, scratch: Path, unit: str) -> tuple[Band | None, str]:
    """Return the tokens from scratch at which a model of this size is as good as the run on its new text, and how."""
    if unit != "bits_per_byte":
        return None, f"not known: the losses of {scratch} are {unit.replace('_', ' ')}, and not bits per byte"
    law, params = law_of(scratch), float(count_parameters(config.model).total)
    how = f"law of {len(law.table)} runs from scratch in {scratch}, at this size"
    lengths = np.geomspace(law.table.tokens.min(), MOST_TOKENS * law.table.tokens.max(), 500)
    known = np.array([each for each in lengths.tolist() if not forecast_refusal(law.runs, params, each)])
    if not len(known):
        return None, f"{forecast_refusal(law.runs, params, lengths[0])} ({how})"
    found = law.predict(params, known)
    off, deviation = np.log(found.median / new.median), np.hypot(found.log_deviation, new.log_deviation)
    as_good = [known[off <= z * deviation].tolist() for z in (Z_P90, 0.0, -Z_P90)]
    if not all(as_good):
        return None, f"more tokens than that law reaches, {count(float(known[-1]))} ({how})"
    return Band(*(each[0] for each in as_good)), how


def new_text_after(tokens: float, short: Sequence[float], bits: Sequence[float]) -> Spread:
    """Return bits per byte of new text after so many tokens; `short` runs had so many, the most last, and `bits`."""
    slope = (bits[-1] - bits[-2]) / math.log(short[-1] / short[-2])
    return _spread(max(bits[-1] + slope * math.log(tokens / short[-1]), bits[-1] / 2), bits[-1])


def old_text_after(tokens: float, short: Sequence[float], bits: Sequence[float]) -> Spread:
    """Return the same of the base's own text."""
    exponent, at_one = np.polyfit(np.log(short), np.log(bits), 1)
    return _spread(math.exp(at_one + exponent * math.log(tokens)), bits[-1])


def _spread(median: float, last: float) -> Spread:
    return Spread(median, math.hypot(OF_RUN, OF_STEP * math.log(median / last)))
