"""A table with anything wrong in it is refused, naming the row, the column and the value."""

from __future__ import annotations

import math

import pytest

from headwater.core.errors import DataError
from headwater.plan.scaling.table import read_runs

GOOD = [f"{1e6 * 2**i:g},{2e7 * 3**i:g},{4 - 0.1 * i:.2f}" for i in range(8)]
HEAD = "params,tokens,loss"


def written(tmp_path, lines, head=HEAD):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_columns_may_stand_anywhere_among_others_with_a_mark_at_the_start(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [f"x,7,{line.split(',')[2]},{line.split(',')[1]},{line.split(',')[0]}" for line in GOOD]
    path.write_text("\n".join(["name,n, Loss ,tokens,Params", *rows]), encoding="utf-8-sig")
    assert read_runs(path).params.tolist() == [1e6 * 2**i for i in range(8)], "n is another name for them"


CELLS = {
    "": "is needed and blank; fill it in, or remove the line", "abc": "='abc' is not a number; write it like 124e6",
    "-3": "must be a positive number; correct it, or remove the line", "0": "must be a positive number",
    "nan": "must be a positive number", "inf": "must be a positive number", "1e30": "not between",
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("column", ["params", "tokens", "loss"])
def test_a_bad_cell_is_named(tmp_path, column, cell):
    cells = GOOD[2].split(",")
    cells[["params", "tokens", "loss"].index(column)] = cell
    with pytest.raises(DataError, match=f"line 4: {column}") as caught:
        read_runs(written(tmp_path, [*GOOD[:2], ",".join(cells), *GOOD[3:]]))
    assert CELLS[cell] in str(caught.value)


NAMED, QUOTED = [f"{line},a run" for line in GOOD], f'{GOOD[2]},"a run'
REFUSED = [  # the first line, the others, what is said
    *((HEAD, [*GOOD[:2], "", f"{GOOD[2]},{extra}", *GOOD[3:]], f"line 5: {count} cells and 3 columns, '{first}' is the first too many")
      for extra, count, first in [("3.9", 4, "3.9"), ("", 4, ""), ("1,2", 5, "1")]),
    (HEAD, [",,,3.9", *GOOD], "line 2: 4 cells and 3 columns"),
    (HEAD, ["124,2e9,3.1", *GOOD], "not millions"),
    (HEAD, ["1e8,2e9,35", *GOOD], "not a perplexity"),
    (HEAD, GOOD[:3], "holds 3 different runs.*at least 6"),
    *((head, GOOD, "has no column .*the first line must name") for head in ("params,tokens", "X,D,loss", "")),
    # a later quote closes it, and the rows between were gone without a word
    *((f"{HEAD},name", lines, "line 4 is no line of a CSV table")
      for lines in ([*NAMED[:2], QUOTED, *NAMED[3:]], [*NAMED[:2], QUOTED, *NAMED[3:6], f'{NAMED[6]}"', *NAMED[7:]])),
]  # fmt: skip


@pytest.mark.parametrize(("head", "lines", "says"), REFUSED)
def test_a_table_that_says_something_else_than_runs_is_refused(tmp_path, head, lines, says):
    with pytest.raises(DataError, match=f"runs.csv.* {says}"):
        read_runs(written(tmp_path, lines, head))


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    said = {"empty.csv": "empty file", "": "is a folder", "no": "doesn't exist", "bytes.csv": "not a CSV file in UTF-8"}
    for name, says in said.items():
        with pytest.raises(DataError, match=says):
            read_runs(tmp_path / name)


def test_reruns_become_their_mean_and_their_spread_and_blank_rows_are_left_out(tmp_path):
    runs = read_runs(written(tmp_path, [",,,,", *GOOD, "1e6,2e7,4.02"]))
    assert len(runs) == 8
    assert runs.loss[0] == pytest.approx(4.01)
    assert runs.run_noise == pytest.approx(math.log(4.02 / 4.00) / math.sqrt(2))


def test_rows_say_how_often_their_text_was_read(tmp_path):
    """The same sizes on other text are no reruns."""
    once, other = [f"{line},1" for line in GOOD], f"{GOOD[0].rpartition(',')[0]},5,4"
    runs = read_runs(written(tmp_path, [*once, "3e6,4e8,3.7,4", other], f"{HEAD},epochs"))
    assert len(runs) == len(GOOD) + 2 and (runs.tokens[-2], runs.unique[-2]) == (4e8, 1e8)
    assert (runs.unique[:-2] == runs.tokens[:-2]).all()
    assert runs.where(runs.loss > 0).unique[-2] == 1e8
    assert read_runs(written(tmp_path, [f"{line},0.5" for line in GOOD], f"{HEAD},epochs")).unique is None
