"""A budget as a choice of runs, on devices of a table, the GPU at hand or the processor. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from headwater.errors import ConfigError
from headwater.forecast.budget import (
    FINAL_SHARE,
    FINAL_SHARE_SOURCE,
    Budget,
    Query,
    Rates,
    parse_amount,
    parse_budget,
    parse_hardware,
)
from headwater.forecast.candidate import RECOMPUTED, Candidate, sizes, wanted_rows
from headwater.forecast.device import read_devices
from headwater.forecast.gpu import HOURS_BACKTEST, POWER_DEVIATION, Devices
from headwater.forecast.processor import Step, constants
from headwater.forecast.processor_memory import checkpoint_bytes, run_memory
from headwater.forecast.result import NO_PRICE, PROBES_PART, Spread
from headwater.forecast.search import BudgetPlan, search
from headwater.host.facts import cpu_flags
from headwater.host.memory import memory_bytes
from headwater.host.threads import usable_cores
from headwater.model.count import count_parameters
from headwater.model.settings import ModelSettings
from headwater.optim.blocks import block_rows_for
from headwater.runs.costs import PUE, Costs
from headwater.runs.ladder_design import scaled_shapes
from headwater.runs.ladder_record import ladder_table
from headwater.runs.paths import split_tokens
from headwater.runs.plan_loss import schedule_effect
from headwater.runs.plan_machine import (
    MOST_OF_MEMORY,
    around_steps,
    gpu_to_use,
    processor_dtype,
    processor_peaks,
    rule_microbatch,
    usual_here,
)
from headwater.runs.run_config import RunConfig, config_of_text, load_run
from headwater.runs.text_size import TOKEN_BYTES_OF_A_BYTE, tokens_of, usual_bytes_per_token
from headwater.runs.times import earlier_runs, speed_here
from headwater.scaling import ScalingLaw, read_runs
from headwater.scaling.published import NATS, OwnRuns, PublishedLaws, published_laws
from headwater.scaling.repetition import OWN, USUAL, PublishedRepetition

NO_RUN = """
[corpus.sources.text]
paths = ["text"]
[tokenizer]
vocab_size = {vocab_size}
[model]
seq_len = {seq_len}
num_layers = 8
[train]
num_steps = 1000
"""
ON_DEVICES, ON_PROCESSOR = {"vocab_size": 65_536, "seq_len": 2048}, {"vocab_size": 8192, "seq_len": 256}
"Where nothing says: nanochat's, and those of first-light's size."
NUM_SAVES = 20
"Of a run, by the rule of `train.save_every`."
USUAL_RATIO = 20
"Tokens a parameter, as Chinchilla has it (arXiv:2203.15556)."
TRIAL_ROWS = 64
"Of a batch, before the tokens of a run are known."
PROCESSOR_HOURS = "from the steps of earlier runs here, or from a model of this processor"
GPU_HOURS = (
    f"6 FLOPs a parameter and token at 40 % of the bf16 peak: {HOURS_BACKTEST['runs']} published whole runs were "
    f"{HOURS_BACKTEST['median']:.0%} off in the median, {HOURS_BACKTEST['p90']:.0%} at P90; four of five lie in P10 to "
    "P90. headwater itself was never timed on such devices, and float8 is planned at the speed of bf16"
)


@dataclass(frozen=True)
class SearchOptions:
    """What was given, as text where it has a unit; None or "" where it wasn't."""

    budget: str
    run: str | None = None
    overrides: tuple[str, ...] = ()
    hardware: str = ""
    text_bytes: str = ""
    serve_tokens: str = ""
    runs: Path | None = None
    loss_unit: str = "bits_per_byte"
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True)
class Text:
    """Its different tokens, infinite where nothing says, and whether they are built."""

    unique: float
    how: str
    bytes_per_token: float
    is_built: bool = False


def search_budget(options: SearchOptions) -> BudgetPlan:
    """Return the plan; raise ConfigError or DataError where there can be none."""
    budget, config = parse_budget(options.budget), _config(options)
    text = _text_of(options, config)
    machine = _machine(options, config, text)
    query = _query(options, config, budget, _rates(options, machine), text)
    seconds, models = 3600 * query.final_hours, _models(config, options.run is not None)
    runs = options.runs or (ladder_table(config) if options.run else None)
    repetition = USUAL if runs else PublishedRepetition()
    epochs = (repetition.most_epochs(count_parameters(model).total, text.unique) for model in models)
    ways = (machine.ways(model, seconds, most * text.unique) for model, most in zip(models, epochs, strict=True))
    found = [next((way for way in of_model if way.fits), None) for of_model in ways]
    candidates = [each for each in found if each is not None]
    if not candidates:
        raise ConfigError(
            f"no size fits: {count_parameters(models[0]).total:,} parameters (the smallest) need more memory, or a "
            f"larger batch, than {query.rates.num_devices} × {query.rates.device} allow; take other or more devices, "
            "raise max_memory, or lower tokenizer.vocab_size or model.seq_len"
        )
    losses = _losses(options, config, runs, candidates, seconds)
    return search(query, candidates, losses, options.loss_unit if isinstance(losses, OwnRuns) else NATS, models)


