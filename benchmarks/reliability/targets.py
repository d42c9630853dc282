"""What is interrupted: every step of a run that leaves something on the disk, by the code that a run uses.

A target begins from a template, a run folder in the state before its work. The work is called again after a fault, as
the same command would be, and must then leave what it leaves without one.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import figures
import whole
from headwater.core.errors import CheckpointError
from headwater.core.files import read_json, remove_leftovers, write_json
from headwater.machine import compute as machine
from headwater.page.report.page import report_stage
from headwater.plan import hardware
from headwater.plan import run_plan as plan
from headwater.runfile.checking import Reason
from headwater.runfile.run_config import RunConfig, load_run
from headwater.runs.finish import evaluate_stage, export_stage
from headwater.runs.running import Call
from headwater.runs.running import run as run_stages
from headwater.runs.stages import prepare_data
from headwater.tokens import build, work
from headwater.train.checkpoint.layout import list_checkpoints
from headwater.train.checkpoint.load import Checkpoint, newest_checkpoint, put_aside_damaged, read_checkpoint
from headwater.train.checkpoint.save import Saved, Saver, retain_newest
from trials import required, trial

NAME, SEQ_LEN = "tiny", 32
SETTINGS = {
    "tokenizer.vocab_size": 384,
    "model.num_layers": 1,
    "model.d_model": 32,
    "model.seq_len": SEQ_LEN,
    "train.num_steps": 12,
    "train.batch_tokens": 128,
    "train.microbatch_tokens": 128,
    "train.save_every": 4,
    "train.validate_every": 6,
    "train.validation_sequences": 2,
    "train.num_probes": 0,
    "corpus.shard_bytes": 30_000,
    "machine.compile": '"off"',
    "machine.dtype": '"float32"',
    "machine.num_threads": 1,
}
NUM_TEXTS = 20
SYLLABLES = ["ri", "ver", "mil", "lo", "sta", "ne", "bri", "dge", "val", "ley", "mu", "tor", "en", "ga", "pol", "is"]


def be_ready() -> None:
    """Do what must be done before the first fork: one thread, so that a child finds no lock held by another, and all
    imports that torch puts off until a run wants the same bits each time.
    """
    torch.use_deterministic_algorithms(True)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    gc.freeze()  # a collection in a child would touch, and so copy, every page that holds an object


def quiet(line: str) -> None:
    pass


# ---- a tiny run


def write_texts(folder: Path) -> None:
    """Write invented prose, no two documents alike, so that no rule of the corpus drops them."""
    folder.mkdir(parents=True)
    for number in range(NUM_TEXTS):
        chance = random.Random(number)
        words = ["".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(360)]
        sentences = [" ".join(words[at : at + 9]).capitalize() + "." for at in range(0, len(words), 9)]
        paragraphs = [" ".join(sentences[at : at + 5]) for at in range(0, len(sentences), 5)]
        (folder / f"{number:02d}.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")


def write_run_file(folder: Path) -> None:
    """Write texts and the run file that every trial's settings are read from."""
    write_texts(folder / "texts")
    lines = [f'name = "{NAME}"', f'corpus.sources.mine.paths = ["{folder / "texts"}"]']
    lines += [f"{name} = {value}" for name, value in SETTINGS.items()]
    (folder / f"{NAME}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """Where a trial happens: the run file, which all share, and the folder that this one's run lies in."""

    run_file: Path
    runs_dir: Path

    @property
    def run_dir(self) -> Path:
        return self.runs_dir / NAME

    def settings(self, **changed: Any) -> tuple[RunConfig, list[Reason]]:
        extra = [f"{name.replace('__', '.')}={value}" for name, value in changed.items()]
        return load_run(str(self.run_file), [f"runs_dir={self.runs_dir}", *extra])

    def config(self, **changed: Any) -> RunConfig:
        return self.settings(**changed)[0]


def prepare(place: Place) -> None:
    prepare_data(place.config(), quiet)


def prepare_in_parts(place: Place) -> None:
    """Build the corpus in several tasks of each stage, one after the other, so that operations have an order."""
    prepare_data(place.config(corpus__task_bytes=8_000, corpus__engine__workers=1), quiet)


@contextmanager
def nothing_timed() -> Iterator[None]:
    """Drop the measurements of the machine, half a second at the start of a run: they decide no bit."""
    with (
        mock.patch.object(machine, "matmul_peaks", lambda device, dtypes: dict.fromkeys(dtypes, 1e11)),
        mock.patch.object(hardware, "float32_rate_per_core", lambda: 1e11),
        mock.patch.object(plan, "load_note", lambda: None),
    ):
        yield


def train(place: Place, **changed: Any) -> None:
    """Train as `headwater train` does, with some settings changed."""
    with nothing_timed():
        call = Call(stop_within=30.0, last="training")
        assert run_stages(*place.settings(**changed), say=quiet, call=call).status == "finished"


def train_in_order(place: Place) -> None:
    """Train so that every save has ended before the next step begins: operations then have an order to enumerate.

    Saves in the background are what `kills.py` kills.
    """
    begin = Saver.begin

    def begin_and_wait(saver: Saver, *arguments: Any) -> Saved | None:
        before = begin(saver, *arguments)
        if saver._running is not None:
            wait([saver._running])
        return before

    with mock.patch.object(Saver, "begin", begin_and_wait):
        train(place)


def export(place: Place) -> None:
    prepare(place)
    export_stage(place.config(), quiet)


def finish(place: Place) -> None:
    """Evaluate and report, as `headwater run` does after training."""
    prepare(place)
    config = place.config()
    evaluate_stage(config, quiet)
    report_stage(config, quiet)


def encode_in_pieces(place: Place) -> None:
    """Build the tokens a shard of the corpus at a time, in stores of several shards."""
    with mock.patch.object(work, "GROUP_BYTES", 3000), mock.patch.object(build, "MAX_SHARD_TOKENS", 8000):
        prepare(place)


# ---- states for saving


def made_up_state(step: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, Any]]:
    """Return (model, optim, state) of a step; every step's values differ."""
    generator = torch.Generator().manual_seed(step)
    model = {name: torch.randn(shape, generator=generator) for name, shape in (("a", (64, 48)), ("b", (48,)))}
    optim = {f"{name}.mean": torch.randn(tensor.shape, generator=generator) for name, tensor in model.items()}
    return model, optim, {"step": step, "rows_consumed": 8 * step, "identity": {"seed": 1}}


