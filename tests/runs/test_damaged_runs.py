"""Text that can't be trained on, settings and text that have changed since, and damage: named, and nothing is lost."""

from __future__ import annotations

import html
import random
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_run import call, prose, require_clear_error, write_run_file, write_texts
from starlette.applications import Starlette
from starlette.testclient import TestClient

from headwater.page.serve.live import LivePage
from headwater.runs.summary import RunsFolder
from headwater.train.checkpoint.layout import list_checkpoints


@pytest.fixture
def folder(tmp_path):
    """A folder with texts and a run file, in which nothing has been run."""
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml")
    return tmp_path


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    write_texts(folder / "texts")
    write_run_file(folder / "mine.toml", train__num_steps=12, train__save_every=4, train__num_probes=0)
    said = call("run", "mine.toml", cwd=folder)
    assert said.status == 0, said
    return folder


@pytest.fixture
def trained(trained_once, tmp_path):
    """A folder with a finished run of 12 steps and its last two checkpoints, for one test to damage."""
    return Path(shutil.copytree(trained_once, tmp_path / "copy"))


# ---- the text


@pytest.mark.parametrize(
    ("content", "setting", "parts"),
    [
        (b"", "seed=1", ["the corpus is empty", "texts", "no file was found"]),
        (None, "seed=1", ["no such file or folder: 'texts'", "{folder}"]),
        (("é" * 3000).encode("latin-1"), "seed=1", ["the corpus is empty", "not_utf8 1"]),
        (b"A text.", "runs_dir=file/runs", ["can't write file/runs/mine", "is a file"]),
    ],
    ids=["empty", "missing", "another encoding", "an output folder below a file"],
)
def test_a_folder_without_text_is_named_with_what_was_found(folder, content, setting, parts):
    shutil.rmtree(folder / "texts")
    (folder / "file").write_text("x")
    if content is not None:
        (folder / "texts").mkdir()
    if content:
        (folder / "texts/a.txt").write_bytes(content)
    said = call("run", "mine.toml", setting, cwd=folder)
    require_clear_error(said, *(part.format(folder=folder) for part in parts), status=(1,))


# ---- a run's folder


OF_MODELS = ["next The --run RUN", "surprise The --run RUN", "chat --prompt Hi --run RUN", "evaluate RUN"]
OF_MODELS += ["export RUN", "serve --run RUN", "new x --base RUN --text texts", "downstream sft RUN --talks texts"]
OF_RUNS = [*OF_MODELS, "report RUN", "corpus show RUN", "corpus mixture RUN", "explain RUN", "plan RUN", "run RUN"]
OF_RUNS += ["train RUN", "ladder RUN", "launch slurm RUN"]


def refused(trained: Path, verb: str) -> str:
    """Return the error of a verb, the run's folder in it as it was named."""
    said = call(*verb.replace("RUN", "runs/mine").split(), cwd=trained)
    require_clear_error(said)
    return said.err.replace(f"{trained}/", "").strip().splitlines()[-1]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\x00", b'{"settings": 1}'])
