from __future__ import annotations

import json

import numpy as np
import pytest
from small_run import call, prose, write_run_file, write_texts

from headwater.corpus.load import read_documents
from headwater.runfile.run_config import config_of_run
from headwater.runs.stages import open_batches, rows_of
from headwater.tokens.skipped_rows import WrittenInterventions
from headwater.tokens.tokenizer.tokenizer import Tokenizer

ROWS_PER_STEP = 512 // 64


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The folder of a run whose text is tokenized and that isn't trained: two sources, gone through more than once."""
    cwd = tmp_path_factory.mktemp("where")
    write_texts(cwd / "texts")
    write_texts(cwd / "more", 6)
    records = ({"title": "A | title", "text": prose(number)} for number in range(100, 103))
    (cwd / "more" / "t.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    extra = '[corpus.sources.more]\npaths = ["more"]\n'
    path = write_run_file(cwd / "mine.toml", extra=extra, train__num_steps=60)
    said = call("corpus", "tokenizer", "train", str(path), cwd=cwd)
    assert said.status == 0, said
    return cwd / "runs" / "mine"


def test_the_passages_are_what_the_model_is_given(prepared):
    config = config_of_run(prepared)
    tokenizer = Tokenizer.load(prepared / "data" / "tokenizer")
    texts = {
        (source, document.id): document.text
        for source in ("mine", "more")
        for document in read_documents(prepared / "data" / "corpus", "train", source)
    }
    step = 41
    batch = open_batches(config).rows((step - 1) * ROWS_PER_STEP, ROWS_PER_STEP)
    found = rows_of(config).of_step(step)
    assert [row["row"] for row in found["rows"]] == list(range(320, 328))
    for index, row in enumerate(found["rows"]):
        place = 0
        for passage in row["passages"]:
            (encoded,) = tokenizer.encode_arrays([texts[row["source"], passage["document"]]])
            ids = np.array([tokenizer.begin_id, *encoded, tokenizer.end_id])
            assert len(ids) == passage["num_tokens"]
            first, count = passage["first_token"], passage["num_targets"]
            assert np.array_equal(batch.tokens_BT[index, place : place + count], ids[first : first + count])
            assert np.array_equal(batch.targets_BT[index, place : place + count], ids[first + 1 : first + count + 1])
            place += count
        assert np.all(batch.targets_BT[index, place:] == -1)


def test_a_sequence_that_is_not_full_says_what_it_holds(prepared):
    config = config_of_run(prepared)
    rows = rows_of(config).of_rows(range(60 * ROWS_PER_STEP))
    short = next(row for row in rows if row["num_tokens"] < row["seq_len"])
    full = next(row for row in rows if row["num_tokens"] == row["seq_len"] == config.model.seq_len)
    for row, ending in ((short, ", the rest is padding"), (full, "")):
        said = call("corpus", "where", "--run", "runs/mine", "--sequence", str(row["row"]), cwd=prepared.parent.parent)
        line = f" · {row['num_tokens']} of {row['seq_len']} tokens{ending}"
        assert said.out.splitlines()[0].endswith(line), said


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--step", "1", "--sequence", "1"],
        ["--step", "0"],
        ["--step", "61"],
        ["--sequence", "-1"],
        ["--sequence", "480"],
    ],
)
def test_what_is_asked_for_must_be_one_thing_that_is_there(prepared, arguments):
    said = call("corpus", "where", "--run", "runs/mine", *arguments, cwd=prepared.parent.parent)
    assert said.status == 2
    assert "Traceback" not in said.err


def test_the_rows_of_a_step_after_ways_back_are_those_it_was_made_from(tmp_path):
    log = WrittenInterventions(tmp_path, {})
    first_rows: dict[int, int] = {}
    step = row = 0
    for goes_back_at, to in [(10, 4), (8, 6), (12, 0), (7, 5), (20, 5), (25, None)]:
        while step < goes_back_at:
            step += 1
            first_rows[step] = row
            row += 8
        if to is not None:
            log.append("rollback", from_step=step, to_step=to, first_row=row - 8, last_row=row - 1, next_row=row)
            step = to
    assert [log.first_row_of(number, 8) for number in range(1, 26)] == [first_rows[number] for number in range(1, 26)]
