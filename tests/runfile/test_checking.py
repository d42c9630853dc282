"""Problems of settings: causes are said, what follows from them isn't."""

from __future__ import annotations

import pytest

from headwater.core.errors import ConfigError
from headwater.runfile.checking import require_sound
from headwater.runfile.given import Given, leaves
from headwater.runfile.run_config import RunConfig, load_run

RUN = """
[corpus.sources.mine]
kind = "text"
paths = ["texts"]
[tokenizer]
vocab_size = 512
[model]
num_layers = 2
seq_len = 128
[train]
num_steps = 60
"""


def load_problems(tmp_path, text: str, *overrides: str) -> list[str]:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_run(str(tmp_path / "mine.toml"), list(overrides))
    return [line.strip() for line in str(caught.value).splitlines()[1:] if "set in" not in line]


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ("num_stpes", "num_steps", "train.num_stpes = 60: unknown setting; did you mean num_steps or num_probes?"),
        ("[trian]", "[train]", "trian: unknown setting; did you mean train?"),
        ("[modle]", "[model]", "modle: unknown setting; did you mean model?"),
    ],
)
def test_one_typo_in_a_run_file_is_one_problem(tmp_path, wrong, right, says):
    assert load_problems(tmp_path, RUN.replace(right, wrong)) == [says]


def test_a_number_in_quotes_is_refused_before_a_rule_multiplies_it(tmp_path):
    text = RUN.replace("num_layers = 2", 'num_layers = "2"')
    assert load_problems(tmp_path, text) == ["model.num_layers = '2': a number is wanted, without quotes"]


def test_what_is_missing_is_one_line_without_what_rules_make(tmp_path):
    (said,) = load_problems(tmp_path, "seed = 1\n")
    needed = "corpus.sources, tokenizer, model.num_layers, model.seq_len, train.num_steps"
    assert said == f"{needed}: are needed and nothing sets them"


@pytest.mark.parametrize("value", [-1e300, 0, 1.5, True, "words", [1], [[]], {"a": []}], ids=repr)
def test_what_is_wrong_with_any_setting_is_said_in_our_words(value):
    """No sentence of pydantic's: each says what to give."""
    for setting in leaves(load_run("first-light")[0].model_dump(mode="json")):
        try:
            require_sound(RunConfig, Given().with_value(setting, value, "here"), ())
        except ConfigError as error:
            assert "Input should" not in str(error), error
