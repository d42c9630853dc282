"""plan RUN --ranks N --simulate: a rank of many, on a processor without any of them."""

from __future__ import annotations

import json

import pytest
from small_run import call, write_run_file, write_texts

from headwater.forecast.device import find_device, read_devices
from headwater.forecast.exchange import Exchange, exchange_seconds
from headwater.ranks.mesh import Layout, Mesh


def test_a_rank_of_1024_is_simulated_here(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", train__batch_tokens=65536, train__microbatch_tokens=64)
    words = ["plan", "mine.toml", "parallel.shard=512", "--ranks", "1024", "--simulate"]
    said = call(*words, "--hardware", "H100", "--json", cwd=tmp_path)
    assert said.status == 0, said
    found = json.loads(said.out)
    assert (found["replicate"], found["shard"]) == (2, 512)
    assert {(each["kind"], each["axis"]) for each in found["exchanges"]} >= {
        ("all-gather", "shard"),
        ("reduce-scatter", "shard"),
        ("all-reduce", "replicate"),
    }
    assert found["forecast"]["peak_bytes"] == pytest.approx(sum(found["peak_bytes"].values()), rel=0.3), "of 2 MB"
    assert "simulating a step of one of 1,024 ranks" in said.err
    assert found["step"]["exchange_seconds"] > found["step"]["computing_seconds"] > 0, "a tiny model on fast devices"


def test_where_the_settings_leave_it_open_the_named_devices_memory_chooses_the_layout(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", train__batch_tokens=65536, train__microbatch_tokens=64)
    said = call("plan", "mine.toml", "--ranks", "1024", "--simulate", "--hardware", "H100", "--json", cwd=tmp_path)
    assert said.status == 0, said
    found = json.loads(said.out)
    assert (found["replicate"], found["shard"]) == (1024, 1), "a 1024th of this machine's memory holds no rank"


def test_of_a_pipeline_both_ends_and_the_second_rank_are_simulated(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", train__batch_tokens=65536, train__microbatch_tokens=2048)
    model = ["model.num_layers=4", "model.tied_embeddings=false"]
    words = ["plan", "mine.toml", *model, "parallel.pipeline=4", "parallel.shard=8", "--ranks", "32"]
    said = call(*words, "--simulate", "--hardware", "H100", "--json", cwd=tmp_path)
    assert said.status == 0, said
    found = json.loads(said.out)
    assert [each["place"] for each in found["stages"]] == [0, 1, 3]
    peaks = [sum(each["peak_bytes"].values()) for each in found["stages"]]
    assert sum(found["peak_bytes"].values()) == max(peaks) and len(set(peaks)) == 3
    sent = [{each["kind"]: each["num_bytes"] for each in stage["exchanges"]}["send"] for stage in found["stages"]]
    assert sent[1] == 2 * sent[0] == 2 * sent[2], "the second hands on hidden states and their gradients"
    assert found["forecast"]["peak_bytes"] == pytest.approx(max(peaks), rel=0.3)
    assert "simulating a step of 3 of 32 ranks" in said.err


def test_where_nothing_but_the_number_of_ranks_is_named_the_layout_is_the_plans(tmp_path):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", train__batch_tokens=512, train__microbatch_tokens=64)
    two, one = (call("plan", "mine.toml", *words, "--simulate", cwd=tmp_path) for words in (["--ranks", "2"], []))
    assert "2: replicate 2, shard 1; " in two.out and "a rank has " in two.out, two
    assert "utilisation" not in two.out, "no device is named"
    assert "1: replicate 1, shard 1; " in one.out and "[parallel]" not in one.out, one
    of_eight = call("plan", "mine.toml", "--simulate", "--hardware", "8xH100", cwd=tmp_path)
    assert "8: replicate 8, shard 1; " in of_eight.out and "of one of 8 ranks" in of_eight.out, of_eight


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["parallel.pipeline=2", "model.tied_embeddings=true"], "set model.tied_embeddings to false"),
        (["--ranks", "2048", "parallel.shard=512"], "try 131072"),
        (["--ranks", "3", "parallel.shard=3"], "replicate × shard = 64 × 3; try 65472"),
        (["--ranks", "4", "--hardware", "8xH100"], "--hardware 8xH100 counts the ranks, as --ranks 4 does"),
        (["--ranks", "2", "parallel.shard=2", "train.exact=true"], "add train.exact=false"),
        (["--ranks", "2", "parallel.shard=2", "machine.dtype=float8"], "add machine.dtype=bfloat16"),
        (["--ranks", "2", "--text-bytes", "3G"], "--text-bytes is not for --simulate"),
    ],
)
def test_what_would_get_a_wrong_account_is_refused(tmp_path, words, why):
    write_texts(tmp_path / "texts")
    write_run_file(tmp_path / "mine.toml", train__batch_tokens=65536, train__microbatch_tokens=64)
    said = call("plan", "mine.toml", "--simulate", *words, cwd=tmp_path)
    assert said.status != 0 and why in said.err, said


def test_a_ring_over_nodes_passes_the_network_and_within_one_the_links():
    device = find_device("H100", read_devices())
    layout = Layout(Mesh(replicate=4, shard=device.node_size), device.node_size)
    shards, copies = (Exchange("all-gather", axis, 1, 10**9) for axis in ("shard", "replicate"))
    of_shards, of_copies = (exchange_seconds(device, each, layout) for each in (shards, copies))
    size = device.node_size
    assert of_shards == 10**9 * (size - 1) / size / (0.8 * device.links)
    assert of_copies == 10**9 * 3 / 4 / (0.8 * device.network), "one rank of each node is in a ring of copies"
