"""What the picture of a run says: made-up runs, and the facts that it must show of each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fake_run import (
    SOURCES,
    config,
    corpus_manifest,
    evaluation,
    forecast,
    json_file,
    run_records,
    start_record,
    step_records,
    write_records,
    write_run,
)
from read_picture import Picture, picture

from headwater.core.files import digest_json
from headwater.core.records import read_records
from headwater.corpus.shards import SUFFIX
from headwater.page.picture.picture import picture_of
from headwater.plan.run_plan import NO_RUNS
from headwater.runs.run_data import read_run

CORPUS = "data/corpus/manifest.json"
NUM_STEPS = 300
TITLES = {"capitals": "Capitals", "agreement": "Agreement", "sums": "Arithmetic", "cause": "Cause and effect"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs"), num_steps=NUM_STEPS)


@pytest.fixture(scope="module")
def whole(run_dir) -> Picture:
    return picture(run_dir)


# ---- the curves are those of the records


def test_the_curves_are_those_of_the_records(whole, run_dir):
    records = {event: read_records(run_dir / "records.jsonl", event) for event in ("step", "validation", "probes")}
    assert whole.trace("loss", "each step") == (
        [record["tokens_seen"] for record in records["step"]],
        [record["loss"] for record in records["step"]],
    )
    scores = [record["bits_per_byte"] for record in records["validation"]]
    assert whole.trace("by_source", "books")[1] == [score["books"] for score in scores]
    assert whole.trace("held_out", "validation")[1] == [score["all"] for score in scores]
    assert whole.trace("held_out", "P90")[1] == [1.21, 1.21]
    real = [record["bits_per_byte_real_text"] for record in records["validation"]]
    assert whole.trace("quality", "this model")[1] == real
    for name, value in {"xz\u00a0-9e": 2.2381, "5-gram": 1.9034}.items():
        assert whole.trace("quality", f"{name} {value:.3f}")[1] == [value, value]
    for name, title in TITLES.items():
        rights = [record["probes"][name] for record in records["probes"]]
        assert whole.trace(f"probe {name}", title)[1] == [each["right"] for each in rights]
        assert whole.trace(f"probe {name}", "chance")[1] == [rights[0]["chance"]] * 2


def test_every_chart_has_titles_at_its_axes_and_words(whole):
    names = {"loss", "quality", "by_source", "held_out", "tokens_per_second", "mfu", "grad_norm", "lr"}
    assert set(whole.charts) == names | {f"probe {name}" for name in TITLES}
    for key, chart in whole.charts.items():
        assert (
            chart["summary"] and chart["layout"]["xaxis"]["title"]["text"] and chart["layout"]["yaxis"]["title"]["text"]
        ), key


def test_a_long_run_is_drawn_with_few_points_and_a_part_of_it_with_every_step(tmp_path):
    run_dir = write_run(tmp_path, num_steps=2500)
    steps = read_records(run_dir / "records.jsonl", "step")
    losses = [record["loss"] for record in steps]
    xs, ys = picture(run_dir).trace("loss", "each step")
    assert len(xs) <= 2000 and (ys[0], ys[-1]) == (losses[0], losses[-1]) and {min(losses), max(losses)} <= set(ys)
    between = (steps[99]["tokens_seen"], steps[109]["tokens_seen"])
    part = Picture(picture_of(read_run(run_dir), between))
    assert part.trace("loss", "each step")[1] == losses[98:111]
    assert len(part.charts["loss"]["data"]) == 2, "no save or validation was between them"


# ---- tables


def test_the_balance_sheet_has_every_reason_to_the_byte(whole):
    for source in corpus_manifest()["sources"].values():
        for amounts in [source["read"], source["kept"], *source["dropped"].values()]:
            assert f"{amounts['bytes']:,}" in whole.text and f"{amounts['documents']:,}" in whole.text


def test_epochs_and_shares_are_the_plans(whole):
    sources = start_record(NUM_STEPS)["plan"]["sources"]
    total = sum(source["tokens"] for source in sources.values())
    cells = whole.text.split("\nepochs\n")[1].split("\nBalance sheet")[0].split("\n")
    rows = {cells[start]: cells[start + 5 : start + 7] for start in range(0, 7 * len(SOURCES), 7)}
    assert rows == {
        name: [f"{100 * source['tokens'] / total:.1f} %", f"{source['epochs']:.2f}"] for name, source in sources.items()
    }


def test_every_setting_comes_with_origin_and_reason(whole):
    for reason in config()["reasons"]:
        assert {reason["setting"], reason["origin"]} <= set(whole.text.split("\n"))
        assert reason["why"] in whole.text


# ---- run → facts shown

Change = Callable[[Path], Any]


def nothing(run_dir: Path) -> None:
    """Leave the run as it is."""


def changed(file: str, **fields: Any) -> Change:
    """Put fields into a file."""
    return lambda run_dir: json_file(run_dir / file, json.loads((run_dir / file).read_text()) | fields)


def corpus_with(change: Callable[[dict[str, Any]], Any]) -> Change:
    def write(run_dir: Path) -> None:
        change(manifest := corpus_manifest())
        json_file(run_dir / CORPUS, manifest)

    return write


def without(*files: str) -> Change:
    return lambda run_dir: [(run_dir / file).unlink() for file in files]


def with_records(change: Callable[[list[dict[str, Any]]], Any]) -> Change:
    """Change the records of the run in place, or put those that are returned in their place."""

    def write(run_dir: Path) -> None:
        records = run_records(8)
        write_records(run_dir, change(records) or records)

    return write


def both(*changes: Change) -> Change:
    return lambda run_dir: [change(run_dir) for change in changes]


def steps_of(attempt: int, num_steps: int, first: int = 0) -> list[dict[str, Any]]:
    return [record | {"attempt": attempt, "time": float(attempt)} for record in step_records(num_steps)[first:]]


def resumed(attempt: int, step: int, num_steps: int) -> list[dict[str, Any]]:
    resume = {"event": "resume", "step": step, "attempt": attempt, "time": float(attempt)}
    return [resume, *steps_of(attempt, num_steps, step)]


def parts_cut(manifest: dict[str, Any]) -> None:
    books = manifest["sources"]["books"]
    books["dropped"]["held_out_probe"]["documents"] = 0
    books["read"]["documents"] -= 7


def bad_step(records: list[dict[str, Any]]) -> None:
    bad = next(record for record in records if record["event"] == "step" and record["step"] == 4)
    bad |= {"event": "skipped", "loss": float("nan"), "reason": "loss nan"}


def twice_the_almanac(records: list[dict[str, Any]]) -> None:
    records[0]["plan"]["sources"]["almanac"]["tokens"] *= 2


def of_four_ranks(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    layout = {"replicate": 2, "shard": 2, "tensor": 1, "machines": 2, "why": "8 GB of a rank are too few"}
    first, *others = [record | {"attempt": 1} for record in records]
    start = first | {"attempt": 2, "plan": first["plan"] | {"ranks": 4}, "layout": layout}
    return [first, *others[:9], start, *[each | {"attempt": 2} for each in others[9:]]]


def lost_minutes(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    steps = [{"event": "step", "step": step, "seconds": 60.0} for step in (1, 2, 3, 4)]
    first = [{"event": "start", "step": 0}, *steps, {"event": "validation", "step": 4, "evaluation_seconds": 30.0}]
    again = [{"event": "resume", "step": 2}, {"event": "start", "step": 2}, *steps[2:]]
    return [each | {"attempt": number} for number, of in enumerate([first, again], 1) for each in of]


def three_peaks(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a run in three attempts whose machine reached other rates of arithmetic, once under load."""
    found: list[dict[str, Any]] = []
    for attempt, (peak, load) in enumerate([(4e11, {}), (9e11, {"peak_under_load": "busy"}), (8e11, {})], 1):
        device = records[0]["device"] | {"peak_flops_per_second": peak} | load
        done = 2 * (attempt - 1)
        found.append(records[0] | {"attempt": attempt, "step": done, "device": device})
        found += [each | {"mfu": 0.4} for each in steps_of(attempt, 8)[done : 8 if attempt == 3 else done + 2]]
    return found


