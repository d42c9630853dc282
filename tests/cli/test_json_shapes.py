"""The shapes that programs rely on: one JSON object on standard output, and nothing else."""

from __future__ import annotations

import io
import json

import pytest
from small_run import Said, call, overrides

from headwater.cli.terminal import print_json
from headwater.core.records import read_records


@pytest.fixture(scope="module")
def ask(finished):
    """Call a verb on the finished run with --json and return the object."""

    def ask(*verb: str) -> dict:
        return one_object(call(*verb, "--run", "runs/mine", "--json", cwd=finished.cwd))

    return ask


def one_object(said: Said) -> dict:
    assert said.status == 0, said
    assert said.out.endswith("}\n")
    assert said.out.count("\n") == 1
    value = json.loads(said.out, parse_constant=pytest.fail)  # NaN is no JSON
    assert isinstance(value, dict)
    return value


def test_next_gives_the_likeliest_tokens_first_and_all_of_them_add_up_to_one(ask):
    value = ask("next", "The capital of France is")
    assert list(value) == ["prompt", "next"] and value["prompt"] == "The capital of France is"
    assert all(list(item) == ["token", "probability"] for item in value["next"]) and len(value["next"]) == 10
    all_of_them = [item["probability"] for item in ask("next", value["prompt"], "--top", "1000")["next"]]
    assert [item["probability"] for item in value["next"]] == sorted(all_of_them, reverse=True)[:10]
    assert len(all_of_them) == 384 and sum(all_of_them) == pytest.approx(1, abs=1e-5)


def test_evaluate_gives_what_the_run_measured_at_its_end(ask, finished):
    value = ask("evaluate")
    assert value == json.loads((finished.run_dir / "evaluation.json").read_text())
    assert set(value["bits_per_byte"]) == {"all", "mine"} and set(value["baselines"]) == {"xz", "ngram5"}
    assert set(value["probes"]) == {"words"}  # the others ask for what the almanac says, and this run has none
    assert all(0 < number < 20 for part in ("bits_per_byte", "baselines") for number in value[part].values())


def test_corpus_show_gives_the_balance_sheet(ask):
    value = ask("corpus", "show")
    assert list(value) == ["sources", "splits", "kept_by", "training"]
    for sheet in value["sources"].values():
        assert set(sheet) == {"read", "kept", "dropped", "stages", "cleaned_bytes", "text"}
        for amount in (sheet["read"], sheet["kept"], sheet["text"], *sheet["dropped"].values()):
            assert set(amount) == {"documents", "bytes"}
            assert all(isinstance(number, int) for number in amount.values())
    seen = value["training"]["mine"]
    assert set(seen) == {"documents", "tokens", "rows", "tokens_lost", "rows_read", "padding", "weight", "epochs"}
    assert seen["tokens_lost"] == 0


def test_corpus_trace_gives_the_documents_that_hold_a_text(ask, finished):
    nothing = call("corpus", "trace", "runs/mine", "no document holds this, I hope", "--json", cwd=finished.cwd)
    assert nothing.status == 1
    assert json.loads(nothing.out) == {"text": "no document holds this, I hope", "hits": []}
    wanted = "Assert statements are   a convenient\nway to insert debugging"
    value = call("corpus", "trace", "runs/mine", wanted, "--json", cwd=finished.cwd).json
    assert list(value) == ["text", "hits"]
    assert value["hits"]
    for hit in value["hits"]:
        assert {"split", "source", "id", "origin", "count", "excerpt"} == set(hit)
        assert hit["split"] in ("train", "validation")
        assert "insert debugging" in hit["excerpt"]


def test_generate_gives_the_text_that_follows(ask):
    value = ask("generate", "The", "--max-tokens", "5")
    assert list(value) == ["prompt", "text", "num_tokens", "end"]
    assert 0 < value["num_tokens"] <= 5
    assert value["end"] == ("max_tokens" if value["num_tokens"] == 5 else "end token")
    assert value == ask("generate", "The", "--max-tokens", "5")


def test_surprise_gives_bits_of_each_token_that_add_up(ask):
    text = "The river, naïve."
    value = ask("surprise", text)
    assert list(value) == ["text", "bits_per_byte", "tokens"]
    total = sum(item["bits"] for item in value["tokens"])
    assert value["bits_per_byte"] == pytest.approx(total / len(text.encode()))


def test_tokenizer_show_gives_pieces_that_join_to_the_text(ask):
    value = ask("corpus", "tokenizer", "show", "--text", "The river")
    assert value["vocab_size"] == 384
    assert "".join(piece for _, piece in value["tokens"]) == "The river"
    assert set(value["bytes_per_token"]) == {"mine"}


def test_explain_gives_what_config_json_keeps(finished):
    value = one_object(call("explain", "mine.toml", *overrides(), "--json", cwd=finished.cwd))
    assert value == json.loads((finished.run_dir / "config.json").read_text())


def test_doctor_gives_one_object(tmp_path):
    value = one_object(call("doctor", "--json", cwd=tmp_path))
    assert {"device", "gpu", "cores", "torch", "peak_flops_per_second", "extras"} <= set(value)


def test_a_step_record_has_the_promised_keys(finished):
    promised = {
        "event",
        "attempt",
        "step",
        "tokens_seen",
        "loss",
        "lr",
        "grad_norm",
        "tokens_per_second",
        "mfu",
        "seconds",
        "data_wait_fraction",
    }
    steps = read_records(finished.run_dir / "records.jsonl", "step")
    assert [record["step"] for record in steps] == list(range(1, 25))
    assert all(promised <= set(record) for record in steps)
    assert all(record["attempt"] == 1 for record in steps)
    assert all(record["mfu"] is None or 0 < record["mfu"] <= 1 for record in steps), "None: measured under load"
    # a row is filled with targets but for a little padding at its end
    assert [record["tokens_seen"] for record in steps] == [512 * record["step"] for record in steps]


def test_every_event_of_a_run_is_recorded_with_its_attempt_step_and_time(finished):
    records = read_records(finished.run_dir / "records.jsonl")
    assert {record["event"] for record in records} == {
        "start",
        "step",
        "validation",
        "probes",
        "samples",
        "checkpoint",
        "finish",
    }
    assert all({"attempt", "step", "time"} <= set(record) for record in records)
    # a checkpoint is recorded when it is on disk, which may be some steps later
    steps = [record["step"] for record in records if record["event"] != "checkpoint"]
    assert steps == sorted(steps)


def test_json_is_whole_where_the_output_is_not_utf8(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="latin-1", write_through=True))
    print_json({"prompt": "naïve 中"})
    assert json.loads(written.getvalue()) == {"prompt": "naïve 中"}
