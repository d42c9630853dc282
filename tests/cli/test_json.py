"""What verbs print with --json, and what Python gets."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from golden_rows import rows
from small_run import Said, call, environment

import headwater
from headwater.cli.terminal import print_json
from headwater.cli.training import print_findings
from headwater.core.records import read_records
from headwater.runs.library import machine

RUN = "--run runs/mine"
BUDGET = ("plan", "--budget", "$10k", "--hardware", "8xH100", "--text-bytes", "40G")


@pytest.fixture(scope="module")
def here(finished, tmp_path_factory) -> Path:
    """A copy of the finished run, with a table of forty-two runs beside it."""
    here = tmp_path_factory.mktemp("json") / "here"
    shutil.copytree(finished.cwd, here, symlinks=True)
    flops = [(1e18 * 10 ** (budget / 2), size) for budget in range(6) for size in range(7)]
    sizes = [(0.1 * each**0.5 * 10 ** (-0.5 + size / 6), each) for each, size in flops]
    rows = [f"{n},{each / 6 / n},{1.7 + 400 * n**-0.33 + 900 * (each / 6 / n) ** -0.31}" for n, each in sizes]
    (here / "runs.csv").write_text("\n".join(["params,tokens,loss", *rows]))
    return here


@pytest.fixture(scope="module")
def ask(here):
    """Call a verb with --json and return the object."""
    return lambda *words: one_object(call(*words, "--json", cwd=here))


def one_object(said: Said, status: int = 0) -> dict:
    assert said.status == status, said
    assert said.out.endswith("}\n") and said.out.count("\n") == 1
    value = json.loads(said.out, parse_constant=pytest.fail)  # NaN is no JSON
    assert isinstance(value, dict)
    return value


@pytest.mark.filterwarnings("ignore:this model was never tuned")
@pytest.mark.parametrize(("words", "keys"), rows("json_keys"))
def test_a_verb_prints_one_object_of_these_keys(ask, words, keys):
    assert " ".join(ask(*words.split())) == keys


def without(found: dict, *names: str) -> dict:
    return json.loads(json.dumps({name: value for name, value in found.items() if name not in names}))


TIMED = ("seconds", "hours", "training", "energy_kwh", "kg_co2", "how", "step_seconds", "resume", "notes")
SAME = {
    f"evaluate {RUN}": ((), lambda: headwater.evaluate("runs/mine")),
    f"evaluate {RUN} --text folder/string.py": ((), lambda: headwater.evaluate("runs/mine", text=Path("folder/string.py"))),
    "plan mine.toml optim.beta2=0.9 --max-money 5": (TIMED, lambda: headwater.plan("mine.toml", optim={"beta2": 0.9}, max_money=5)),
    " ".join(BUDGET): (("seconds",), lambda: headwater.plan(budget="$10k", hardware="8xH100", text_bytes="40G")),
    "plan --budget 2h --hardware H100 model.seq_len=512": (
        ("seconds",), lambda: headwater.plan(budget="2h", hardware="H100", model={"seq_len": 512})
    ),
    "ladder --table runs.csv --at 1e9,1e11,2 --budget 1e20": (
        ("seconds",), lambda: headwater.ladder(table="runs.csv", at=[(1e9, 1e11, 2)], budget=1e20)
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", SAME)
def test_python_gets_what_json_has(here, ask, words):
    but, door = SAME[words]
    with contextlib.chdir(here):
        from_python = door()
    printed = ask(*words.split())
    assert list(from_python) == list(printed)
    assert without(from_python, *but) == without(printed, *but)


def test_new_and_export_make_in_python_what_the_verbs_make(here, monkeypatch):
    monkeypatch.chdir(here)
    assert call("new", "typed", "folder", "--minutes", "0.01", cwd=here).status == 0
    path = headwater.new("called", "folder", minutes=0.01, say=lambda line: None)
    called, typed = (tomllib.loads(Path(file).read_text().replace("called", "typed")) for file in (path, "typed.toml"))
    assert called == typed and typed["train"]["num_steps"] == 20
    folder = headwater.export("runs/mine", to="gguf", say=lambda line: None)
    assert f"{folder}/" in call("export", "runs/mine", "--to", "gguf", cwd=here).out
    assert headwater.export("runs/mine") == Path("runs/mine/export/hf")


# ---- what the values are


def test_options_reach_the_model_and_pieces_join_to_the_text(ask):
    assert len(ask(*f"next The --top 384 {RUN}".split())["next"]) == 384
    assert ask(*f"generate The --max-tokens 5 --seed 1 {RUN}".split())["num_tokens"] <= 5
    shown = ask("corpus", "tokenizer", "show", "--text", "The river", *RUN.split())
    assert shown["vocab_size"] == 384 and "".join(piece for _, piece in shown["tokens"]) == "The river"


STEP = "event attempt step tokens_seen loss lr grad_norm tokens_per_second mfu seconds data_wait_fraction"


def test_a_step_record_has_the_promised_keys(finished):
    steps = read_records(finished.run_dir / "records.jsonl", "step")
    assert [record["step"] for record in steps] == list(range(1, 25))
    assert all(set(STEP.split()) <= set(record) and record["attempt"] == 1 for record in steps)
    assert all(record["mfu"] is None or 0 < record["mfu"] <= 1 for record in steps), "None: measured under load"
    # a row is filled with targets but for a little padding at its end
    assert [record["tokens_seen"] for record in steps] == [512 * record["step"] for record in steps]


def test_json_is_whole_where_the_output_is_not_utf8(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="latin-1", write_through=True))
    print_json({"prompt": "naïve 中"})
    assert json.loads(written.getvalue()) == {"prompt": "naïve 中"}


LETTERS = """\
task: letters
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: ["a", " zebra crossing in Quito"]
doc_to_target: 0
metric_list: [{{metric: acc}}]
"""


def test_tasks_of_a_folder_are_scored(finished, tmp_path):
    """The right choice is one token and the other ten: what a model has learned of letters is enough for all items.

    In a process of its own: what keeps lm-eval's libraries offline is read when they are imported.
    """
    pytest.importorskip("lm_eval")
    data = tmp_path / "items.jsonl"
    data.write_text("".join(json.dumps({"text": f"{word} is"}) + "\n" for word in ("What", "It", "There")))
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "letters.yaml").write_text(LETTERS.format(data=data))
    asked = ["headwater", "evaluate", "--run", "runs/mine", "--tasks", str(tasks)]
    program = (
        "import sys; from headwater.cli.main import main\n"
        f"for more in [], ['--limit', '2', '--json']:\n"
        f"    sys.argv = [*{asked!r}, *more]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, end\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=finished.cwd, env=environment(), capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "letters  acc     100.0% (43.9% to 100.0%)      3" in done.stdout
    scores = json.loads(done.stdout.splitlines()[-1])["tasks"]
    assert [(each["task"], each["value"], each["num_items"]) for each in scores] == [("letters", 1.0, 2)]


PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


FINDINGS = {
    "device": "a processor",
    "gpu": None,
    "cores": 2,
    "memory_bytes": 8e9,
    "free_disk_bytes": 1e10,
    "torch": "2",
}
FINDINGS |= {"compiles": True, "dtype": "float32", "dtype_why": "set by machine.dtype", "peak_flops_per_second": 6e10}
FINDINGS |= {"memory_bytes_per_second": 2e10, "extras": {}}


def test_the_format_has_its_reason_and_load_is_named(capsys):
    print_findings(FINDINGS | {"load": "Other processes use 1.8 of the 2 CPUs"})
    said = capsys.readouterr().out
    assert "float32, set by machine.dtype" in said and "60 GFLOP/s in it" in said
    assert "Other processes use 1.8 of the 2 CPUs: peak and bandwidth are too low" in said


def test_every_extra_that_a_user_may_want_is_asked_for_with_all_its_packages(monkeypatch):
    listed = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    packages = {name: {re.split(r"[\[>=]", each)[0] for each in found} for name, found in listed.items()}
    assert set(machine.missing_packages()) == set(packages) - {"bench", "dev"}
    assert not set.union(*map(set, machine.missing_packages().values())) & {"pytest", "transformers"}
    monkeypatch.setattr(machine, "_is_installed", lambda package: False)
    assert {name: set(found) for name, found in machine.missing_packages().items()} == {
        name: packages[name] for name in set(packages) - {"bench", "dev"}
    }