def no_peak(**more: Any) -> Change:
    def change(records: list[dict[str, Any]]) -> None:
        del records[0]["device"]["peak_flops_per_second"]
        records[0]["device"] |= more

    return with_records(change)


def targets(**counts: int) -> Change:
    return changed("evaluation.json", num_targets=counts)


def repeated(lines: int, counted: int) -> Change:
    read = {"scored_lines": 1000, "repeated_lines": lines, "counted_tokens": counted, "of_tokens": 9}
    return changed("evaluation.json", baseline_sample=read)


def with_interventions(run_dir: Path) -> None:
    rows = {"from_step": 3, "first_row": 1200, "last_row": 1215, "reason": "loss 9 is above 5"}
    documents = {"count": 2, "listed": [["books", "<b>"], ["code", "x.py"]]}
    entries = [{"kind": "skip", **rows, "documents": documents}, {"kind": "skip"}]
    entries.append({"kind": "rollback", **rows, "to_step": 2, "documents": {"count": 1}})
    written = [json.dumps(entry | {"digest": digest_json(entry)}) + "\n" for entry in entries]
    (run_dir / "interventions.jsonl").write_text("".join(written) + '{"kin')


def with_documents(run_dir: Path) -> None:
    folder = run_dir / "data/corpus/train/books"
    folder.mkdir(parents=True)
    meta = {"source": "books", "origin": "a.txt", "kind": "text"}
    texts = enumerate(["<b>first", "long " * 200, "third"])
    lines = [json.dumps({"id": str(at), "text": text, "metadata": meta}) + "\n" for at, text in texts]
    with pa.CompressedOutputStream(str(folder / f"00000{SUFFIX}"), "zstd") as stream:
        stream.write("".join(lines).encode())


