from __future__ import annotations

import base64
import gzip
import json
import re
from hashlib import sha256

import pyarrow as pa
import pytest
from fake_run import (
    SOURCES,
    config,
    corpus_manifest,
    evaluation,
    json_file,
    run_records,
    step_records,
    write_records,
    write_run,
)
from hypothesis import example, given
from hypothesis import strategies as st
from read_page import Page, read_page

from headwater.cli.running import evaluation_lines
from headwater.core.errors import DataError
from headwater.core.files import digest_json
from headwater.core.numbers import duration
from headwater.core.printable import printable
from headwater.core.records import read_records
from headwater.corpus.shards import SUFFIX
from headwater.page.report.page import render_report
from headwater.runs.measures import lines_since_base, seconds_lost, since_base
from headwater.runs.run_data import RunData, read_run

NUM_STEPS = 300
HOSTILE = [
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "'><svg onload=window.hacked=1>",
    "<!--",
    "]]>{{7*7}}${7*7}",
    "javascript:window.hacked=1",
    "\u202etxt.exe\x1b[31m\x00",
    '<a href="https://example.com/">x</a>',
]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs"), num_steps=NUM_STEPS)


@pytest.fixture(scope="module")
def page(run_dir) -> Page:
    return read_page(render_report(run_dir))


def test_the_result_is_one_sentence(page):
    assert (
        "5.31 million parameters, 4.92 million tokens, 1.313 bits per byte on held-out real text, "
        "in 8m26s on AMD EPYC 9B14 (2 cores)."
    ) in page.text


def test_the_loss_curve_is_that_of_the_records(page, run_dir):
    records = read_records(run_dir / "records.jsonl", "step")
    assert page.trace("Training loss", "each step") == (
        [record["tokens_seen"] for record in records],
        [record["loss"] for record in records],
    )


def test_validation_and_probes_are_those_of_the_records(page, run_dir):
    validations = read_records(run_dir / "records.jsonl", "validation")
    assert page.trace("Bits per byte by source", "books")[1] == [
        record["bits_per_byte"]["books"] for record in validations
    ]
    assert page.trace("Bits per byte on real text", "this model")[1] == [
        record["bits_per_byte_real_text"] for record in validations
    ]
    found = read_records(run_dir / "records.jsonl", "probes")
    assert page.trace("Capitals", "Capitals")[1] == [record["probes"]["capitals"]["right"] for record in found]
    for name, score in evaluation(NUM_STEPS)["probes"].items():
        assert f"{100 * score:.1f} %" in page.text, name


def test_baselines_are_levels_with_their_values(page):
    for name, value in {"xz\u00a0-9e": 2.2381, "5-gram": 1.9034}.items():
        assert page.trace("Bits per byte on real text", f"{name} {value:.3f}")[1] == [value, value]
        assert f"{value:.3f}" in page.text


def test_chance_is_drawn_for_every_probe(page):
    for title, chance in {"Capitals": 0.005, "Agreement": 0.5, "Arithmetic": 0.1, "Cause and effect": 0.5}.items():
        assert page.trace(title, "chance")[1] == [chance, chance]


def test_the_balance_sheet_has_every_reason_to_the_byte_and_balances(page):
    for source in corpus_manifest()["sources"].values():
        for amounts in [source["read"], source["kept"], *source["dropped"].values()]:
            assert f"{amounts['bytes']:,}" in page.text and f"{amounts['documents']:,}" in page.text
    assert "it balances." in page.text


def test_the_text_of_a_source_is_what_lies_in_the_corpus_and_not_what_was_read(tmp_path):
    run_dir = write_run(tmp_path, num_steps=4)
    manifest = corpus_manifest()
    manifest["splits"]["train"]["books"]["bytes"] -= 1234
    json_file(run_dir / "data" / "corpus" / "manifest.json", manifest)
    page = read_page(render_report(run_dir))
    text = sum(split["books"]["bytes"] for split in manifest["splits"].values())
    assert manifest["sources"]["books"]["kept"]["bytes"] == text + 1234
    assert f"{text:,}" in page.text and "it balances." in page.text