def save(place: Place, step: int) -> None:
    saver = Saver(place.run_dir)
    try:
        saver.begin(step, *made_up_state(step))
        saver.finish()
    finally:
        saver.close()


def read_newest(run_dir: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint of which every byte is undamaged, as `newest_checkpoint` takes it."""
    while (found := newest_checkpoint(run_dir, say)) is not None:
        try:
            return read_checkpoint(found.path)
        except CheckpointError as error:
            put_aside_damaged(found.path, str(error), say)
    return None


def save_second(place: Place) -> None:
    remove_leftovers(place.run_dir / "checkpoints")
    read_newest(place.run_dir, quiet)
    save(place, 2)


def save_five(place: Place) -> None:
    for step in range(1, 6):
        save(place, step)


def retain(place: Place) -> None:
    remove_leftovers(place.run_dir / "checkpoints")
    retain_newest(place.run_dir, 2)


def is_made_up_state(place: Place) -> list[str]:
    """Return what is wrong with the newest good checkpoint: it must be, bit by bit, the state of its step."""
    checkpoint = read_newest(place.run_dir, quiet)
    if checkpoint is None:
        return ["no checkpoint is left"]
    model, optim, state = made_up_state(checkpoint.step)
    pairs = [(checkpoint.model, model), (checkpoint.optim, optim)]
    same = all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)
    is_right = same and checkpoint.state == state
    return [] if is_right else [f"the checkpoint of step {checkpoint.step} is half another state"]


def at_least_two(place: Place) -> list[str]:
    left = [step for step, _ in list_checkpoints(place.run_dir)]
    return is_made_up_state(place) + ([] if left[:2] == [5, 4] else [f"the newest two of five are gone: {left}"])


# ---- the targets


@dataclass(frozen=True)
class Target:
    """`before` makes the template of `template`'s, `work` is interrupted and called again, `facts` is what it left.

    `still_there` are paths of the run that were there before the work and must be after any fault; `after_fault` says
    what else is wrong then.
    """

    name: str
    template: str
    before: Callable[[Place], None]
    work: Callable[[Place], None]
    facts: Callable[[Path], Any]
    still_there: tuple[str, ...] = ()
    after_fault: Callable[[Place], list[str]] = lambda place: []


def nothing(place: Place) -> None:
    place.run_dir.mkdir(parents=True)


def other_corpus(place: Place) -> None:
    """Leave the corpus of other settings, which the work then replaces."""
    prepare_data(place.config(corpus__seed=7), quiet)


def without(*names: str) -> Callable[[Place], None]:
    def remove(place: Place) -> None:
        for name in names:
            path = place.run_dir / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def other_export(place: Place) -> None:
    """Leave an export of other weights, as far as its manifest says."""
    path = place.run_dir / "export/hf/manifest.json"
    write_json(path, read_json(path) | {"key": "of other weights"})


def data_of(run_dir: Path) -> Any:
    return whole.tree(run_dir / "data")


def export_of(run_dir: Path) -> Any:
    return whole.tree(run_dir / "export")


def finish_of(run_dir: Path) -> Any:
    stages = read_json(run_dir / "stages.json")
    stages.pop("seconds", None)  # what the clock said, of which no two runs are alike
    return {
        "evaluation": read_json(run_dir / "evaluation.json"),
        "report": (run_dir / "report.html").exists(),
        "keys": stages,
    }


def checkpoints_of(run_dir: Path) -> Any:
    return whole.tree(run_dir / "checkpoints")


TARGETS = [
    Target("save", "empty", lambda place: save(place, 1), save_second, checkpoints_of, (), is_made_up_state),
    Target("retention", "empty", save_five, retain, checkpoints_of, (), at_least_two),
    Target("corpus", "empty", nothing, prepare, data_of),
    Target("corpus in parts", "empty", nothing, prepare_in_parts, data_of),
    Target("corpus, replaced", "empty", other_corpus, prepare, data_of, ("data/corpus/manifest.json",)),
    Target("tokenizer", "prepared", without("data/tokenizer", "data/tokens"), prepare, data_of, ("data/corpus",)),
    Target("tokens", "prepared", without("data/tokens"), prepare, data_of, ("data/corpus", "data/tokenizer")),
    Target(
        "tokens in pieces",
        "prepared",
        without("data/tokens"),
        encode_in_pieces,
        data_of,
        ("data/corpus", "data/tokenizer"),
    ),
    Target("export", "finished", without("export"), export, export_of, ("checkpoints",)),
    Target("export, replaced", "finished", other_export, export, export_of, ("export/hf/config.json",)),
    Target(
        "evaluation and report",
        "finished",
        without("evaluation.json", "report.html", "stages.json"),
        finish,
        finish_of,
        ("checkpoints",),
    ),
    Target("training", "prepared", lambda place: None, train_in_order, whole.trained, ("data/tokens",)),
]


@contextmanager
def templates(chosen: Path | None) -> Iterator[Path]:
    """Get this process ready for trials, and yield a work folder in which the templates lie."""
    be_ready()
    with figures.work_folder(chosen) as work_dir:
        required(trial(lambda: make_templates(work_dir), timeout_seconds=600), "a whole tiny run")
        yield work_dir


def make_templates(work_dir: Path) -> None:
    """Make the run folders that targets begin from: empty, with its data prepared, finished. Call it in a child."""
    write_run_file(work_dir)
    for name in ("prepared", "finished"):
        place = Place(work_dir / f"{NAME}.toml", work_dir / "templates" / name)
        prepare(place)
        if name == "finished":
            train(place)
            finish(place)
            export(place)


def template_of(target: Target, work_dir: Path) -> Path:
    """Return where a target's template lies."""
    return work_dir / "templates" / "".join(letter if letter.isalnum() else "-" for letter in target.name)


def make_template(target: Target, work_dir: Path) -> None:
    """Make the runs folder that a target's trials are copies of. Call it in a child."""
    folder = template_of(target, work_dir)
    source = work_dir / "templates" / target.template
    shutil.copytree(source, folder, symlinks=True) if source.exists() else folder.mkdir(parents=True)
    target.before(Place(work_dir / f"{NAME}.toml", folder))


def fresh_place(target: Target, work_dir: Path, name: str) -> Place:
    """Return a copy of a target's template for one trial."""
    runs_dir = work_dir / "trials" / name
    shutil.copytree(template_of(target, work_dir), runs_dir, symlinks=True)
    return Place(work_dir / f"{NAME}.toml", runs_dir)


def wrong_after_fault(target: Target, place: Place) -> list[str]:
    """Return what is wrong in a run folder after a fault, before anything is done about it."""
    found = whole.problems(place.run_dir)
    found += [f"{path} is gone" for path in target.still_there if not (place.run_dir / path).exists()]
    return found + target.after_fault(place)


def recover(target: Target, place: Place) -> dict[str, Any]:
    """Do the work again, and return what it left and what is wrong with that."""
    target.work(place)
    return {
        "facts": target.facts(place.run_dir),
        "wrong": whole.problems(place.run_dir) + whole.temporary_names(place.run_dir),
    }
