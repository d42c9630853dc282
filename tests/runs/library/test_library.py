"""What `import headwater` gives a notebook: a run, its model, its corpus, its records."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_run import call

import headwater
import headwater.core.errors
from headwater.core.errors import CheckpointError, ConfigError, DataError, EvaluationError
from headwater.page import run as library_run
from headwater.page.serve import serving

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def run_dir(finished):
    return finished.run_dir


@pytest.fixture(scope="module")
def model(run_dir):
    return headwater.Model.load(run_dir)


def loaded_after(program: str) -> set[str]:
    code = f"import sys, headwater\n{program}\nprint(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.split(".")[0] for name in said.split()}


def test_an_import_loads_nothing_that_takes_time():
    loaded = loaded_after("")
    assert not loaded & {"torch", "numpy", "scipy", "pyarrow", "pydantic", "tokenizers", "typer", "plotly"}


def test_records_and_text_are_read_without_torch(run_dir):
    loaded = loaded_after(
        f"headwater.Records({str(run_dir)!r}).rows(); next(headwater.Corpus({str(run_dir)!r}).documents())"
    )
    assert "pydantic" in loaded and "torch" not in loaded


def test_what_the_package_lists_is_there_and_nothing_else():
    assert set(dir(headwater)) == {*headwater.__all__, "__version__"}
    assert headwater.__version__ == importlib.metadata.version("headwater")
    for name in headwater.__all__:
        assert inspect.unwrap(getattr(headwater, name)).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        headwater.Modell  # noqa: B018
    assert (ROOT / "src/headwater/py.typed").exists(), "else no checker reads the types"


@pytest.mark.parametrize("room", ["evaluate", "export", "plan"])
def test_a_room_with_the_name_of_a_verb_is_called_and_stays_a_package(room):
    module = importlib.import_module(f"headwater.{room}")
    assert getattr(headwater, room) is module and callable(module) and module.__path__
    assert inspect.signature(module) == inspect.signature(inspect.unwrap(module))
    with pytest.raises(ConfigError, match="nowhere"):
        module("nowhere")


def test_the_notebook_runs(finished, monkeypatch):
    cells = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    monkeypatch.chdir(finished.cwd)
    names: dict = {}
    for cell in code:
        exec(cell.replace('RUN = "first-light"', 'RUN = "runs/mine"'), names)
    assert names["result"].status == "finished"
    assert names["frame"].step.tolist() == list(range(1, names["model"].step + 1))
    assert len(names["figure"].data) == 1
    assert {count.decision for count in names["corpus"].counts()} > {"kept"}


def test_settings_are_given_as_the_tables_of_a_run_file(finished, monkeypatch):
    monkeypatch.setattr(
        library_run.running, "run", lambda config, reasons, say, call: SimpleNamespace(config=config, reasons=reasons)
    )
    with contextlib.chdir(finished.cwd):
        train = {"num_steps": 3, "prompts": ['a "quoted" one, é']}
        found = headwater.run("mine.toml", name="other", train=train, mixture={"weights": {"mine": 2.0}}, init=None)
        dotted = headwater.run("mine.toml", **{"train.num_steps": 3})
        with pytest.raises(ConfigError, match="num_stepz"):
            headwater.run("mine.toml", train={"num_stepz": 3})
    assert (found.config.name, found.config.train.num_steps, found.config.init) == ("other", 3, None)
    assert found.config.train.prompts == ('a "quoted" one, é',) or found.config.train.prompts == train["prompts"]
    assert found.config.mixture.weights == {"mine": 2.0}
    assert dotted.config.train.num_steps == 3


def test_every_kept_step_can_be_loaded_and_another_is_named(run_dir, model):
    steps = headwater.Model.steps(run_dir)
    assert len(steps) > 1 and steps == sorted(steps) and model.step == steps[-1]
    first = headwater.Model.load(run_dir, steps[0])
    assert first.step == steps[0]
    assert first.next("The river", 1)[0].probability != model.next("The river", 1)[0].probability
    with pytest.raises(CheckpointError, match=rf"no checkpoint of step 7777; it has steps {steps[0]}, "):
        headwater.Model.load(run_dir, 7777)


@pytest.mark.parametrize("roles", [[], ["user", "assistant"], ["user", "tool", "user"]])
def test_no_answer_is_given_where_none_is_due(model, roles):
    with pytest.raises(EvaluationError, match="no answer is due"):
        model.chat([{"role": role, "content": "Hello"} for role in roles])


NOT_TUNED = pytest.mark.filterwarnings("ignore:this model was never tuned")


def test_a_model_that_was_never_tuned_says_so(model):
    with pytest.warns(UserWarning, match="never tuned on conversations"):
        model.chat("Hello", 4)


@NOT_TUNED
def test_messages_are_mappings_or_messages_and_the_oldest_are_forgotten(model):
    def said(content: str, role: str = "user") -> dict[str, str]:
        return {"role": role, "content": content}

    assert not model.is_tuned
    last = said("And the sea?")
    expected = model.chat([said("Be brief.", "system"), last], 4)
    old = [said("word " * 3 * model.seq_len), said("No.", "assistant")]
    assert model.chat([said("Be brief.", "system"), *old, last], 4) == expected


def test_frames_have_what_counts_of_the_records(tmp_path):
    pytest.importorskip("pandas")
    lines = [{"event": "start", "attempt": 1, "step": 0}]
    lines += [{"event": "step", "attempt": 1, "step": step, "loss": 9.0 - step} for step in range(1, 6)]
    lines += [{"event": "resume", "attempt": 2, "step": 3}]
    lines += [{"event": "step", "attempt": 2, "step": step, "loss": 5.0} for step in (4, 5)]
    lines += [{"event": "validation", "attempt": 2, "step": 5, "loss": {"all": 3.0, "mine": {"x": 1}}, "to": [1, 2]}]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = headwater.Records(tmp_path)
    assert records.frame()[["step", "loss"]].values.tolist() == [[1, 8.0], [2, 7.0], [3, 6.0], [4, 5.0], [5, 5.0]]
    (validation,) = records.frame("validation").to_dict("records")
    assert (validation["loss.all"], validation["loss.mine.x"], validation["to"]) == (3.0, 1, [1, 2])
    with pytest.raises(DataError, match="no record of 'samples'; it has resume, start, step, validation"):
        records.frame("samples")


def test_a_corpus_is_opened_by_its_run_or_its_folder_and_its_counts_add_up(finished, run_dir):
    corpus = headwater.Corpus(run_dir)
    assert corpus.sources == ["mine"] and headwater.Corpus(run_dir / "data/corpus").sources == ["mine"]
    sheet = call("corpus", "show", "runs/mine", "--json", cwd=finished.cwd).json["sources"]["mine"]
    assert sum(count.documents for count in corpus.counts()) == sheet["read"]["documents"]
    assert sum(count.bytes for count in corpus.counts()) == sheet["read"]["bytes"]
    documents = [each for split in ("train", "validation") for each in corpus.documents(split=split)]
    assert len(documents) == next(count.documents for count in corpus.counts() if count.decision == "kept")
    assert documents[0].id in {hit.id for hit in corpus.trace(documents[0].text[:60])}
    if importlib.util.find_spec("pandas"):
        assert corpus.frame().documents.sum() == sheet["read"]["documents"]


def test_a_corpus_of_a_stranger_is_read_in_its_folder_alone(run_dir, tmp_path):
    shutil.copytree(run_dir / "data/corpus", tmp_path / "corpus")
    manifest = json.loads((tmp_path / "corpus/manifest.json").read_text())
    manifest["sources"]["../../elsewhere"] = manifest["sources"]["mine"]
    (tmp_path / "corpus/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="isn't a folder in it"):
        headwater.Corpus(tmp_path / "corpus")


WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2), st.floats(), st.text(max_size=3), st.binary(max_size=3), st.complex_numbers(),
    st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.builds(object),
)  # fmt: skip
SIZES = {"params": [1e6, 2e6, 4e6, 8e6, 1.6e7, 3e7] * 2, "tokens": [2e7] * 6 + [8e7] * 6}
WRITING = {"max_tokens": 1, "temperature": 0.5, "top_p": 0.5, "seed": 1}
RIGHT: dict[str, dict[str, object]] = {
    "Model.load": {"run": "runs/mine", "step": None},
    "Model.steps": {"run": "runs/mine"},
    "Model.next": {"text": "a", "k": 2, "temperature": 1.0},
    "Model.generate": {"text": "a", **WRITING},
    "Model.stream": {"text": "a", **WRITING},
    "Model.surprise": {"text": "a"},
    "Model.chat": {"messages": "a", **WRITING},
    "Model.chat_stream": {"messages": "a", **WRITING},
    "Corpus": {"run_or_folder": "runs/mine"},
    "Corpus.documents": {"source": "mine", "split": "train"},
    "Corpus.counts": {},
    "Corpus.frame": {"library": "pandas"},
    "Corpus.tune": {"limits": ["corpus.rules.text.min_words=80"], "column": "words", "count": 1},
    "Corpus.trace": {"text": "river", "ignore_case": False},
    "Records": {"run": "runs/mine"},
    "Records.rows": {"event": "step"},
    "Records.frame": {"event": "step", "library": None},
    "ScalingLaw.fit": SIZES | {"loss": [3.0 - number / 10 for number in range(12)], "unique_tokens": None},
    "ScalingLaw.predict": {"params": 1e7, "tokens": 1e8, "level": 0.8, "unique_tokens": 1e9},
    "ScalingLaw.warnings": {"params": 1e7, "tokens": 1e8},
    "ScalingLaw.optimum": {"flops": 1e15},
    "run": {"name": "mine.toml", "say": print, "seed": 1},
    "new": {"name": "mine", "text": "folder", "base": None, "minutes": 1.0, "say": print},
    "plan": {"run": "mine.toml", "budget": "", "hardware": "", "ranks": 2, "text_bytes": "", "costs": None, "runs": None,
             "loss_unit": None, "max_hours": 1, "max_money": 1.0, "target_loss": 2.0, "overrides": [], "seed": 1},
    "ladder": {"run": "mine.toml", "share": 9.0, "table": None, "at": [(1e9, 1e10)], "loss_column": "loss", "budget": None,
               "say": print, "make_display": None, "overrides": [], "seed": 1},
    "evaluate": {"run": "runs/mine", "tasks": None, "text": None, "write_tasks": None, "limit": None, "chat": None, "say": print},
    "export": {"run": "runs/mine", "to": "hf", "type": None, "say": print},
    "tune": {"base": "runs/mine", "data": ["talks.jsonl"], "name": None, "replay": 0.5, "say": print, "seed": 1},
    "serve": {"folder": "runs", "run": None, "host": "127.0.0.1", "port": 0, "token": None},
}  # fmt: skip
VERBS = {"run", "new", "plan", "ladder", "evaluate", "export", "tune", "serve"}
INNER = {"ScalingLaw": {"widening_by", "estimate", "log_loss", "without_each"}}


def test_the_table_has_every_function_that_people_call():
    public = set(VERBS)
    for name in set(headwater.__all__) - VERBS:
        kind = getattr(headwater, name)
        methods = {each for each, value in vars(kind).items() if not each.startswith("_") and callable(getattr(kind, each))
                   and not isinstance(value, property)}  # fmt: skip
        public |= {f"{name}.{each}" for each in methods - INNER.get(name, set())}
    assert public | {"Corpus", "Records"} == set(RIGHT)


@pytest.fixture(scope="module")
def law():
    return headwater.ScalingLaw.fit(**RIGHT["ScalingLaw.fit"])


def refuse(*_: object) -> None:
    raise DataError("nothing is done here")


@pytest.mark.parametrize("name", RIGHT)
@NOT_TUNED
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_wrong_argument_is_named_in_words(finished, model, law, name, data):
    right = dict(RIGHT[name])
    if right:
        right[data.draw(st.sampled_from(sorted(right)))] = data.draw(WRONG)
    owner, _, method = name.partition(".")
    with contextlib.chdir(finished.cwd), pytest.MonkeyPatch.context() as patch:
        patch.setattr(library_run.running, "run", lambda config, reasons, say, call: say("so"))
        patch.setattr(serving, "make_server", lambda app: SimpleNamespace(run=lambda sockets: None))
        for place in (
            "new.find_text",
            "evaluating.evaluate_tasks",
            "evaluating.evaluate_text",
            "evaluating.write_tasks",
        ):
            patch.setattr(f"headwater.runs.library.{place}", refuse)
        made = {"Model": lambda: model, "Corpus": lambda: headwater.Corpus("runs/mine"), "Records": lambda: headwater.Records("runs/mine"),
                "ScalingLaw": lambda: law}  # fmt: skip
        is_made = name in ("Model.load", "Model.steps", "ScalingLaw.fit") or not method
        function = (
            getattr(getattr(headwater, owner) if is_made else made[owner](), method)
            if method
            else getattr(headwater, owner)
        )
        with contextlib.suppress(headwater.core.errors.HeadwaterError):
            parameters = inspect.signature(function).parameters
            first = [right.pop(each) for each, one in parameters.items() if one.kind is one.POSITIONAL_ONLY]
            found = function(*first, **right)
            if name in ("Corpus.trace", "Corpus.documents", "Model.stream", "Model.chat_stream"):
                next(found, None)
            if name == "serve":
                found.close()


@pytest.mark.parametrize(
    ("call_it", "words"),
    [
        (lambda model: headwater.run("mine.toml", "train.num_steps=10"), "run: say='train.num_steps=10': give a function"),
        (lambda model: headwater.run("mine.toml", say=print, more=1, **{"train.x": 1}), "x"),
        (lambda model: model.generate("x", max_tokens="3"), "generate: max_tokens='3': give a whole number of 1 or more"),
        (lambda model: model.next("x", -1), "next: k=-1: give a whole number of 1 or more"),
        (lambda model: model.next("x", True), "next: k=True: give a whole number of 1 or more"),
        (lambda model: model.generate("x", temperature="warm"), "temperature='warm': give a number"),
        (lambda model: model.generate("x", max_token=3), "unexpected keyword argument 'max_token'"),
        (lambda model: model.chat([{"role": "user"}]), "give a text, or a list of"),
        (lambda model: headwater.Corpus(model.folder).documents(split="dropped"), "give 'train' or 'validation'"),
        (lambda model: headwater.Records(model.folder).frame(library="numpy"), "give 'pandas' or 'polars'"),
        (lambda model: headwater.Model.load(7), "load: run=7: give the name of a run"),
    ],
)  # fmt: skip
def test_what_was_wrong_is_said(finished, model, call_it, words):
    with contextlib.chdir(finished.cwd), pytest.raises(ConfigError, match=re.escape(words)):
        call_it(model)


def test_numbers_of_other_libraries_are_numbers(model):
    assert model.next("a", np.int64(2), np.float32(1)) == model.next("a", 2, 1.0)
