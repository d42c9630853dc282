"""Whatever a run file says, and wherever its run is stopped: the same command ends it as if nothing had stopped it.

Run files, moments and numbers of steps are drawn, and go the way of the command. `make drawn-runs` draws many more.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from many_ranks import calling, start_programs, start_ranks
from small_run import Said, call, finish, measured, require_clear_error, write_texts

from headwater.core.files import read_json
from headwater.core.records import read_all, read_records
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.verify import checked_manifest

pytestmark = [pytest.mark.timeout(36_000)]

EXIT_STATUS = {"SIGTERM": 75, "SIGKILL": -9}
STOPPING = """
import signal
from headwater.cli import running
class Stopping(running.TrainingDisplay):
    def __call__(self, record):
        super().__call__(record)
        if record["event"] == "{event}" and record["step"] >= {step}:
            signal.raise_signal(signal.{name})
running.TrainingDisplay = Stopping
"""
"""Before a command: the first rank gets a signal right after a step, a measurement or a save."""


@dataclass(frozen=True)
class Stop:
    step: int
    event: str
    by: str


@dataclass(frozen=True)
class Drawn:
    """A run file by its tables; what stops its run; the steps that it gets in the end, and whether it is done before."""

    tables: dict[str, dict[str, Any]]
    stops: tuple[Stop, ...] = ()
    more_steps: int = 1
    is_finished_before: bool = True
    num_ranks: int = 1

    @property
    def num_steps(self) -> int:
        return int(self.tables["train"]["num_steps"])


def maybe(**choices: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw some of the settings; rules and defaults give the others."""
    return st.fixed_dictionaries({}, optional=choices)


