from __future__ import annotations

import json
import re

import pytest
from small_run import call, prose, write_run_file, write_texts

from headwater.export.data_card import markdown
from headwater.runfile.run_config import config_of_run
from headwater.runs.stages import data_card_of_run, training_of_run

EXTRA = """
[corpus.sources.more]
paths = ["MORE"]
licence = "CC0-1.0"

[corpus.redact]

[corpus.licences]

[corpus.decontaminate]
sets.quiz = ["quiz.jsonl"]
"""


LONGER_ONCE_NORMAL = "\u0958" * 40
"A letter of three bytes, of which normal form C makes two of three each."


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("balance")
    write_texts(cwd / "texts")
    write_texts(cwd / "more", 4)
    (cwd / "more" / "short.txt").write_text("hi")
    (cwd / "more" / "mail.txt").write_text(prose("mail", 60) + f"Write to a@b.org. {LONGER_ONCE_NORMAL}\n")
    question = prose("quiz", 1).strip() + " " + prose("quiz 2", 2).strip()
    (cwd / "quiz.jsonl").write_text(json.dumps({"q": question}))
    (cwd / "more" / "leak.txt").write_text(prose("leak", 60) + f"\n{question}\n")
    extra = EXTRA.replace("MORE", str(cwd / "more")).replace("quiz.jsonl", str(cwd / "quiz.jsonl"))
    path = write_run_file(cwd / "mine.toml", extra=extra)
    said = call("corpus", "tokenizer", "train", str(path), cwd=cwd)
    assert said.status == 0, said
    return cwd / "runs" / "mine"


def test_the_printed_balance_adds_up_to_the_byte(prepared):
    said = call("corpus", "show", "--run", "runs/mine", cwd=prepared.parent.parent)
    lines = said.out[said.out.index("mine") : said.out.index("evaluation set")].splitlines()
    cells = [re.split(r"  +", line) for line in lines]
    rows = [(names[1], int(names[-1].replace(",", ""))) for names in cells]
    starts = [at for at, (name, _) in enumerate(rows) if name == "read"]
    assert len(starts) == 3, "two sources and the sums"
    for start, end in zip(starts, [*starts[1:], len(rows)]):
        total = rows[start][1]
        for name, size in rows[start + 1 : end]:
            total += {"-": -size, "+": size}.get(name[0], 0)
            assert name[0] in "-+" or size == total or name == "of it held out", (name, size, total)
    assert {"+ added by cleaning", "- taken away by cleaning", "- dropped"} <= {name for name, _ in rows}


def test_nothing_is_lost_in_packing_and_the_epochs_are_what_the_rows_come_to(prepared):
    training = training_of_run(prepared)
    num_rows = config_of_run(prepared).num_rows
    assert set(training) == {"mine", "more"}
    assert sum(seen["weight"] for seen in training.values()) == pytest.approx(1, abs=1e-5)
    for seen in training.values():
        assert seen["tokens_lost"] == 0
        assert 0 <= seen["padding"] < 0.5
        assert seen["epochs"] == pytest.approx(seen["weight"] * num_rows / seen["rows"], abs=1e-3)


def test_show_prints_every_stage_and_what_training_sees(prepared):
    said = call("corpus", "show", "--run", "runs/mine", cwd=prepared.parent.parent)
    assert said.status == 0, said
    for part in ("- quality: too_short", "- protection: redacted_email", "- protection: contaminated_quiz", "epochs"):
        assert part in said.out
    assert "evaluation set quiz: 1 of 1 items found, in 1 document" in said.out
    assert "redacted: email 1" in said.out
    assert "text by licence: " in said.out


def test_the_data_card_of_a_run_is_json_and_tells_no_path(prepared):
    card = data_card_of_run(config_of_run(prepared))
    text = json.dumps(card)
    assert str(prepared.parent.parent) not in text
    assert str(prepared.parent.parent) not in markdown(card)
    more = card["sources"]["more"]
    assert (more["licence"], set(more["by"]["licence"])) == ("CC0-1.0", {"CC0-1.0"})
    assert more["training"]["tokens"] == training_of_run(prepared)["more"]["tokens"]
    dropped_bytes = sum(stage["bytes"] for stage in more["stages"].values())
    assert more["read"]["bytes"] == more["text"]["bytes"] + more["cleaned_bytes"] + dropped_bytes
    assert more["read"]["documents"] == more["kept"]["documents"] + sum(
        stage["documents"] for stage in more["stages"].values()
    )
    assert card["decontamination"]["quiz"]["found"] == 1
    assert "found_items" not in text


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["FOLDER/more/*.*"], "more/*.*"),
        (["FOLDER/more/**/*.txt", "FOLDER/more/mail.txt"], "more/**/*.txt, mail.txt"),
        (["FOLDER/more/"], "more"),
        (["*.txt"], "*.txt"),
    ],
)
def test_the_data_card_names_the_folder_of_a_pattern(prepared, paths, shown):
    config = config_of_run(prepared)
    folder = str(prepared.parent.parent)
    more = config.corpus.sources["more"].model_copy(
        update={"paths": [path.replace("FOLDER", folder) for path in paths]}
    )
    corpus = config.corpus.model_copy(update={"sources": {**config.corpus.sources, "more": more}})
    card = data_card_of_run(config.model_copy(update={"corpus": corpus}))
    assert card["sources"]["more"]["from"] == shown


def test_a_run_whose_corpus_is_gone_has_no_card(prepared, tmp_path):
    config = config_of_run(prepared)
    assert data_card_of_run(config.model_copy(update={"runs_dir": str(tmp_path)})) is None