def code_written(records: list[dict[str, Any]]) -> None:
    [record for record in records if record["event"] == "samples"][-1]["samples"][2]["text"] = ":\n    return 1\n"


def without_almanac(run_dir: Path) -> None:
    corpus_with(lambda manifest: manifest["sources"].pop("almanac"))(run_dir)
    (run_dir / "evaluation.json").unlink()
    with_records(lambda records: [each for each in records if each["event"] != "probes"])(run_dir)


def older_evaluation(run_dir: Path) -> None:
    with_records(lambda records: records[:-1])(run_dir)
    os.utime(run_dir / "evaluation.json", (1e9, 1e9))


KNOWLEDGE = {
    "stages": [
        {"run": "first-light", "stage": "base", "bits_per_byte": 1.41},
        {"run": "<script>", "stage": "tuned", "bits_per_byte": None},
    ],
    "table": [
        {"measure": "known facts as prose", "values": [{"value": 0.995, "low": 0.97, "high": 1.0, "num": 185}] * 2},
        {
            "measure": "known facts never named, new phrasings",
            "values": [None, {"value": 0.878, "low": 0.83, "high": 0.91, "num": 279}],
        },
        {"measure": "made-up facts never named", "values": "none"},
        {"measure": None, "values": [{"value": "x"}]},
        3,
    ],
}
STAGES = {"evaluation": "sha256:1", "seconds": {"corpus": 9.7, "evaluation": 12.0, "x": "y"}}
BOOKS = corpus_manifest()["sources"]["books"]["kept"]["bytes"]
RANKS = "4 ranks (replicate = 2 × shard = 2) on 2 machines"
FEW = "chance alone moves a figure of so few by"
NO = "!"
"Before a fact that is not shown."
CASES: dict[str, tuple[Change, list[str]]] = {
    "a whole run": (nothing, [
        "5.31 million parameters, 131,072 tokens, 1.313 bits per byte on held-out real text, ", "in 8m26s on AMD EPYC 9B14 (2 cores).", "it balances.",
        "·Paris", "at the start", "stopped by SIGTERM", "Resumed once. ", "2.238", "1.903", "everything else",
        "!What each stage changed", "!Held-out tokens scored", "!in the training text, too",
    ]),
    "forecast": (nothing, [
        "training time\n6.600\n9.000\n12.00\n8.440\nminutes\n−6.2 %\ninside",
        "memory\n0.9000\n1.000\n1.100\n1.250\nGB\n+25.0 %\noutside",
    ]),
    "no forecast": (without("forecast.json"), ["headwater plan RUN", "removed when the run resumes with other settings"]),
    "no loss forecast": (changed("forecast.json", loss=None, loss_refused=f"{NO_RUNS} <b>"), [
        f"The loss was not forecast: {NO_RUNS} <b>.", "!Loss on held-out text, and its forecast",
    ]),
    "in progress": (both(without("evaluation.json"), with_records(lambda records: records[:12])), [
        "not known", "Not finished: step", "of 131k", "headwater run RUN.toml", "one attempt so far".capitalize(),
    ]),
    "an evaluation of the shorter run that it was": (older_evaluation, ["!2.238", "a sample of held-out real text"]),
    "text of a source is what lies in the corpus": (
        corpus_with(lambda manifest: manifest["splits"]["train"]["books"].update(bytes=1000)),
        [f"{1000 + BOOKS // 50:,}", "it balances."],
    ),
    "parts cut from documents": (corpus_with(parts_cut), ["held out probe 6.38 kB", "it balances."]),
    "no balance": (corpus_with(lambda manifest: manifest["sources"]["books"]["read"].update(bytes=1)), ["IT DOES NOT BALANCE"]),
    "an almanac within its limit": (nothing, ["19.6 % of the training tokens. At most 20 % is allowed"]),
    "an almanac beyond it": (with_records(twice_the_almanac), ["MORE than the 20 %"]),
    "a later resume at an earlier step": (
        with_records(lambda _: [*steps_of(1, 8), *resumed(2, 8, 10), *resumed(3, 5, 10)]),
        ["Resumed twice; steps recomputed: 5."],
    ),
    "killed": (with_records(lambda _: [*steps_of(1, 9), *resumed(2, 5, 8)]), ["killed, or the machine stopped\n4\n"]),
    "ranks": (with_records(of_four_ranks), [
        f"in 2 attempts, on {RANKS}.", "8 GB of a rank are too few", "\n1 rank\nattempt 2", f"finished\n–\n{RANKS}\n",
    ]),
    "no quiet peak": (no_peak(), ["utilisation\nnot measured\n"]),
    "a busy peak": (no_peak(peak_under_load="busy"), ["not measured: other processes used the processor"]),
    "the largest peak without load": (with_records(three_peaks), [
        "the median is 30.0 % of 800 GFLOP/s", "30.0 %\nof the largest possible speed, 800 GFLOP/s",
    ]),
    "no almanac": (without_almanac, ["this run was trained without it", "!Agreement"]),
    "no probes": (
        both(without_almanac, lambda run_dir: json_file(run_dir / "config.json", {"settings": {"train": {"num_probes": 0}}})),
        ["Not measured: train.num_probes is 0"],
    ),
    "a loss of NaN": (with_records(bad_step), ["1 step skipped", "step skipped\n", "loss nan"]),
    "minutes trained again": (with_records(lost_minutes), ["4m00s in all", "steps recomputed: 2"]),
    "stages": (lambda run_dir: json_file(run_dir / "stages.json", STAGES), ["8m48s of timed work", "corpus 9.7s"]),
    "interventions": (with_interventions, [
        "3 in all", "1,200 to 1,215", "loss 9 is above 5", "2 documents (books: <b>, code: x.py)", "3, back to 2",
    ]),
    "kept documents": (with_documents, ["<b>first", "long " * 80 + "…", "!third"]),
    "code": (with_records(code_written), ["def read_file(path)::\n    return 1"]),
    "enough targets": (targets(all=2500, books=2500), ["!Held-out tokens scored"]),
    "few targets": (targets(all=400, books=100, code=300), [f"Held-out tokens scored: 400 in all; {FEW} 5% or so."]),
    "few of a source": (targets(all=9000, books=8900, code=100), [f"scored: 100 of code; {FEW} 10% or so."]),
    "few documents": (changed("evaluation.json", num_documents=19), [
        "Of 19 held-out documents alone, too few for an interval: other text may score otherwise.",
    ]),
    "documents enough": (changed("evaluation.json", num_documents=20), ["!too few for an interval"]),
    "little repeated text": (repeated(9, 9), ["!in the training text, too"]),
    "repeated text": (repeated(10, 9), ["1% of the held-out lines are in the training text, too"]),
    "repeated text in a sample": (repeated(500, 8), ["At least 50% of the held-out lines are"]),
    "knowledge": (lambda run_dir: json_file(run_dir / "knowledge.json", KNOWLEDGE), [
        "What each stage changed", "tuned: <script>", "87.8 % (83–91, 279)", "1.410",
    ]),
    "peak of one rank": (with_records(lambda records: [each | {"peak_memory_bytes": 2**30} for each in records]), [
        "memory\n1.07 GB\npeak\n", "Peak so far, at each save; the band is its forecast.",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_picture_shows_these_facts_of_this_run(tmp_path, name):
    change, facts = CASES[name]
    run_dir = write_run(tmp_path, num_steps=8)
    change(run_dir)
    shown = picture(run_dir).text
    for fact in facts:
        assert (fact.removeprefix(NO) in shown) is not fact.startswith(NO), f"{fact!r} in {shown}"


def test_curves_follow_what_the_records_leave(tmp_path):
    run_dir = write_run(tmp_path, num_steps=8)
    with_records(lambda _: [*steps_of(1, 9), *resumed(2, 5, 8)])(run_dir)
    assert picture(run_dir).trace("loss", "each step")[0] == [16_384 * step for step in range(1, 9)]
    with_records(bad_step)(run_dir)
    assert len(picture(run_dir).trace("loss", "each step")[0]) == 7
    with_records(three_peaks)(run_dir)
    assert picture(run_dir).trace("mfu", "each step")[1] == [0.2] * 4 + [0.4] * 4


def test_a_run_that_rewards_train_shows_them_over_its_steps(tmp_path):
    rewarded = [
        {"event": "step", "attempt": 1, "step": step, "reward": step / 10, "kl_to_start": 1} for step in (1, 2, 3)
    ]
    write_records(tmp_path, rewarded)
    found = picture(tmp_path)
    assert found.trace("reward", "each step") == ([1, 2, 3], [0.1, 0.2, 0.3]) and "kl_to_start" in found.charts
    assert found.charts["reward"]["layout"]["xaxis"]["title"]["text"] == "step"


# ---- odd files are no reason to fail


@pytest.mark.parametrize("damage", [b"{", b"[1, 2]", b'{"sources": 3, "splits": [], "reasons": "x"}', b"\xff\xfe"])
def test_damaged_files_are_no_reason_to_fail(tmp_path, damage):
    run_dir = write_run(tmp_path, num_steps=4)
    for path in run_dir.rglob("*.json"):
        path.write_bytes(damage)
    assert "loss" in picture(run_dir).charts


ODD = [None, 3, 0, "x", [], {}, {"all": None}, {"all": 0.0}, [{"prompt": 3}], [{"prompt": []}], [None]]
FIELDS = "bits_per_byte probes samples next parameters device plan tokens_seen seconds time loss signal documents bytes reason"
EVENTS = "start step validation probes samples checkpoint finish stopped skipped rollback else"


def test_records_of_odd_shapes_are_no_reason_to_fail(tmp_path):
    odd_ones = [dict.fromkeys(FIELDS.split(), odd) for odd in ODD]
    records = [{"event": event, "attempt": 1, "step": 1, **odd} for odd in odd_ones for event in EVENTS.split()]
    write_records(tmp_path, records)
    picture(tmp_path)


@pytest.mark.parametrize("odd", [*ODD, {"hours": 3}, {"p10": 1, "p50": "x"}, [{"p10": 1}]])
def test_a_forecast_of_odd_shape_is_no_reason_to_fail(tmp_path, odd):
    run_dir = write_run(tmp_path, num_steps=6)
    for shape in (odd, dict.fromkeys(forecast(), odd), forecast() | {"loss_unit": odd, "made_at": odd}):
        json_file(run_dir / "forecast.json", shape)
        picture(run_dir)


@pytest.mark.parametrize("name", ["samples", "text", "x"])
def test_a_text_of_any_length_is_cut(tmp_path, name):
    run_dir = write_run(tmp_path, num_steps=6)
    json_file(run_dir / "evaluation.json", evaluation(6) | {"baselines": {name * 10**6: 2.0}})
    found = picture(run_dir)
    assert len(found.text) < 200_000 and "more characters)" in found.text
