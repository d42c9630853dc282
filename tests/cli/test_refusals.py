"""What a person gets wrong is named in one message, with the exit status of its class, and nothing is written."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import pytest
from small_run import call, require_clear_error, write_run_file, write_texts

from headwater.cli.main import command_line
from headwater.core.errors import CheckpointError, ConfigError, DataError, EvaluationError, HeadwaterError

LATIN = b"caf\xe9".decode("utf-8", "surrogateescape")

# the words after `headwater`, the class of the error, and what its message has; `mine.toml` is a run file that was never run
SETTINGS = [
    ("run mien", "did you mean mine.toml?"),
    ("run another.toml", "did you mean mine.toml?"),
    ("run first-ligth", "did you mean first-light?"),
    ("run quite-other", "headwater new NAME --text FOLDER"),
    ("run texts", "headwater new NAME --text texts"),
    (f"run {'x' * 5000}", "no recipe"),
    ("explain train.num_steps", "name a run file first"),
    ("explain mine.toml train.batch=5", "did you mean batch_tokens"),
    ("explain mine.toml model.family=lama", "'qwen3', 'llama' or 'gpt2'"),
    ("explain mine.toml train.microbatch_tokens=true", "or auto"),
    ("explain mine.toml train.microbatch_tokens=most", "or auto"),
    ("explain mine.toml train.microbatch_tokens=[64]", "or auto"),
    ("run mine.toml train.num_steps", "has no '='"),
    ("run mine.toml train.batch_tokens=1000", "try 1024"),
    ("run mine.toml train.batch_tokens=32", "try 64"),
    ("run mine.toml train.microbatch_tokens=32", "try 64"),
    ("run mine.toml train.microbatch_tokens=192", "try batch_tokens=384"),
    ("run mine.toml mixture.weights={books=1}", "sources: mine"),
    ("run mine.toml model.vocab_size=1000", "tokenizer.vocab_size=384"),
    ("run mine.toml tokenizer.vocab_size=100", "give 288 or more"),
    ("run mine.toml schedule.warmup_steps=25", "num_steps=24"),
    ("run mine.toml optim.matrix_lr=inf", "finite number"),
    ("run mine.toml model.rope_theta=-1", "give a number above 1"),
    ("run mine.toml machine.device=gpu", "'auto', 'cpu' or 'cuda'"),
    ("run mine.toml train.num_step=1 model.famly=x optim.beta1=2", "3 problems"),
    *((["run", "mine.toml", f"name={name}"], "name") for name in ("'../up'", "''", "'-x'", "a\nb", "a\x1b[31m")),
]
HOSTILE_NAMES = ("../up", "/abs", "..", ".hidden", "", "a b", "a\nb", "a\x1b[31m", "é", "a" * 101, "$HOME")
NEW = [
    *((["new", name, "--text", "texts"], ConfigError, "can't name a run") for name in HOSTILE_NAMES),
    ("new first-light --text texts", ConfigError, "a recipe's name"),
    ("new mine --text texts", ConfigError, "mine.toml exists already"),
    ("new x", ConfigError, "headwater new x --text PATH"),
    ("new x nowhere", DataError, "nowhere"),
    ("new x --text nowhere", DataError, "nowhere"),
    ("new x --text empty", DataError, "empty: no file is there"),
    *((f"new x --text texts --minutes {minutes}", ConfigError, "minutes") for minutes in ("0", "-3", "nan", "inf")),
    (["new", "x", "--text", LATIN], ConfigError, "UTF-8"),
]
RUN_VERBS = ["next The", "generate The", "surprise The", "evaluate", "export", "report", "corpus show", "corpus tokenizer show"]  # fmt: skip
FOLDERS = [
    *((f"{verb} --run nowhere", ConfigError, "nowhere") for verb in RUN_VERBS),
    ("next The --run texts", ConfigError, "texts"),
    ("report --run mine.toml", ConfigError, "mine.toml"),
    ("corpus trace nowhere The", ConfigError, "nowhere"),
    ("report first-light", ConfigError, "`headwater run first-light`"),
    ("train mine.toml --replay", ConfigError, "there is no run folder"),
    *((f"{verb} nope", ConfigError, "there is no folder nope") for verb in ("watch", "serve")),
    *((f"{verb} mine.toml", ConfigError, "mine.toml is a file") for verb in ("watch", "serve")),
    *(([verb, LATIN, "--run", "mine.toml"], ConfigError, "not UTF-8") for verb in ("next", "generate", "surprise")),
    (["corpus", "trace", "mine.toml", LATIN], ConfigError, "not UTF-8"),
    ("plan --budget 2h --runs nowhere.csv --loss-unit nats_per_token", DataError, "nowhere.csv"),
]
PLAN = [
    ("plan", "name a run"),
    ("plan mine.toml --max-hours 0", "--max-hours 0"),
    ("plan mine.toml --max-money -3", "--max-money -3"),
    ("plan mine.toml --target-loss nan", "--target-loss nan"),
    ("plan mine.toml model.layers=3", "layers"),
    ("plan mine.toml --costs none.toml", "none.toml"),
    ("plan mine.toml --text-bytes 4G", "--budget"),
    ("plan mine.toml --hardware 16xH100 --ranks 2x8", "--ranks 2x8"),
    ("plan --budget 2h --max-hours 1", "--max-hours"),
    ("plan --budget 10k", "single quotes"),
    ("plan --budget '$1e30' --hardware 8xH100", "smaller budget"),
    ("plan --budget '11 years' --hardware 8xH100", "neither money"),
    ("plan --budget 96000h --hardware 8xH100", "87,660 h"),
    ("plan --budget 2h --runs nowhere.csv", "nowhere.csv"),
    ("plan --budget 2h --runs runs.csv", "--loss-unit"),
    ("plan --budget 2h --runs of.toml --loss-unit nats_per_token", "remove --loss-unit"),
    ("plan --budget 2h --runs of.toml", "'of.toml'"),
    ("plan count", "a family"),
    ("plan count a b", "one folder"),
    ("plan count nowhere", "nowhere"),
    ("ladder", "name a run"),
    ("ladder mine.toml --table runs.csv", "remove mine.toml"),
    ("ladder --table runs.csv --share 0.4", "--share"),
    ("ladder mine.toml --at 1e9,1e11", "--at"),
    ("ladder mine.toml --budget 1e21", "--budget"),
    ("ladder mine.toml --loss-column other", "--loss-column"),
    ("ladder --table runs.csv --at 1e9", "give params and tokens"),
    ("ladder --table runs.csv --at 1e9,-5", "above zero"),
    ("ladder --table runs.csv --at 1e9,nan", "above zero"),
    ("ladder --table runs.csv --at 1e9,1e11,4,5", "epochs"),
    ("ladder --table runs.csv --budget -1", "FLOPs"),
]
COSTS = {"pu = 1.1": "pue", "watts = 0": "watts = 0", "pue = 0.9": "pue = 0.9", "watts = ": "TOML", 'hardware = "a.csv"': "--hardware"}  # fmt: skip
OF_A_RUN = [
    ("run mien.toml", ConfigError, "did you mean mine.toml?"),
    ("report runs/mien", ConfigError, "did you mean runs/mine?"),
    ("corpus show mien.toml", ConfigError, "did you mean mine.toml?"),
    ("evaluate runs/mine --tasks a --text b", ConfigError, "--write-tasks"),
    ("evaluate runs/mine --limit 3", ConfigError, "--limit is of --tasks"),
    ("evaluate runs/mine --chat no", ConfigError, "--chat is of --tasks"),
    ("evaluate runs/mine --text nothing.txt", DataError, "nothing.txt"),
    ("surprise '' --run runs/mine", EvaluationError, "empty"),
    ("generate The --run runs/mine --temperature -1", EvaluationError, "-1"),
    ("generate The --run runs/mine --temperature nan", EvaluationError, "nan"),
    ("generate The --run runs/mine --top-p 0", EvaluationError, "0"),
    ("export runs/mine gguf", ConfigError, "--to gguf"),
    ("export runs/mine --type f16", ConfigError, "--to gguf"),
    ("corpus where runs/mine", ConfigError, "--step"),
    ("report runs/mine --run runs/mine", ConfigError, "two were named"),
    ("explain runs/mine --schema", ConfigError, "--schema"),
    ("chat --run runs/mine --json", ConfigError, "--prompt"),
    ("corpus fetch runs/mine --archives nowhere", ConfigError, "nowhere"),
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """A folder with texts and a run file, in which nothing has been run."""
    folder = tmp_path_factory.mktemp("fresh") / "here"
    write_texts(folder / "texts")
    write_texts(folder / LATIN, num_files=2)
    (folder / "empty").mkdir()
    write_run_file(folder / "mine.toml")
    (folder / "runs.csv").write_text("params,tokens,loss\n")
    return folder


def refusal(folder: Path, words: str | list[str]) -> HeadwaterError:
    """Return the error that ends a verb."""
    arguments = shlex.split(words) if isinstance(words, str) else words
    with contextlib.chdir(folder), pytest.raises(HeadwaterError) as found:
        command_line(arguments[0])(arguments, prog_name="headwater", standalone_mode=False)
    return found.value


def contents(folder: Path) -> list[Path]:
    return sorted(path for path in folder.parent.rglob("*") if "lock" not in path.name)


ON_FRESH = [*((words, ConfigError, part) for words, part in SETTINGS + PLAN), *NEW, *FOLDERS]


@pytest.mark.parametrize(
    ("words", "kind", "part"), ON_FRESH, ids=lambda value: str(value)[:60].encode("ascii", "replace").decode()
)
def test_what_is_wrong_is_named_before_anything_is_written(fresh, words, kind, part):
    before = contents(fresh)
    error = refusal(fresh, words)
    assert type(error) is kind and part in str(error), error
    assert contents(fresh) == before


@pytest.mark.parametrize(("words", "kind", "part"), OF_A_RUN)
def test_what_is_wrong_about_a_run_is_named(finished, words, kind, part):
    error = refusal(finished.cwd, words)
    assert type(error) is kind and part in str(error), error


@pytest.mark.parametrize("text", COSTS)
def test_a_costs_file_that_cannot_be_says_why(fresh, tmp_path, text):
    (tmp_path / "costs.toml").write_text(text)
    for words in ("mine.toml", "--budget 2h"):
        error = refusal(fresh, f"plan {words} --costs {tmp_path / 'costs.toml'}")
        assert isinstance(error, ConfigError) and COSTS[text] in str(error), error


def test_a_model_too_large_for_the_memory_is_refused_before_any_work(fresh):
    assert "GB of memory" in str(refusal(fresh, "run mine.toml model.d_model=10000000"))
    assert not (fresh / "runs/mine/data").exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [("run mien", 2), ("new x nowhere", 1), ("plan --budget 10k", 2), (["new", "a\x1b[31m", "--text", "texts"], 2)],
)
def test_an_error_is_one_message_on_standard_error_and_its_classes_exit_status(fresh, words, status):
    said = call(*(shlex.split(words) if isinstance(words, str) else words), cwd=fresh)
    require_clear_error(said, status=(status,))
    assert said.out == "" and "\x1b" not in said.err


@pytest.mark.parametrize("verb", ["next The", "generate The", "surprise The", "evaluate", "export"])
def test_a_run_without_a_checkpoint_is_named_with_what_makes_one(tmp_path, verb):
    write_texts(tmp_path / "texts", 6)
    write_run_file(tmp_path / "mine.toml")
    assert call("corpus", "tokenizer", "train", "mine.toml", cwd=tmp_path).status == 0
    error = refusal(tmp_path, f"{verb} --run runs/mine")
    assert isinstance(error, CheckpointError) and "headwater train" in str(error), error


def test_the_largest_budget_that_is_named_is_accepted(tmp_path):
    most = str(refusal(tmp_path, "plan --budget '$1e30' --hardware 8xH100")).rpartition("at most ")[2].strip()
    most = most.replace(",", "").replace(" ", "")
    assert call("plan", "--budget", most, "--hardware", "8xH100", cwd=tmp_path).status == 0


def test_the_call_that_a_refusal_advises_is_one(fresh):
    advised = str(refusal(fresh, "plan mine.toml --text-bytes 4G")).rpartition("such as: headwater ")[2]
    assert call(*shlex.split(advised), cwd=fresh).status == 0