def _config(options: SearchOptions) -> RunConfig:
    """Return the run's settings; without a run those of a usual one, with the settings that were given."""
    if options.run is not None:
        return load_run(options.run, list(options.overrides))[0]
    usual = ON_DEVICES if options.hardware or gpu_to_use("auto") else ON_PROCESSOR
    return config_of_text(NO_RUN.format(**usual), list(options.overrides))


def _models(config: RunConfig, is_run: bool) -> list[ModelSettings]:
    """Return the sizes of the dial, with the run's own model and smaller ones of its make; smallest first."""
    model = config.model
    own = scaled_shapes(model) if is_run else []
    found = [*own, *sizes(model.family, model.vocab_size, model.seq_len)]
    return sorted(found, key=lambda each: count_parameters(each).total)


def _losses(
    options: SearchOptions, config: RunConfig, runs: Path | None, candidates: list[Candidate], seconds: float
) -> PublishedLaws | OwnRuns:
    """Return the law of --runs or of the run's ladder, with the run's own schedule; else the published laws.

    Those near the compute that the budget buys count most: that of the size nearest to 20 tokens a parameter.
    """
    if runs is None:
        pairs = [(each.params, max(1.0, each.tokens(seconds, math.inf))) for each in candidates]
        params, tokens = min(pairs, key=lambda pair: abs(math.log(pair[1] / (USUAL_RATIO * pair[0]))))
        return published_laws(6 * params * tokens)
    law = ScalingLaw(read_runs(runs), USUAL if options.runs else OWN)
    if options.run is None:
        return OwnRuns(law, runs)
    factor, why = schedule_effect(config, runs)
    return OwnRuns(law, runs, math.log(factor.median), factor.log_deviation, why)


def _machine(options: SearchOptions, config: RunConfig, text: Text) -> Devices | Processor:
    """Return the devices that were named, else the GPU at hand, else the processor."""
    costs = options.costs
    max_memory = parse_amount("max_memory", costs.max_memory, "bytes") if costs.max_memory else math.inf
    if options.hardware:
        num_devices, device = parse_hardware(options.hardware, read_devices(costs.hardware))
        return Devices(num_devices, device, config.optim, max_memory)
    if gpu := gpu_to_use(config.machine.device):
        return Devices(1, gpu, config.optim, max_memory)
    if costs.hardware:
        raise ConfigError("hardware of the costs file has devices, and a processor is planned for: name --hardware")
    return Processor(config, text, max_memory)


def _rates(options: SearchOptions, machine: Devices | Processor) -> Rates:
    """Return what an hour of the machine costs and draws."""
    costs = options.costs
    if isinstance(machine, Processor):
        name, how = f"this processor ({machine.cores} cores, {machine.dtype})", PROCESSOR_HOURS
        watts = Spread(constants()["watts_per_core"] * machine.cores, constants()["log_deviation"]["watts"])
        rates = Rates(name, 1, 1, how, None, None, NO_PRICE + ", or name devices: --hardware 8xH100", watts)
    else:
        device, watts = machine.device, Spread(machine.device.watts, POWER_DEVIATION)
        of_hours, of_price = (GPU_HOURS, HOURS_BACKTEST), (device.usd_per_hour, device.price_how)
        rates = Rates(device.name, machine.num_devices, device.node_size, *of_hours, *of_price, watts)
    if costs.price_per_hour is not None:
        price = Spread(costs.price_per_hour)
        rates = replace(rates, usd_per_hour=price, price_how="price_per_hour of the costs file")
    if costs.watts is not None:
        rates = replace(rates, watts=Spread(costs.watts))
    # named devices stand in a data centre, those at hand don't
    pue, kg_co2_per_kwh, how = costs.electricity(PUE if options.hardware else 1.0)
    energy_how = f"{rates.watts.median:g} W a device, {how}"
    return replace(rates, pue=pue, kg_co2_per_kwh=kg_co2_per_kwh, energy_how=energy_how)


def _query(options: SearchOptions, config: RunConfig, budget: Budget, rates: Rates, text: Text) -> Query:
    share, share_how = FINAL_SHARE, FINAL_SHARE_SOURCE
    if options.costs.final_share is not None:
        share, share_how = options.costs.final_share, "final_share of the costs file"
    elif budget.usd is None:
        share, share_how = 1.0, "a budget of hours is the run's own"
    serve = parse_amount("--serve-tokens", options.serve_tokens, "tokens") if options.serve_tokens else None
    name = "budget" if options.run is None else config.name
    return Query(name, budget, share, share_how, rates, text.unique, text.how, serve)