@st.composite
def drawn_runs(draw: st.DrawFn, num_ranks: int = 1) -> Drawn:
    steps, heads = draw(st.integers(1, 33)), num_ranks * draw(st.integers(1, 3))
    seq_len = 2 * num_ranks * draw(st.integers(4, 20 // num_ranks))  # halves that ranks can divide
    model = {"seq_len": seq_len, "num_layers": num_ranks * draw(st.integers(1, 2)), "num_heads": heads}
    model |= {"d_model": 2 * heads * draw(st.integers(4, 9))}
    model |= draw(maybe(family=st.sampled_from(["qwen3", "llama", "gpt2"]), tied_embeddings=st.booleans()))
    train = {"num_steps": steps, "validation_sequences": 2}
    train |= draw(maybe(batch_tokens=st.integers(1, 5).map(lambda rows: rows * num_ranks * seq_len)))
    train |= draw(maybe(**{name: st.integers(1, 40) for name in ("save_every", "validate_every")}))
    train |= draw(
        maybe(num_probes=st.integers(0, 3), keep_checkpoints=st.integers(2, 5), half_length_fraction=st.floats(0, 1))
    )
    schedule = draw(
        maybe(
            name=st.sampled_from(["wsd", "wsd", "cosine", "linear"]),
            warmup_steps=st.integers(0, steps),
            decay_fraction=st.floats(0.01, 1),
            final_fraction=st.floats(0, 1),
        )
    )
    optim = draw(maybe(name=st.sampled_from(["muon", "adamw"]), matrix_lr=st.floats(1e-4, 0.02)))
    weights = st.fixed_dictionaries({name: st.floats(0.1, 1) for name in ("small", "large")})
    tables = {
        "model": model,
        "train": train,
        "schedule": schedule,
        "optim": optim,
        "mixture": draw(maybe(weights=weights, share_of_text=st.floats(0.5, 1))),
        "machine": {"dtype": draw(st.sampled_from(["float32", "bfloat16"])), "compile": "off", "num_threads": 1},
    }
    if num_ranks > 1:
        axes = ["replicate", "shard", "pipeline", "context"]
        axis = draw(st.sampled_from(axes if model.get("family") == "gpt2" else [*axes, "tensor"]))
        tables["parallel"] = {axis: num_ranks}
        train["batch_tokens"] = 2 * num_ranks * draw(st.integers(1, 2)) * seq_len
        train["microbatch_tokens"] = seq_len
    moments = st.lists(st.integers(1, steps), max_size=2, unique=True).map(sorted)
    events, signals = st.sampled_from(["step", "validation", "checkpoint"]), st.sampled_from(sorted(EXIT_STATUS))
    stops = [Stop(step, draw(events), draw(signals)) for step in draw(moments)]
    return Drawn(tables, tuple(stops), draw(st.integers(1, 30)), draw(st.booleans()), num_ranks)


# ---- a drawn run, by commands


@dataclass(frozen=True)
class Runs:
    """A folder with a run file, whose runs under several names share the text that is prepared in `template`."""

    folder: Path
    template: Path
    num_ranks: int

    def write(self, drawn: Drawn) -> None:
        sources = {f"corpus.sources.{name}": {"paths": [name]} for name in ("small", "large")}
        tables = sources | {"tokenizer": {"vocab_size": 384}} | drawn.tables
        lines = [
            f"[{table}]\n" + "".join(f"{name} = {toml(value)}\n" for name, value in values.items())
            for table, values in tables.items()
        ]
        (self.folder / "drawn.toml").write_text("\n".join(lines))

    def of(self, name: str) -> Path:
        run_dir = self.folder / "runs" / name
        if not run_dir.exists():
            shutil.copytree(self.template, run_dir)
        return run_dir

    def train(self, name: str, *settings: str) -> Said:
        self.of(name)
        arguments = "train", "drawn.toml", f"name={name}", *settings
        if self.num_ranks == 1:
            return call(*arguments, cwd=self.folder)
        first, *others = start_ranks(self.num_ranks, *arguments, cwd=self.folder)
        said = finish(first)
        for each in others:  # which wait for the first; a launcher ends them where it fails
            each.kill() if said.status else finish(each)
        return said

    def stop(self, name: str, at: Stop) -> None:
        """Train until the signal, and check what is left; one right after the last step may find the run done."""
        run_dir = self.of(name)
        program = STOPPING.format(step=at.step, event=at.event, name=at.by)
        programs = [program + calling("train", "drawn.toml", f"name={name}")] * self.num_ranks
        said, *_ = [finish(each) for each in start_programs(programs, self.folder)]
        assert said.status == EXIT_STATUS[at.by] or (said.status == 0 and at.event != "step"), said
        assert "Traceback" not in said.err, said
        if at.by == "SIGTERM" and said.status:
            assert "the same command" in said.out, said
            assert list_checkpoints(run_dir)[0][0] == read_all(run_dir / "records.jsonl")[-1]["step"], "a step is lost"


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)


def of_end(run_dir: Path) -> dict[str, Any]:
    """Return the last step, the digest of its weights and optimizer state, and the losses of all steps."""
    step, path = list_checkpoints(run_dir)[0]
    losses = [record["loss"].hex() for record in read_records(run_dir / "records.jsonl", "step")]
    return {"step": step, "state": checked_manifest(path)["state_digest"], "losses": losses}


def require_done(said: Said) -> None:
    assert said.status == 0, said
    assert "Traceback" not in said.err, said


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A folder of two texts, which its run `template` has prepared."""
    folder = tmp_path_factory.mktemp("drawn")
    write_texts(folder / "small", 8)
    write_texts(folder / "large", 30)
    for path in sorted((folder / "large").glob("*.txt"))[:8]:
        path.unlink()  # those of `small`
    runs = Runs(folder, folder, 1)
    runs.write(Drawn({"model": {"num_layers": 1, "seq_len": 8, "d_model": 16}, "train": {"num_steps": 1}}))
    require_done(call("train", "drawn.toml", "name=template", cwd=folder))
    for path in [path for path in (folder / "runs/template").iterdir() if path.name != "data"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def drawing(in_suite: int, by_make: int) -> settings:
    """Draw few in the suite, as each is several runs, and many by `make drawn-runs`; the first one found tells enough."""
    phases = [Phase.explicit, Phase.generate]
    most = in_suite if settings().max_examples < 1000 else by_make
    return settings(max_examples=most, phases=phases, suppress_health_check=list(HealthCheck))


NUMBERS = count()

ODD = {
    "model": {"num_layers": 1, "seq_len": 16, "d_model": 32},
    "train": {"num_steps": 61, "batch_tokens": 64},
    "machine": {"compile": "off", "dtype": "float32", "num_threads": 1},
}


def new_runs(template: Path, drawn: Drawn) -> Runs:
    """Return the runs of one draw; those of the draw before are removed."""
    shutil.rmtree(template / "draws", ignore_errors=True)
    folder = template / "draws" / str(next(NUMBERS))
    folder.mkdir(parents=True)
    for name in ("small", "large"):
        (folder / name).symlink_to(template / name)
    runs = Runs(folder, template / "runs" / "template", drawn.num_ranks)
    runs.write(drawn)
    return runs


@drawing(3, 500)
@example(Drawn(ODD, (Stop(13, "step", "SIGTERM"),), 30))
@given(drawn_runs())
def test_a_run_that_is_stopped_and_lengthened_has_the_bits_of_one_that_was_not(template, drawn):
    runs = new_runs(template, drawn)
    require_done(runs.train("unstopped"))
    for each in drawn.stops:
        runs.stop("stopped", each)
    if drawn.is_finished_before or not drawn.stops:
        finish_as_the_unstopped(runs, drawn)
    lengthen(runs, drawn)


@drawing(1, 125)
@given(drawn_runs(num_ranks=2))
def test_two_ranks_that_are_stopped_have_the_bits_of_two_that_were_not(template, drawn):
    runs = new_runs(template, drawn)
    require_done(runs.train("unstopped"))
    for each in drawn.stops:
        runs.stop("stopped", each)
    finish_as_the_unstopped(runs, drawn)
    lengthen(runs, drawn)


def finish_as_the_unstopped(runs: Runs, drawn: Drawn) -> None:
    require_done(runs.train("stopped"))
    assert of_end(runs.of("stopped")) == of_end(runs.of("unstopped"))
    assert measured(runs.of("stopped")) == measured(runs.of("unstopped"))
    assert len(of_end(runs.of("stopped"))["losses"]) == drawn.num_steps
    assert not list(runs.of("stopped").rglob(".tmp-*")), "killed writers leave temporary files"
    before = of_end(runs.of("stopped"))
    again = runs.train("stopped")
    require_done(again)
    assert "up to date" in again.out, again
    assert of_end(runs.of("stopped")) == before


def lengthen(runs: Runs, drawn: Drawn) -> None:
    """Give the run more steps; a run of as many steps and its other settings from the start must end alike."""
    num_steps = drawn.num_steps + drawn.more_steps
    said = runs.train("stopped", f"train.num_steps={num_steps}")
    if said.status:
        require_clear_error(said, "no checkpoint from before is left")
        require_done(runs.train("stopped"))
        assert of_end(runs.of("stopped")) == of_end(runs.of("unstopped"))
        assert not may_be_lengthened(drawn), said
        return
    require_done(said)
    fixed = read_json(runs.of("stopped") / "config.json")["settings"]
    given = [
        f"{table}.{name}={'off' if value is None else toml(value)}"
        for table in ("optim", "schedule", "train")
        for name, value in fixed[table].items()
    ]
    require_done(runs.train("in-one-go", *given))
    assert of_end(runs.of("stopped")) == of_end(runs.of("in-one-go"))
    again = runs.train("stopped", f"train.num_steps={num_steps}")
    assert again.status == 0 and "up to date" in again.out, again


def may_be_lengthened(drawn: Drawn) -> bool:
    """Return whether the rate is constant for a while, before a decay that leaves a checkpoint from its beginning."""
    schedule, train = drawn.tables.get("schedule", {}), drawn.tables["train"]
    decay_steps = max(1, round(schedule.get("decay_fraction", 0.5) * drawn.num_steps))
    is_constant = schedule.get("name", "wsd") == "wsd" and decay_steps < drawn.num_steps
    return is_constant and "half_length_fraction" not in train and "share_of_text" not in drawn.tables["mixture"]
