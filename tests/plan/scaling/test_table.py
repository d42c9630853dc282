"""A table with anything wrong in it is refused, naming the row, the column and the value."""

from __future__ import annotations

import math

import pytest
from known_laws import runs_of

from headwater.core.errors import DataError
from headwater.plan.scaling.table import num_distinct, read_runs

GOOD = [f"{1e6 * 2**i:g},{2e7 * 3**i:g},{4 - 0.1 * i:.2f}" for i in range(8)]


def written(tmp_path, lines, head="params,tokens,loss"):
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def test_reads_every_row_in_order(tmp_path):
    runs = read_runs(written(tmp_path, GOOD))
    assert runs.params.tolist() == [1e6 * 2**i for i in range(8)]
    assert runs.loss.tolist() == [round(4 - 0.1 * i, 2) for i in range(8)]
    assert runs.flops[0] == 6 * 1e6 * 2e7


def test_columns_may_stand_anywhere_among_others_with_a_mark_at_the_start(tmp_path):
    path = tmp_path / "runs.csv"
    rows = [f"x,{line.split(',')[2]},{line.split(',')[1]},{line.split(',')[0]}" for line in GOOD]
    path.write_text("\n".join(["name, Loss ,tokens,Params", *rows]), encoding="utf-8-sig")
    assert read_runs(path).params.tolist() == [1e6 * 2**i for i in range(8)]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("", "is needed and blank; fill it in, or remove the line"),
        ("abc", "='abc' is not a number; write it like 124e6"),
        ("-3", "must be a positive number; correct it, or remove the line"),
        ("0", "must be a positive number"),
        ("nan", "must be a positive number"),
        ("inf", "must be a positive number"),
        ("1e30", "not between"),
    ],
)
@pytest.mark.parametrize("column", ["params", "tokens", "loss"])
def test_a_bad_cell_is_named(tmp_path, column, cell, says):
    cells = GOOD[2].split(",")
    cells[["params", "tokens", "loss"].index(column)] = cell
    with pytest.raises(DataError, match=f"line 4: {column}") as caught:
        read_runs(written(tmp_path, [*GOOD[:2], ",".join(cells), *GOOD[3:]]))
    assert says in str(caught.value)


@pytest.mark.parametrize("extra", ["3.9", "", "1,2"])
def test_a_row_with_more_cells_than_columns_is_named(tmp_path, extra):
    cells = 4 + extra.count(",")
    says = rf"runs.csv line 5: {cells} cells and 3 columns, '{extra.split(',')[0]}' is the first too many"
    with pytest.raises(DataError, match=says):
        read_runs(written(tmp_path, [*GOOD[:2], "", f"{GOOD[2]},{extra}", *GOOD[3:]]))


def test_a_row_with_nothing_but_a_cell_too_many_is_refused_and_a_blank_one_left_out(tmp_path):
    with pytest.raises(DataError, match="line 2: 4 cells and 3 columns"):
        read_runs(written(tmp_path, [",,,3.9", *GOOD]))
    assert len(read_runs(written(tmp_path, [",,,,", *GOOD]))) == 8


def test_a_count_in_millions_is_recognised(tmp_path):
    with pytest.raises(DataError, match="not millions"):
        read_runs(written(tmp_path, ["124,2e9,3.1", *GOOD]))


def test_a_perplexity_is_recognised(tmp_path):
    with pytest.raises(DataError, match="not a perplexity"):
        read_runs(written(tmp_path, ["1e8,2e9,35", *GOOD]))


def test_reruns_become_their_mean_and_their_spread(tmp_path):
    runs = read_runs(written(tmp_path, [*GOOD, "1e6,2e7,4.02"]))
    assert len(runs) == 8
    assert runs.loss[0] == pytest.approx(4.01)
    assert runs.run_noise == pytest.approx(math.log(4.02 / 4.00) / math.sqrt(2))


def test_too_few_rows_say_how_many_are_needed(tmp_path):
    with pytest.raises(DataError, match=r"holds 3 different runs.*at least 6"):
        read_runs(written(tmp_path, GOOD[:3]))


@pytest.mark.parametrize("head", ["params,tokens", "X,D,loss", ""])
def test_a_missing_column_is_named(tmp_path, head):
    with pytest.raises(DataError, match=r"has no column .*the first line must name"):
        read_runs(written(tmp_path, GOOD, head))


def test_an_empty_file_a_folder_and_no_file_are_refused(tmp_path):
    (tmp_path / "empty.csv").touch()
    for path, says in (
        (tmp_path / "empty.csv", "empty file"),
        (tmp_path, "is a folder"),
        (tmp_path / "no", "doesn't exist"),
    ):
        with pytest.raises(DataError, match=says):
            read_runs(path)


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="not a CSV file in UTF-8"):
        read_runs(path)


def test_sizes_within_five_percent_are_one():
    assert num_distinct(runs_of([100, 102, 104, 200, 400, 410], [1] * 6, [1] * 6).params) == 3


def test_rows_say_how_often_their_text_was_read(tmp_path):
    rows = [f"{line},1" for line in GOOD] + ["3e6,4e8,3.7,4"]
    runs = read_runs(written(tmp_path, rows, "params,tokens,loss,epochs"))
    assert (runs.tokens[-1], runs.unique[-1]) == (4e8, 1e8)
    assert (runs.unique[:-1] == runs.tokens[:-1]).all()
    assert runs.where(runs.loss > 0).unique[-1] == 1e8


def test_rows_that_were_read_once_have_no_other_text(tmp_path):
    rows = [f"{line},0.5" for line in GOOD]
    assert read_runs(written(tmp_path, rows, "params,tokens,loss,epochs")).unique is None


def test_the_same_sizes_on_other_text_are_no_reruns(tmp_path):
    rows = [f"{line},1" for line in GOOD]
    params, tokens, loss = GOOD[0].split(",")
    runs = read_runs(written(tmp_path, [*rows, f"{params},{tokens},{float(loss) + 1},4"], "params,tokens,loss,epochs"))
    assert len(runs) == len(GOOD) + 1


def test_a_column_of_the_exact_name_comes_before_another_name_for_it(tmp_path):
    rows = [f"7,{line}" for line in GOOD]
    assert read_runs(written(tmp_path, rows, "n,params,tokens,loss")).params[0] == 1e6


@pytest.mark.parametrize("closed_on", [None, 6])
def test_a_quote_that_is_not_closed_is_named_with_its_line(tmp_path, closed_on):
    """A later quote closes it, and the rows between were gone without a word."""
    rows = [f"{line},a run" for line in GOOD]
    rows[2] = f'{GOOD[2]},"a run'
    if closed_on:
        rows[closed_on] = f'{GOOD[closed_on]},a run"'
    with pytest.raises(DataError, match=r"runs.csv line 4 is no line of a CSV table"):
        read_runs(written(tmp_path, rows, "params,tokens,loss,name"))
