"""Every setting says where its value comes from: the user, a recipe, a rule, or a default."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from small_run import call, write_run_file

from headwater.cli.explaining import file_schema
from headwater.runfile.run_config import RunConfig, load_run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run_file(tmp_path / "mine.toml")
    return tmp_path


def reasons(run: str, *overrides: str) -> dict[str, object]:
    return {reason.setting: reason for reason in load_run(run, list(overrides))[1]}


def leaves(table: dict, prefix: str = "") -> dict[str, object]:
    flat = {}
    for name, value in table.items():
        flat |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name: value}
    return flat


@pytest.mark.parametrize("run", ["mine.toml", "first-light"])
def test_every_setting_has_one_reason_with_its_value(folder, run):
    config, found = load_run(run, [])
    settings = leaves(config.model_dump(mode="json"))
    assert {reason.setting: reason.value for reason in found} == settings
    assert len(found) == len(settings)
    for reason in found:
        assert reason.origin in ("user", "recipe", "rule", "default")
        assert reason.why


def explained(*arguments: str, cwd: Path) -> list[str]:
    """Return the settings that explain names, in its order."""
    said = call("explain", *arguments, cwd=cwd)
    assert said.status == 0, said
    assert not [line for line in said.out.splitlines() if line != line.rstrip() or len(line) > 100]
    return [line.split()[0] for line in said.out.splitlines() if re.match(r"  \w", line)]


def test_explain_names_what_is_set_by_origin_and_all_of_it_on_demand(folder):
    found = reasons("mine.toml")
    shown = [name for name, reason in found.items() if reason.origin != "default" and reason.value is not None]
    assert sorted(explained("mine.toml", cwd=folder)) == sorted(shown)
    assert sorted(explained("mine.toml", "--all", cwd=folder)) == sorted(found)


def test_the_schema_knows_every_setting_and_extends(folder):
    said = call("explain", "--schema", cwd=folder)
    schema = json.loads(said.out)
    assert max(map(len, said.out.splitlines())) < 1000, "a person reads it, too"
    assert schema == file_schema()
    assert set(schema["properties"]) == {*RunConfig.model_fields, "extends"}
    assert '"required"' not in said.out  # rules and `extends` fill in what a file leaves out
    assert schema["additionalProperties"] is False


def test_settings_that_are_named_are_shown_alone(folder):
    said = explained("mine.toml", "train.num_steps", "mixture", "train.batch_tokens=1024", cwd=folder)
    assert {name for name in said if not name.startswith("mixture.")} == {"train.num_steps"}
    assert "mixture.weights" in said
    record = call("explain", "mine.toml", "train.num_steps", "--json", cwd=folder).json
    assert [reason["setting"] for reason in record["reasons"]] == ["train.num_steps"]


def test_every_setting_is_described_in_the_schema():
    undescribed = []
    for name, table in file_schema()["$defs"].items():
        for setting, facts in table.get("properties", {}).items():
            if not facts.get("description") and "$ref" not in json.dumps(facts):
                undescribed.append(f"{name}.{setting}")
    assert not undescribed
