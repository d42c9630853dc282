"""The sizes that `new` chooses fit the text and the time, and the file it writes runs."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_run import call, prose, write_texts

from headwater.plan.scaling.table import MAX_EPOCHS
from headwater.plan.text_size import epochs_of, notes_of_text
from headwater.runfile.paths import of_split
from headwater.runfile.run_config import load_run
from headwater.runs.library.new import MIN_PLANNED_STEPS, choose_sizes, new, with_steps
from headwater.runs.library.text_found import TextFound, settings_of

HERE = STEP, REST = 0.1, 3.0


@given(st.integers(300, 10**12), st.floats(0.01, 10_000), st.booleans())
def test_sizes_are_ones_that_a_run_can_have_and_no_text_is_seen_more_often_than_makes_sense(
    num_tokens, minutes, is_time_known
):
    sizes = with_steps(choose_sizes(num_tokens, 4096), num_tokens, minutes, HERE if is_time_known else None)
    assert sizes.batch_tokens % sizes.seq_len == 0
    assert sizes.num_steps >= MIN_PLANNED_STEPS
    assert sizes.d_model % 64 == 0
    if sizes.num_steps > MIN_PLANNED_STEPS and num_tokens >= 30_000:
        assert sizes.num_steps * sizes.batch_tokens <= MAX_EPOCHS * num_tokens
    elif sizes.num_steps == MIN_PLANNED_STEPS and is_time_known:
        assert ("longer than the" in sizes.why[1]) is (60 * minutes < REST + STEP * MIN_PLANNED_STEPS)


@pytest.mark.parametrize(
    ("num_tokens", "vocab_size", "least", "most"),
    # measured: 0.14 MB was best at 3.4 of 1.7, 3.4 and 5 epochs, 0.37 MB at 2.4 and 3.7, 1.2 MB at 1.4 and 2.9
    [(65_000, 512, 2.5, 4.5), (140_000, 1024, 2, 4), (430_000, 2048, 1.4, 2.9), (28_000_000, 8192, 8, 16)],
)
def test_epochs_are_about_those_that_were_best(num_tokens, vocab_size, least, most):
    sizes = with_steps(choose_sizes(num_tokens, vocab_size), num_tokens, 1e7, HERE)
    assert least <= sizes.num_steps * sizes.batch_tokens / num_tokens <= most
    assert "as many as still teach something of this text, about " in sizes.why[1]


@given(st.integers(10**9, 10**10), st.floats(1, 100))
def test_steps_are_those_that_the_time_allows(num_tokens, minutes):
    sizes = with_steps(choose_sizes(num_tokens, 8192), num_tokens, minutes, HERE)
    assert REST + sizes.num_steps * STEP == pytest.approx(60 * minutes, abs=STEP)
    assert f"what {minutes:g} minutes allow" in sizes.why[1]


def code(num_functions: int) -> str:
    """Return a module whose tokens are shorter than those of prose: few letters, many signs."""
    names = prose("names", 400).split()
    lines = [
        f"def f{n}(x_{n % 7}, *, {names[n % len(names)].strip('.').lower()}=0x{n * 2654435761 % 2**32:08x}):\n"
        f"    if x_{n % 7} >= {n * n % 9973} and not (q[{n % 13}] != {n % 31}):\n        return {n * 7919 % 100_003} // 3\n"
        for n in range(num_functions)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [code(4000), prose("tokens", 9000), prose("few", 40)], ids=["code", "prose", "few"])
def test_the_tokens_that_new_counts_are_those_that_the_run_has(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(text)
    said: list[str] = []
    new("mine", ["text.txt"], minutes=1.0, say=said.append)
    expected = int(re.search(r"about ([\d,]+) tokens to train on", said[0])[1].replace(",", ""))
    # a plan of the run, too, counts them until the text is built
    epochs = float(re.search(r"steps, ([\d.]+) epochs", said[0])[1])
    assert epochs_of(load_run("mine.toml", [])[0]).overall == pytest.approx(
        max(1.0, epochs), rel=0.06
    )  # of whole sequences
    assert call("corpus", "tokenizer", "train", "mine.toml", cwd=tmp_path).status == 0
    splits = [of_split(tmp_path / "runs" / "mine", split) for split in ("train", "validation")]
    found = sum(sum(split.values()) for split in splits)
    assert expected == pytest.approx(found, rel=0.1), found / expected


def test_the_tokens_that_new_counts_are_without_what_filters_and_copies_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for number in range(40):
        text = prose(str(number // 2), 60)  # each twice
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
        (tmp_path / "texts" / f"{number}.numbers.txt").write_text(re.sub("[a-z]", "7", text))
    said: list[str] = []
    new("mine", ["texts"], minutes=1.0, say=said.append)
    assert "of a sample, filters leave 25%, copies excluded" in said[0]
    assert call("corpus", "tokenizer", "train", "mine.toml", cwd=tmp_path).status == 0
    found = sum(sum(of_split(tmp_path / "runs" / "mine", split).values()) for split in ("train", "validation"))
    expected = int(re.search(r"about ([\d,]+) tokens to train on", said[0])[1].replace(",", ""))
    assert expected == pytest.approx(found, rel=0.1), found / expected


@pytest.mark.parametrize("num_sentences", [600, 20_000])
def test_run_has_no_warning_about_the_epochs_that_new_chose(tmp_path, monkeypatch, num_sentences):
    """New chose 3.5 epochs to have 200 steps, and the run warned of them: best were 2.0."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(prose(1, num_sentences))
    new("mine", ["text.txt"], minutes=100.0, say=lambda line: None)
    config = load_run("mine.toml", [])[0]
    assert not any("memorises" in note for note in notes_of_text(config, epochs_of(config)))
    longer = config.model_copy(
        update={"train": config.train.model_copy(update={"num_steps": 3 * config.train.num_steps})}
    )
    assert any("memorises" in note for note in notes_of_text(longer, epochs_of(longer)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(num_rows=st.integers(1, 40), num_bad=st.integers(1, 3), num_lines=st.integers(100, 3000))
def test_what_gives_no_text_is_said_with_its_bytes_and_what_to_set(tmp_path, num_rows, num_bad, num_lines):
    folder = tmp_path / f"{num_rows}-{num_bad}-{num_lines}"
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("The river rises. " * 2000)
    (folder / "b.jsonl").write_text('{"body": "one"}\n' * num_rows)
    (folder / "c.txt").write_bytes("Wie schön, daß es regnet.\n".encode("cp1252") * num_lines)
    (folder / "d.txt").write_bytes(b"The river rises. " * 2000 + b"\x92" * num_bad)
    found = TextFound()
    assert len(list(found.texts(settings_of([str(folder)])))) == 2
    assert f"{num_bad} replaced bytes" in found.reasons
    assert re.search(
        rf"{num_rows} no text \(\d+\s\w+, no text in a column text or content; .*text_column", found.reasons
    )
    is_large = 26 * num_lines > 0.05 * (68_000 + 26 * num_lines + 16 * num_rows)
    assert (f"{folder / 'c.txt'}: byte 0xF6" in found.reasons) == is_large


@pytest.mark.parametrize(
    "name", ["with space", 'quote"d', "back\\slash", "new\nline", "del\x7f", "naïve 中文", "all", "tab\t"]
)
def test_a_folder_of_any_name_is_the_source_of_a_run_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / name, num_files=2)
    path = new("mine", name, say=lambda line: None)
    assert load_run(str(path))[0].corpus.sources["mine"].paths == [name]