def test_parts_cut_from_documents_are_counted_in_bytes(tmp_path):
    run_dir = write_run(tmp_path, num_steps=4)
    manifest = corpus_manifest()
    manifest["sources"]["books"]["dropped"]["held_out_probe"]["documents"] = 0
    manifest["sources"]["books"]["read"]["documents"] -= 7
    json_file(run_dir / "data" / "corpus" / "manifest.json", manifest)
    page = read_page(render_report(run_dir))
    assert "held out probe 6.38 kB" in page.text and "it balances." in page.text


def test_a_balance_that_is_off_is_shown_as_such(tmp_path):
    run_dir = write_run(tmp_path, num_steps=4)
    manifest = corpus_manifest()
    manifest["sources"]["books"]["read"]["bytes"] += 1
    json_file(run_dir / "data" / "corpus" / "manifest.json", manifest)
    assert "IT DOES NOT BALANCE" in read_page(render_report(run_dir)).text


def test_the_share_of_the_almanac_stands_beside_its_limit(page):
    assert re.search(r"is 19\.\d % of the training tokens\. At most 20 % is allowed", page.text)


def test_an_almanac_beyond_its_limit_is_not_hidden(tmp_path):
    run_dir = write_run(tmp_path, num_steps=4)
    records = run_records(4)
    records[0]["plan"]["sources"]["almanac"]["tokens"] *= 2
    write_records(run_dir, records)
    assert "MORE than the 20 %" in read_page(render_report(run_dir)).text


def test_epochs_and_shares_are_the_plans(page, run_dir):
    sources = read_records(run_dir / "records.jsonl", "start")[0]["plan"]["sources"]
    total = sum(source["tokens"] for source in sources.values())
    cells = page.text.split("\nepochs\n")[1].split("\nBalance sheet")[0].split("\n")
    rows = {cells[start]: cells[start + 5 : start + 7] for start in range(0, 7 * len(SOURCES), 7)}
    assert rows == {
        name: [f"{100 * source['tokens'] / total:.1f} %", f"{source['epochs']:.2f}"] for name, source in sources.items()
    }


def test_the_guess_at_the_next_token_is_followed_over_time(page):
    assert "·Paris" in page.text and "at the start" in page.text


def test_every_setting_comes_with_origin_and_reason(page):
    for reason in config()["reasons"]:
        assert reason["setting"] in page.text
        assert reason["why"] in page.text and reason["origin"] in page.text


def test_stops_and_resumes_are_listed(page):
    assert "stopped by SIGTERM" in page.text and "Resumed once. " in page.text, "no step was recomputed"


def test_a_resume_counts_where_a_later_one_began_at_an_earlier_step(tmp_path):
    run_dir = write_run(tmp_path, num_steps=10)
    records = [record | {"attempt": 1, "time": 1.0} for record in step_records(8)]
    for attempt, step in ((2, 8), (3, 5)):
        again = {"attempt": attempt, "time": float(attempt)}
        steps = [record | again for record in step_records(10)[step:]]
        records += [{"event": "resume", "step": step, "from": f"step-{step:09}"} | again, *steps]
    write_records(run_dir, records)
    assert "Resumed twice; steps recomputed: 5." in read_page(render_report(run_dir)).text


def test_a_killed_attempt_says_how_many_steps_were_recomputed(tmp_path):
    run_dir = write_run(tmp_path, num_steps=10)
    steps = [record | {"attempt": 1, "time": 1.0} for record in step_records(9)]
    resume = {"event": "resume", "attempt": 2, "step": 5, "from": "step-000000005", "time": 2.0}
    write_records(run_dir, [*steps, resume, *[record | {"attempt": 2} for record in step_records(8)[5:]]])
    page = read_page(render_report(run_dir))
    assert re.search(r"killed, or the machine stopped\n4\n", page.text)
    assert page.trace("Training loss", "each step")[0] == [16_384 * step for step in range(1, 9)]