def test_a_damaged_config_is_named_in_the_same_words_by_every_verb_and_run_writes_it_again(trained, content):
    path = trained / "runs/mine/config.json"
    before = path.read_bytes()
    path.write_bytes(content)
    said = {refused(trained, verb) for verb in OF_RUNS}
    assert said == {"headwater: runs/mine/config.json is damaged: `headwater run mine.toml` writes it again"}
    assert call("run", "mine.toml", cwd=trained).status == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/*"])
def test_a_run_without_a_checkpoint_is_named_in_the_same_words_by_every_verb_that_needs_a_model(trained, gone):
    for path in (trained / "runs/mine").glob(gone):
        shutil.rmtree(path)
    (words,) = {refused(trained, verb) for verb in OF_MODELS}
    assert words.startswith("headwater: runs/mine has no checkpoint yet; `headwater run`")


RECORDS: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {  # what is left of them, and what is said of it
    "missing": (lambda data: None, "records.jsonl is missing"),
    "empty": (lambda data: b"", "records.jsonl holds 0 of the 12 steps"),
    "binary": (lambda data: random.Random(1).randbytes(len(data)), "records.jsonl holds 0 of the 12 steps"),
    "cut": (lambda data: data[: data.index(b'"event":"step"', len(data) // 2)], " of the 12 steps that are trained"),
}


@pytest.mark.parametrize(("damage", "words"), RECORDS.values(), ids=RECORDS)
def test_lost_records_of_a_finished_run_are_named_with_what_to_do(trained, damage, words):
    path = trained / "runs/mine/records.jsonl"
    if (left := damage(path.read_bytes())) is None:
        path.unlink()
    else:
        path.write_bytes(left)
    told = {words, "put back a copy of it", "`headwater run mine.toml`"}
    for verb in ("report runs/mine", "watch runs/mine", "evaluate runs/mine"):
        said = call(*verb.split(), cwd=trained)
        assert said.status == 0 and all(part in said.out + said.err for part in told), said
    report = (trained / "runs/mine/report.html").read_text(encoding="utf-8")
    assert all(part in html.unescape(report) for part in told)
    (listed,) = call("watch", "runs/mine", "--json", cwd=trained).json["runs"]
    assert listed["state"] == "damaged" and words in listed["damage"]
    answer = TestClient(Starlette(routes=LivePage(RunsFolder(trained / "runs")).routes())).get("/api/runs").json()
    assert words in answer["runs"][0]["damage"]
    assert call("run", "mine.toml", cwd=trained).status == 0


# ---- a trained run and other settings


@pytest.mark.parametrize(
    ("verb", "change"),
    [
        (["run"], "model.num_layers=3"),
        (["run"], "train.num_steps=11"),
        (["train"], "optim.matrix_lr=0.5"),
        (["corpus", "build"], "seed=2"),
        (["corpus", "tokenizer", "train"], "mixture.max_epochs=9.0"),
        *(
            (["run"], change)
            for change in ("tokenizer.vocab_size=320", "corpus.seed=3", "corpus.validation_fraction=0.1")
        ),
    ],
)
def test_settings_other_than_the_checkpoints_are_refused_and_nothing_changes(trained, verb, change):
    before = contents(trained / "runs/mine")
    said = call(*verb, "mine.toml", change, cwd=trained)
    name, value = change.split("=")
    parts = () if name.startswith(("corpus.", "tokenizer.")) else (f"{name}: was", f"is {value}", "put the old value")
    require_clear_error(said, "put", "another name", *parts, status=(1,))
    assert contents(trained / "runs/mine") == before
    if name == "model.num_layers":  # and the other name that is advised trains afresh
        assert call(*verb, "mine.toml", change, "name=other", cwd=trained).status == 0
        assert (trained / "runs/other/report.html").exists()


@pytest.mark.parametrize("file", ["00.txt", "more to read.txt"])
def test_text_that_changed_after_training_is_refused_with_the_command_that_trains_on_it(trained, file):
    before, path = contents(trained / "runs/mine"), trained / "texts" / file
    text = path.read_bytes() if path.exists() else None
    path.write_text(prose("other"))
    said = call("run", "mine.toml", cwd=trained)
    require_clear_error(said, f"its text (mine (texts/{file})) changed since", "name=", status=(1,))
    assert contents(trained / "runs/mine") == before
    words = shlex.split(re.search("headwater (new NAME .*?); or put back", said.err)[1].replace("NAME", "more"))
    assert call(*words, "--minutes", "0.01", cwd=trained).status == 0
    assert 'from = "runs/mine"' in (trained / "more.toml").read_text()
    path.unlink() if text is None else path.write_bytes(text)
    assert call("run", "mine.toml", cwd=trained).status == 0


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "epoch"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# ---- damage


def test_when_every_checkpoint_is_damaged_nothing_starts_from_scratch(trained):
    for _, path in list_checkpoints(trained / "runs/mine"):
        flip_a_byte(path / "optim.safetensors")
    said = call("run", "mine.toml", cwd=trained)
    require_clear_error(said, "every checkpoint of runs/mine is damaged", status=(1,))
    assert len(list((trained / "runs/mine/checkpoints").glob("damaged-*"))) == 3
    # and the next call doesn't either
    require_clear_error(call("run", "mine.toml", cwd=trained), "damaged", status=(1,))


def flip_a_byte(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
