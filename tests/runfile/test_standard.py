"""The recipe standard: complete, its packages known, what is religious held to a tenth; fetched by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_packages import write_deb
from small_run import call, require_clear_error

from headwater.corpus.samples.fetch.known import contents_of
from headwater.corpus.sources.settings import parse_names
from headwater.corpus.sources.size import source_bytes
from headwater.runfile.run_config import load_run

RUN = """
name = "mine"

[corpus.sources.sites]
kind = "documentation"
fetched = ["deb:texts", "deb:gone-for-good"]

[tokenizer]
vocab_size = 384
[model]
num_layers = 2
d_model = 32
seq_len = 64
[train]
num_steps = 4
batch_tokens = 512
"""


def sources():
    return load_run("standard", [])[0].corpus.sources


def test_a_plan_knows_how_much_text_its_sources_have():
    sizes = {name: source_bytes(source) for name, source in sources().items()}
    assert 100e6 < sum(sizes.values()) < 150e6
    assert sizes["websites"] > sizes["novels"] > 1e6
    unknown = sources()["novels"].model_copy(update={"fetched": ["deb:r-cran-janeaustenr", "deb:never-measured"]})
    assert source_bytes(unknown) is None


def test_every_source_has_its_weight_and_religious_prose_a_tenth_at_most():
    weights = load_run("standard", [])[0].mixture.weights
    assert set(weights) == set(sources())
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["scripture"] + weights["commentaries"] <= 0.1


@pytest.mark.parametrize("entry", [entry for source in sources().values() for entry in source.fetched or []])
def test_what_is_text_in_its_packages_is_known(entry):
    unlisted = [str(package) for package in parse_names(entry) if not contents_of(package).keep]
    assert not unlisted


def test_fetch_from_a_folder_of_archives_by_one_command(tmp_path: Path):
    write_deb(tmp_path / "archives", "texts", {"usr/share/doc/texts/a.txt": b"words of a text"}, licence="MIT")
    (tmp_path / "mine.toml").write_text(RUN)
    fetch = ("corpus", "fetch", "mine.toml", "--archives", "archives")
    require_clear_error(call(*fetch, cwd=tmp_path), "deb:gone-for-good", "corpus.sources.sites.requires_all=false")
    require_clear_error(call("corpus", "build", "mine.toml", cwd=tmp_path), "deb:gone-for-good")
    without = (*fetch, "corpus.sources.sites.requires_all=false")
    said = call(*without, "--json", cwd=tmp_path)
    assert said.status == 0, said
    value = json.loads(said.out)
    assert [package["package"] for package in value["packages"]] == ["deb:texts"]
    assert value["packages"][0]["licence"] == "MIT" and list(value["excluded"]) == ["deb:gone-for-good"]
    table = call(*without, cwd=tmp_path)
    assert "deb:texts" in table.out and "excluded" in table.out