def test_ranks_and_their_layout_are_said_of_the_run_and_of_each_attempt(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    first, *records = [record | {"attempt": 1} for record in run_records(8)]
    layout = {"replicate": 2, "shard": 2, "tensor": 1, "machines": 2, "why": "8 GB of a rank are too few"}
    of_four = first | {"attempt": 2, "plan": first["plan"] | {"ranks": 4}, "layout": layout}
    half = len(records) // 2
    write_records(run_dir, [first, *records[:half], of_four, *[each | {"attempt": 2} for each in records[half:]]])
    text = read_page(render_report(run_dir)).text
    four = "4 ranks (replicate = 2 × shard = 2) on 2 machines"
    assert f"in 2 attempts, on {four}." in text and "8 GB of a rank are too few" in text
    assert text.count("\n1 rank\n") == 1 and text.count(f"\n{four}\n") == 2, "in Attempts, and in Data and device"


def test_the_time_is_split_by_what_the_records_time(page, run_dir):
    records = read_records(run_dir / "records.jsonl")
    training = sum(record["seconds"] for record in records if record["event"] == "step")
    assert duration(training) in page.text
    assert "everything else" in page.text


def test_the_same_run_gives_the_same_page(run_dir):
    assert render_report(run_dir).read_bytes() == render_report(run_dir).read_bytes()


def test_nothing_on_the_page_can_load_anything(page):
    for element in page.elements:
        for name, value in element.attributes.items():
            assert name not in ("src", "srcset", "action", "data", "poster", "background", "style"), element
            assert not name.startswith("on"), element
            assert name != "href" or re.fullmatch(r"#\w+", value), element
    assert not {"img", "iframe", "object", "embed", "link", "base", "form", "audio", "video"} & {
        e.tag for e in page.elements
    }
    style = "".join(element.text for element in page.all("style"))
    assert style and "url(" not in style and "@import" not in style


def test_a_report_takes_little_space(run_dir):
    assert render_report(run_dir).stat().st_size < 2_500_000


def test_the_policy_lets_only_the_pages_own_scripts_run(page):
    policy = next(
        e.attributes["content"] for e in page.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; ") and "http" not in policy and "eval" not in policy
    assert "script-src 'sha256-" in policy and "'unsafe-inline'" not in policy.split("style-src")[0]
    scripts = [element.text for element in page.all("script") if "type" not in element.attributes]
    (packed,) = [element.text for element in page.all("script") if element.attributes.get("type") == "application/gzip"]
    scripts.append(gzip.decompress(base64.b64decode(packed)).decode())
    assert len(scripts) == 2
    for script in scripts:
        assert base64.b64encode(sha256(script.encode()).digest()).decode() in policy


def write_shard(folder, texts):
    folder.mkdir(parents=True)
    meta = {"source": "books", "origin": "a.txt", "kind": "text"}
    lines = [json.dumps({"id": str(at), "text": text, "metadata": meta}) + "\n" for at, text in enumerate(texts)]
    with pa.CompressedOutputStream(str(folder / f"00000{SUFFIX}"), "zstd") as stream:
        stream.write("".join(lines).encode())


def spoil(value, text):
    """Return a JSON value with every string in it, names too, followed by `text`; what decides the shape stays."""
    if isinstance(value, dict):
        fixed = {"event", "format", "origin"}
        return {key: inner if key in fixed else spoil(inner, text) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [spoil(member, text) for member in value]
    return value + text if isinstance(value, str) else value


def hostile_run(tmp_path, text):
    run_dir = write_run(tmp_path, name="run" + text.replace("/", "").replace("\x00", "")[:200], num_steps=6)
    for path in run_dir.rglob("*.json"):
        json_file(path, spoil(json.loads(path.read_text()), text))
    manifest = run_dir / "data" / "corpus" / "manifest.json"
    sources = corpus_manifest()["sources"]
    renamed = {
        name + text: source | {"dropped": {r + text: v for r, v in source["dropped"].items()}}
        for name, source in sources.items()
    }
    json_file(manifest, corpus_manifest() | {"sources": renamed})
    records = [spoil(record, text) for record in run_records(6)]
    for record in records:
        if record["event"] in ("validation", "probes"):
            for field in ("bits_per_byte", "loss", "probes"):
                record[field] = {name + text: score for name, score in record.get(field, {}).items()}
    write_records(run_dir, records)
    return run_dir


@pytest.mark.parametrize("text", ["".join(HOSTILE), "<!--", "\u202etxt.exe\x1b[31m\x00"], ids=range(3))
def test_hostile_text_anywhere_makes_no_element_and_stays_readable(tmp_path, text, page):
    hostile = read_page(render_report(hostile_run(tmp_path, text)))
    assert {element.tag for element in hostile.elements} <= {element.tag for element in page.elements}
    assert len([e for e in hostile.all("script") if "type" not in e.attributes]) == 1
    test_nothing_on_the_page_can_load_anything(hostile)
    readable = printable(text, keep="\n\t")
    assert hostile.text.count(readable) > 20
    for spec in hostile.charts.values():
        for trace in spec["data"]:
            assert "<" not in trace["name"]


def test_an_empty_folder_says_that_nothing_is_measured_yet(tmp_path):
    page = read_page(render_report(tmp_path))
    assert "Nothing has been trained in this folder yet" in page.text
    assert page.text.lower().count("not measured yet") >= 8


@pytest.mark.parametrize("busy", [{}, {"peak_under_load": "busy"}])
def test_a_finished_run_without_a_quiet_peak_says_why_it_has_no_utilisation(tmp_path, busy):
    run_dir = write_run(tmp_path, num_steps=8)
    start, *others = run_records(8)
    device = {name: value for name, value in start["device"].items() if not name.startswith("peak")} | busy
    device |= {"peak_flops_per_second": 1e11} if busy else {}
    others = [record | ({"mfu": None} if "mfu" in record else {}) for record in others]
    write_records(run_dir, [start | {"device": device}, *others])
    text = read_page(render_report(run_dir)).text
    assert ("not measured: other processes used the processor" in text) is bool(busy)
    assert "the first timed step fills it" not in text and "not measured" in text.lower()


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(DataError, match="headwater run"):
        render_report(tmp_path / "nowhere")


def test_an_attempt_that_died_before_its_first_save_is_listed_and_not_drawn(tmp_path):
    start = run_records(8)[0]
    first = [start | {"attempt": 1}, *[record | {"attempt": 1} for record in step_records(3)]]
    second = [start | {"attempt": 2}, *[record | {"attempt": 2, "loss": 1.5} for record in step_records(2)]]
    write_records(tmp_path, [*first, *second])
    page = read_page(render_report(tmp_path))
    assert page.trace("Training loss", "each step")[1] == [1.5, 1.5]
    assert re.search(r"killed, or the machine stopped\n3\n", page.text)


@pytest.mark.parametrize("num_records", [1, 4, 200])
def test_a_run_in_progress_renders(tmp_path, num_records):
    run_dir = write_run(tmp_path, num_steps=NUM_STEPS)
    (run_dir / "evaluation.json").unlink()
    write_records(run_dir, run_records(NUM_STEPS)[:num_records])
    page = read_page(render_report(run_dir))
    assert "his page shows what there is so far." in page.text
    assert "headwater run RUN.toml" in page.text
    assert "None" not in page.text and "nan" not in page.text.lower().split()


def test_a_run_without_the_almanac_has_no_probes_and_says_why(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    manifest = corpus_manifest()
    del manifest["sources"]["almanac"]
    json_file(run_dir / "data" / "corpus" / "manifest.json", manifest)
    (run_dir / "evaluation.json").unlink()
    write_records(run_dir, [record for record in run_records(8) if record["event"] != "probes"])
    page = read_page(render_report(run_dir))
    assert "this run was trained without it" in page.text and "Agreement" not in page.text
    json_file(run_dir / "config.json", {"settings": {"train": {"num_probes": 0}}})
    assert "Not measured: train.num_probes is 0" in read_page(render_report(run_dir)).text


def test_a_loss_of_nan_leaves_a_gap_and_is_counted(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    records = run_records(8)
    bad = next(record for record in records if record["event"] == "step" and record["step"] == 4)
    bad |= {"event": "skipped", "loss": float("nan"), "grad_norm": float("inf"), "reason": "loss nan"}
    write_records(run_dir, records)
    page = read_page(render_report(run_dir))
    assert len(page.trace("Training loss", "each step")[0]) == 7
    assert "1 step skipped" in page.text


@pytest.mark.parametrize("damage", [b"{", b"[1, 2]", b'{"sources": 3, "splits": [], "reasons": "x"}', b"\xff\xfe"])
def test_damaged_files_are_no_reason_to_fail(tmp_path, damage):
    run_dir = write_run(tmp_path, num_steps=4)
    for path in run_dir.rglob("*.json"):
        path.write_bytes(damage)
    assert "Loss" in read_page(render_report(run_dir)).text


def test_records_of_odd_shapes_are_no_reason_to_fail(tmp_path):
    odd = [None, 3, 0, "x", [], {}, {"all": None}, {"all": 0.0}, [{"prompt": 3}], [{"prompt": []}], [None]]
    fields = [
        "bits_per_byte",
        "probes",
        "samples",
        "next",
        "parameters",
        "device",
        "plan",
        "tokens_seen",
        "seconds",
        "time",
        "loss",
        "signal",
    ]
    events = ["start", "step", "validation", "probes", "samples", "checkpoint", "finish", "stopped", "else"]
    records = [
        {"event": event, "attempt": 1, "step": 1, **dict.fromkeys(fields, value)} for value in odd for event in events
    ]
    write_records(tmp_path, records)
    read_page(render_report(tmp_path))


def test_a_long_run_is_drawn_with_few_points(tmp_path):
    run_dir = write_run(tmp_path, num_steps=2500)
    page = read_page(render_report(run_dir))
    xs, ys = page.trace("Training loss", "each step")
    losses = [record["loss"] for record in read_records(run_dir / "records.jsonl", "step")]
    assert len(xs) <= 2000
    assert (ys[0], ys[-1]) == (losses[0], losses[-1]) and {min(losses), max(losses)} <= set(ys)


def test_interventions_are_a_table_and_hostile_text_in_them_is_text(tmp_path):
    run_dir = write_run(tmp_path, num_steps=4)
    rows = {"from_step": 3, "first_row": 1200, "last_row": 1215, "reason": "loss 9 is above 5"}
    documents = {"count": 2, "listed": [["books", HOSTILE[0]], ["code", "x.py"]]}
    entries = [
        {"kind": "skip", **rows, "documents": documents},
        {"kind": "rollback", **rows, "to_step": 2, "documents": {"count": 1}},
        {"kind": "skip"},
    ]
    (run_dir / "interventions.jsonl").write_text(
        "".join(json.dumps(entry | {"digest": digest_json(entry)}) + "\n" for entry in entries) + '{"kin'
    )
    page = read_page(render_report(run_dir))
    assert "Interventions" in page.text and "3 in all" in page.text
    assert "1,200 to 1,215" in page.text and "loss 9 is above 5" in page.text
    assert f"2 documents (books: {HOSTILE[0]}, code: x.py)" in page.text
    assert "3, back to 2" in page.text


def test_every_chart_has_titles_at_its_axes(page):
    assert len(page.charts) == 12
    for summary, spec in page.charts.items():
        for axis in ("xaxis", "yaxis"):
            assert spec["layout"][axis]["title"]["text"], (summary, axis)


def test_samples_keep_their_lines_and_code_is_set_in_one_width(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    records = run_records(8)
    last = [record for record in records if record["event"] == "samples"][-1]
    last["samples"][2]["text"] = ":\n    return 1\n"
    write_records(run_dir, records)
    page = read_page(render_report(run_dir))
    assert "def read_file(path)::\n    return 1" in page.text
    assert any(element.attributes.get("class") == "text indented" for element in page.all("p"))


def test_kept_documents_are_shown_as_text(tmp_path):
    run_dir = write_run(tmp_path, num_steps=4)
    write_shard(run_dir / "data" / "corpus" / "train" / "books", [HOSTILE[0], "long " * 200, "third"])
    page = read_page(render_report(run_dir))
    assert HOSTILE[0] in page.text and ("long " * 80 + "…") in page.text and "third" not in page.text


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ({"all": 2500, "books": 2500}, None),
        ({"all": 400, "books": 100, "code": 300}, "400 in all; chance alone moves a figure of so few by 5% or so"),
        ({"all": 9000, "books": 8900, "code": 100}, "100 of code; chance alone moves a figure of so few by 10% or so"),
    ],
)
def test_figures_of_few_held_out_tokens_have_a_warning(tmp_path, targets, says):
    run_dir = write_run(tmp_path, num_steps=8)
    json_file(run_dir / "evaluation.json", evaluation(8) | {"num_targets": targets})
    text = read_page(render_report(run_dir)).text
    assert ("Held-out tokens scored" in text) is (says is not None)
    assert says is None or f"Held-out tokens scored: {says}." in text


@pytest.mark.parametrize(
    ("repeated", "counted", "says"),
    [
        (0, 9, None),
        (9, 9, None),
        (10, 9, "1% of the held-out lines are"),
        (500, 8, "At least 50% of the held-out lines are"),
    ],
)
def test_the_share_of_held_out_lines_that_training_text_has_is_said(tmp_path, repeated, counted, says):
    run_dir = write_run(tmp_path, num_steps=8)
    read = {"scored_lines": 1000, "repeated_lines": repeated, "counted_tokens": counted, "of_tokens": 9}
    found = evaluation(8) | {"baseline_sample": read}
    json_file(run_dir / "evaluation.json", found)
    text = read_page(render_report(run_dir)).text
    assert (" in the training text, too" in text) is (says is not None)
    assert says is None or says in text
    assert ("repeated text" in dict(evaluation_lines(found))) is (says is not None)


def test_a_source_of_few_scored_tokens_or_none_has_no_change_since_the_base(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    json_file(run_dir / "evaluation.json", evaluation(8) | {"num_targets": {"books": 0, "speeches": 299, "code": 300}})
    shown = {each.source for each in since_base(read_run(run_dir))}
    assert "code" in shown and not shown & {"books", "speeches"}


BITS, RIGHT = st.floats(0.5, 3.0), st.floats(0, 1)


@given(before=st.tuples(BITS, BITS, RIGHT), after=st.tuples(BITS, BITS, RIGHT), is_of_all=st.booleans())
@example(before=(1.495, 1.416, 0.99), after=(1.439, 1.451, 0.48), is_of_all=False)
def test_what_a_run_learned_and_forgot_of_its_base_is_said_as_a_sample_where_it_is_one(before, after, is_of_all):
    def records(step, measured):
        new, old, capitals = measured
        bits = {"all": new, "addl": new, "replay-code": old}
        yield {"event": "validation", "step": step, "bits_per_byte": bits, "is_of_all": is_of_all}
        yield {"event": "probes", "step": step, "probes": {"capitals": {"right": capitals}, "words": {"right": 0.5}}}

    by_event = {"validation": [], "probes": []}
    for record in [*records(0, before), *records(9, after)]:
        by_event[record["event"]].append(record)
    run = RunData(*[""] * 3, by_event, [], *[{}] * 7, [], {})
    new, kept = lines_since_base(run)
    scored = "all held-out text" if is_of_all else "a sample of held-out text"
    assert all(f"bits per byte of {scored}: " in line for _, line in (new, kept))
    assert f": addl {before[0]:.3f} → {after[0]:.3f}" in new[1]
    assert f"old text replay-code {before[1]:.3f} → {after[1]:.3f}" in kept[1]
    assert kept[1].endswith(f"; right capitals {before[2]:.0%} → {after[2]:.0%}")
    assert kept[0] == ("forgotten" if after[1] > before[1] or after[2] < before[2] else "kept")


def test_the_time_of_steps_that_were_trained_again_is_said_beside_the_time_of_training(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    steps = [{"event": "step", "step": step, "seconds": 60.0} for step in (1, 2, 3, 4)]
    lost = [{"event": "validation", "step": 4, "evaluation_seconds": 30.0}]
    first = [{"event": "start", "step": 0}, *steps, *lost]
    again = [{"event": "resume", "step": 2}, {"event": "start", "step": 2}, *steps[2:]]
    back = [{"event": "rollback", "step": 3, "first_row": 0}, steps[3]]  # its time is in its process's own
    records = [one | {"attempt": n} for n, of in enumerate([first, [*again, *back]], 1) for one in of]
    (run_dir / "records.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in records), "utf-8")
    assert seconds_lost(read_run(run_dir)) == 150.0
    assert "and 2m30s besides of steps that were trained again" in read_page(render_report(run_dir)).text


@pytest.mark.parametrize(("resumed_at", "seconds"), [(3, 40.0), (2, 160.0), (1, 220.0)])
def test_what_a_rollback_undid_is_lost_only_without_a_save_after_it(tmp_path, resumed_at, seconds):
    run_dir = write_run(tmp_path, num_steps=8)
    steps = [{"event": "step", "step": step, "seconds": 60.0} for step in (1, 2, 3)]
    more = [{"event": "step", "step": 4, "seconds": 40.0}]
    first = [{"event": "start", "step": 0}, *steps, {"event": "rollback", "step": 2, "first_row": 0}, *steps[2:], *more]
    again = [{"event": "resume", "step": resumed_at}, {"event": "start", "step": resumed_at}]
    records = [one | {"attempt": n} for n, of in enumerate([first, again], 1) for one in of]
    (run_dir / "records.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in records), "utf-8")
    assert seconds_lost(read_run(run_dir)) == seconds


def test_the_time_of_all_stages_is_shown_where_it_was_measured(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    json_file(
        run_dir / "stages.json", {"evaluation": "sha256:1", "seconds": {"corpus": 9.7, "evaluation": 12.0, "x": "y"}}
    )
    text = read_page(render_report(run_dir)).text
    assert "8m48s of timed work" in text and "corpus 9.7s" in text


def test_utilisation_is_of_the_largest_peak_without_load(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    start = run_records(8)[0]

    def start_of(attempt, peak, **more):
        device = start["device"] | {"peak_flops_per_second": peak} | more
        return start | {"attempt": attempt, "step": 2 * (attempt - 1), "device": device}

    steps = step_records(8)
    records = [start_of(1, 4e11), *steps[:2], start_of(2, 9e11, peak_under_load="busy"), *steps[2:4]]
    records += [start_of(3, 8e11), *steps[4:]]
    attempt = 0
    for record in records:
        attempt += record["event"] == "start"
        record |= {"attempt": attempt, "mfu": 0.4}
    write_records(run_dir, records)
    page = read_page(render_report(run_dir))
    assert page.trace("Utilisation", "each step")[1] == [0.2] * 4 + [0.4] * 4
    assert "the median is 30.0 % of 800 GFLOP/s" in page.text
    assert "\n30.0 %\nof the largest possible speed, 800 GFLOP/s" in page.text
