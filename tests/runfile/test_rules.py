"""Settings that nobody gave come from rules: complete, valid together, and each with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headwater.core.config import Settings
from headwater.model.optim.schedule import ScheduleSettings
from headwater.model.optim.settings import OptimSettings
from headwater.model.settings import ModelSettings
from headwater.runfile.given import Given
from headwater.runfile.rules import MEASURED, RULES, by_rules
from headwater.train.settings import TrainSettings

TABLES: dict[str, type[Settings]] = {
    "model": ModelSettings,
    "optim": OptimSettings,
    "schedule": ScheduleSettings,
    "train": TrainSettings,
}
LINES = (Path(__file__).parents[1] / "golden" / "rules.jsonl").read_text(encoding="utf-8").splitlines()
GOLDEN = [json.loads(line) | {"id": str(number)} for number, line in enumerate(LINES, 1)]
GIVEN = {"model": {"num_layers": 6, "vocab_size": 1000, "seq_len": 128}, "train": {"num_steps": 300}}


def ruled(**tables) -> tuple[Given, dict[str, str]]:
    """Return settings with what rules make of them, and why."""
    decided = by_rules(raw := Given(GIVEN | tables))
    return raw.with_decided(decided), {name: why for name, (_, why) in decided.items()}


def test_every_rule_is_for_a_setting_that_exists():
    for name in RULES:
        table, _, setting = name.partition(".")
        assert setting in TABLES[table].model_fields, name


@st.composite
def parts_of_a_file(draw: st.DrawFn) -> dict[str, dict[str, object]]:
    """Draw what a person may set of a model and its portions; each alone is sound, and heads divide the width."""
    family, groups = draw(st.sampled_from(["qwen3", "llama", "gpt2"])), draw(st.integers(1, 4))
    heads = draw(st.integers(1, 12)) * groups
    model = {"num_layers": draw(st.integers(1, 48)), "seq_len": draw(st.integers(1, 2048)), "vocab_size": 1000}
    model |= {"family": family, "d_model": 2 * heads * draw(st.integers(1, 80))}
    if family != "gpt2" and draw(st.booleans()):
        model |= {"num_kv_heads": groups}
    if draw(st.booleans()):
        model |= {"num_heads": heads}
    train = {"num_steps": draw(st.integers(1, 100_000))}
    part = draw(st.integers(1, 9)) * model["seq_len"]
    if draw(st.booleans()):
        train |= {"microbatch_tokens": part}
    if draw(st.booleans()):
        train |= {"batch_tokens": draw(st.integers(1, 9)) * part}
    return {"model": model, "train": train}


@given(parts_of_a_file())
@example({"model": GIVEN["model"] | {"family": "gpt2", "d_model": 72, "num_heads": 3}, "train": {"num_steps": 300}})
@example({"model": GIVEN["model"] | {"family": "gpt2", "d_model": 518}, "train": {"num_steps": 300}})
@example({"model": GIVEN["model"] | {"d_model": 96, "num_kv_heads": 2}, "train": {"num_steps": 300}})
@example({"model": GIVEN["model"], "train": {"num_steps": 300, "microbatch_tokens": 3 * 128}})
def test_whatever_is_set_rules_make_a_run_of_it(given):
    raw, _ = ruled(**given)
    model, train = ModelSettings.model_validate(raw.get("model")), TrainSettings.model_validate(raw.get("train"))
    assert model.head_dim % 2 == 0
    assert model.head_dim <= 128 or "num_heads" in given["model"]
    if "num_heads" in given["model"]:
        assert model.num_heads * model.head_dim == model.d_model
    assert train.microbatch_tokens % model.seq_len == 0 == train.batch_tokens % model.seq_len
    assert ScheduleSettings.model_validate(raw.get("schedule")).warmup_steps <= train.num_steps


def test_what_was_measured_is_said_of_rules_alone():
    assert set(MEASURED) <= set(RULES)


@given(st.integers(1, 100_000), st.integers(1, 2048))
def test_the_batch_follows_the_law_for_every_length_of_run(num_steps, seq_len):
    raw, _ = ruled(model=GIVEN["model"] | {"seq_len": seq_len}, train={"num_steps": num_steps})
    train = TrainSettings.model_validate(raw.get("train"))
    by_law = 0.4 * 2**19 * (num_steps * train.batch_tokens / 1e10) ** 0.383
    is_least = train.batch_tokens == 8 * seq_len
    assert by_law / 1.5 < train.batch_tokens < by_law * 1.5 or (is_least and by_law < train.batch_tokens)


def test_the_default_of_a_pipeline_may_be_written():
    written, silent = (ruled(**tables)[0] for tables in ({"parallel": {"pipeline": "auto"}}, {}))
    assert written.get("train.microbatch_tokens") == silent.get("train.microbatch_tokens") != "auto"
    assert ruled(parallel={"pipeline": 2})[0].get("train.microbatch_tokens") == "auto"


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["id"])
def test_rules_make_what_they_made(case):
    """Drawn models, portions and optimizers: a rule that changes shows as the lines of tests/golden/rules.jsonl that change."""
    made = {name: value for name, (value, _) in by_rules(Given(case["given"])).items()}
    wanted = case["made"]
    assert made.keys() == wanted.keys()
    for name, value in wanted.items():
        assert made[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-12)), name
