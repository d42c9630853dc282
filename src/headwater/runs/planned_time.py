"""What a run takes besides its steps: preparing text, validations, probes, saves, what comes after. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.forecast.before import state_bytes
from headwater.forecast.forecast_run import PROBES_PART, Spread
from headwater.forecast.processor import constants
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.settings import OptimSettings
from headwater.runs.paths import Folders
from headwater.runs.planned_text import foreseen_held_out, has_almanac, source_bytes
from headwater.runs.run_config import RunConfig
from headwater.runs.rung_times import NOT_MEASURED, MeasuredAround
from headwater.train.settings import TrainSettings, probe_steps, validation_steps

START_SECONDS = 2.6
"Assembling, and measuring the peak."
VALIDATION_PART = 0.376
"Seconds of a validated token over those of a trained one: first-light, as `around_steps` in processor.json."
USUAL_VALIDATIONS = 12
"Of a run, by the rule of `train.validate_every`."
UNKNOWN_HELD_OUT = 50_000
"Tokens held out of a source whose size isn't known: a few megabytes of text have as many."
FIRST_LIGHT_SECONDS_PER_TOKEN, FIRST_LIGHT_BYTES = 0.255 / 4096, 42.5e6


@dataclass(frozen=True)
class SecondsAround:
    seconds: dict[str, Spread]
    how: str


def around_steps(config: RunConfig, step_seconds: float, measured: MeasuredAround = NOT_MEASURED) -> SecondsAround:
    """Return the seconds of everything but steps, from what was measured here or from first-light's on one machine."""
    known, train = constants()["around_steps"], config.train
    per_token = step_seconds / train.batch_tokens
    num_validated = len(validation_steps(train)) * validated_tokens(config)
    probe = known["look_seconds" if has_almanac(config) else "look_seconds_without_almanac"] * _probe_scale(per_token)
    num_saves = -(-train.num_steps // train.save_every)
    save = checkpoint_bytes(config.model, config.optim) / known["checkpoint_bytes_per_second"]
    prepare, how = _preparation(config)
    parts = {
        "start": _part(1, None, START_SECONDS),
        "preparation": _part(1, None, prepare),
        "validations": _part(num_validated, measured.validated_token, VALIDATION_PART * per_token),
        PROBES_PART: _part(len(probe_steps(train)), measured.probe, probe),
        "checkpoints": _part(num_saves, measured.save, save),
        "after": _part(1, None, ending_seconds(per_token, _text_bytes(config))),
    }
    return SecondsAround(parts, how)


@dataclass(frozen=True)
class Evaluations:
    """What a run evaluates, whose number of steps isn't known yet: tokens of all validations together, and probes."""

    validated_tokens: float
    num_probes: int
    probe_seconds: float

    def seconds(self, seconds_per_token: float) -> float:
        """Return what they take together, at `seconds_per_token` of training."""
        validations = self.validated_tokens * VALIDATION_PART * seconds_per_token
        return validations + self.num_probes * self.probe_seconds * _probe_scale(seconds_per_token)


def usual_evaluations(config: RunConfig | None) -> Evaluations:
    """Return those of the run's text, or of one text without an almanac; as often as rules say, and with each probe."""
    known, num_probes = constants()["around_steps"], TrainSettings.model_fields["num_probes"].default
    num_tokens, probe = UNKNOWN_HELD_OUT, known["look_seconds_without_almanac"]
    if config is not None:
        num_probes, num_tokens = config.train.num_probes, validated_tokens(config)
        probe = known["look_seconds"] if has_almanac(config) else probe
    return Evaluations((USUAL_VALIDATIONS + num_probes) * num_tokens, num_probes, probe)


def _part(times: float, measured: float | None, otherwise: float) -> Spread:
    """Return the seconds of what comes `times` times, each as it was measured, or as it is otherwise expected."""
    spread = constants()["log_deviation"]
    if measured is None:
        return Spread(times * otherwise, spread["around"])
    return Spread(times * measured, spread["around_measured"])


def validated_tokens(config: RunConfig) -> int:
    """Return the tokens of one validation: its rows of each source, or as many as there are."""
    wanted = config.train.validation_sequences * config.model.seq_len
    held_out = foreseen_held_out(config)
    return sum(min(wanted, held_out.get(name, UNKNOWN_HELD_OUT)) for name in config.corpus.sources)


def _probe_scale(seconds_per_token: float) -> float:
    """Return a probe's time over first-light's: half is Python's own, half goes with the model's."""
    return 0.5 + 0.5 * seconds_per_token / FIRST_LIGHT_SECONDS_PER_TOKEN


def ending_seconds(seconds_per_token: float, text_bytes: float) -> float:
    """Return the time of what comes after training: half goes with the model's, half with the text, for baselines.

    Those read no more text than first-light has.
    """
    by_model = seconds_per_token / FIRST_LIGHT_SECONDS_PER_TOKEN
    by_text = min(1.0, text_bytes / FIRST_LIGHT_BYTES)
    return float(constants()["around_steps"]["after_seconds"]) * (by_model + by_text) / 2


def checkpoint_bytes(model: ModelSettings, optim: OptimSettings) -> float:
    """Return weights and optimizer state: all the state but the gradients."""
    return state_bytes(model, optim) - 4 * count_parameters(model).total


def _text_bytes(config: RunConfig) -> float:
    """Return the bytes of the run's text; a source of unknown size counts as all of first-light's."""
    sizes = [source_bytes(source) for source in config.corpus.sources.values()]
    return sum(FIRST_LIGHT_BYTES if size is None else size for size in sizes)


def _preparation(config: RunConfig) -> tuple[float, str]:
    if (Folders(config.run_dir).tokens / "manifest.json").is_file():
        return 0.0, "text is prepared already"
    sizes = {name: source_bytes(source) for name, source in config.corpus.sources.items()}
    unknown = [name for name, size in sizes.items() if size is None]
    total = sum(size for size in sizes.values() if size is not None)
    how = f"preparation of {total / 1e6:.3g} MB at first-light's rate"
    if unknown:
        how += f"; nothing is counted for {', '.join(unknown)}, whose size isn't known"
    return total / constants()["around_steps"]["preparation_bytes_per_second"], how