def _text_of(options: SearchOptions, config: RunConfig) -> Text:
    """Return how much text there is: as said, else as the plan of the run counts it; raise for none."""
    bytes_per_token = usual_bytes_per_token(config.model.vocab_size)
    by_rule = f", {bytes_per_token:.2f} bytes a token (a rule of thumb)"
    if options.text_bytes:
        size = parse_amount("--text-bytes", options.text_bytes, "bytes")
        return Text(size / bytes_per_token, f"--text-bytes {options.text_bytes}{by_rule}", bytes_per_token)
    if options.run is None:
        return Text(math.inf, "not given", bytes_per_token)
    found, sources, share = tokens_of(config, "train"), config.corpus.sources, config.mixture.share_of_text
    if not any(found.values()):
        raise ConfigError(
            f"how much text {config.name} has isn't known: none of its sources {', '.join(sources)} is found here; "
            "give --text-bytes, or mend the paths"
        )
    num_tokens, missing = sum(found.values()), [name for name in sources if name not in found]
    is_built = found == split_tokens(config.run_dir, "train")
    how = f"{num_tokens:,} tokens built" if is_built else f"the sources of {config.name} as they lie here{by_rule}"
    how += f"; nothing counted for {', '.join(missing)}" if missing else ""
    how += "" if share == 1 else f"; {share:.0%} of it are read (mixture.share_of_text)"
    return Text(share * num_tokens, how, bytes_per_token, is_built)


class Processor:
    """The processor at hand, by the rules that the plan of a run has. Raises ConfigError for float8.

    `usual` is a step over what the rates say, as earlier runs here had it.
    """

    def __init__(self, config: RunConfig, text: Text, max_memory: float) -> None:
        machine, flags = config.machine, cpu_flags()
        self.config, self.text = config, text
        self.cores, self.dtype = machine.num_threads or usable_cores(), processor_dtype(machine, flags)
        self.limit = min(max_memory, float(memory_bytes()))
        self.peaks = processor_peaks(self.dtype, self.cores, flags)
        speed = speed_here(self.dtype, self.cores, is_compiled=machine.compile != "off")
        self.usual = usual_here(earlier_runs(Path(config.runs_dir), speed), self.peaks)
        # of steps that take a second a token: all but the start goes with it
        around = {name: part.median for name, part in around_steps(config, float(config.train.batch_tokens)).items()}
        self.start_seconds = around["start"]
        self.evaluation_tokens = around["validations"] + around[PROBES_PART] + around["after"]

    def ways(self, model: ModelSettings, seconds: float, most_tokens: float) -> Iterator[Candidate]:
        """Yield how the size may be trained in that time on at most that many tokens, the fastest first."""
        num_tokens = min(most_tokens, seconds / self._seconds_per_token(model, TRIAL_ROWS, 0.0))
        rows = wanted_rows(num_tokens, model.seq_len)
        micro = rule_microbatch(rows * model.seq_len, model.seq_len)
        known, deviation = constants()["around_steps"], constants()["log_deviation"]["memory"]
        read = TOKEN_BYTES_OF_A_BYTE * self.text.bytes_per_token * min(num_tokens, self.text.unique)
        held = min(read, MOST_OF_MEMORY * memory_bytes())
        prepare = self.text.bytes_per_token / known["preparation_bytes_per_second"]
        saves = NUM_SAVES * checkpoint_bytes(model, self.config.optim) / known["checkpoint_bytes_per_second"]
        for recompute in RECOMPUTED:
            recomputed = math.ceil(recompute * model.num_layers)
            peak = run_memory(model, micro, self.dtype, held, recomputed, exact=self.config.train.exact)
            per_token = self._seconds_per_token(model, rows, recompute)
            yield Candidate(
                model=model,
                where=f"one device, {self.dtype}",
                seconds_per_token=per_token,
                batch_rows=rows,
                microbatch_rows=micro // model.seq_len,
                recompute=recompute,
                memory=Spread(peak, deviation),
                memory_limit=self.limit,
                hours_deviation=self.usual.log_deviation,
                around_seconds=self.start_seconds + self.evaluation_tokens * per_token + saves,
                prepare_seconds=0.0 if self.text.is_built else prepare,
            )

    def _seconds_per_token(self, model: ModelSettings, batch_rows: int, recompute: float) -> float:
        batch, config = batch_rows * model.seq_len, self.config
        blocks, is_muon = block_rows_for(model.d_model, model.d_ff, batch), config.optim.name == "muon"
        step = Step(model, batch, blocks, is_muon, config.train.half_length_fraction, recompute)
        return self.usual.median * step.seconds(self.peaks) / batch
