"""Measures the search for duplicates without texts: what it costs a document as the corpus grows, and its memory.

    python benchmarks/corpus/searching.py                                        # 200 and 800 small segments
    python benchmarks/corpus/searching.py --most-files 1000000                   # the same, nothing merged
    python benchmarks/corpus/searching.py --segments 64 --documents-a-segment 65536 --rows-a-range 262144

The keys of segments are made up, as sifting would write them: one document in twenty is a copy of an earlier one, one
in ten shares half of its bands with one, one paragraph in five is another document's. A segment is small and so are
the ranges of keys, so that files and look-ups stand to each other as in a large corpus; all pairs found count as
similar, since there is no text. Times are of the processor, one process. What single operations cost is measured on
files of a million rows.
"""

from __future__ import annotations

import argparse
import builtins
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from processes import folder_bytes
from reporting import add_output_options, facts, made, markdown_table, publish, say

from headwater.corpus.settings import CorpusSettings
from headwater.corpus.tasks import arrays, exact, fates, found, marks, merge, near, ranges, repeats, splits, verify
from headwater.corpus.tasks.bench import Bench
from headwater.corpus.tasks.found import Found, gathering, list_found, table_of
from headwater.corpus.tasks.marks import Marks, mark_ranges, write_marks
from headwater.corpus.tasks.merge import MergePlan
from headwater.corpus.tasks.run import run_task
from headwater.corpus.tasks.runs import GATHER, Run
from headwater.corpus.tasks.segments import DIGESTS, KEYS, number_segments, segment_file
from headwater.corpus.tasks.work import Output, Task, Work, begin_work

UNITS_A_DOCUMENT = 4
FILES_OF_MARKS = 1312  # of 22 billion documents
Figures = dict[str, Any]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", default="200,800", help="numbers of segments, with commas")
    parser.add_argument("--documents-a-segment", type=int, default=256)
    parser.add_argument("--rows-a-range", type=int, default=1024)
    parser.add_argument("--bands", type=int, default=3)
    parser.add_argument("--most-files", type=int, default=16, help="that are left when all is merged (16)")
    parser.add_argument("--work", type=Path, metavar="FOLDER")
    add_output_options(parser)
    return parser.parse_args()


def made_up(folder: Path, num_segments: int, num_documents: int, bands: int) -> Bench:
    """Write the work folder of a corpus of as many parts, each of one segment, sifted."""
    (folder / "in").mkdir()
    for part in range(num_segments):
        (folder / "in" / f"{part:06d}.txt").write_bytes(b"x" * 1000)
    dedup = {"num_bands": bands, "paragraphs": {}}
    table = {"sources": {"own": {"paths": [str(folder / "in")]}}, "task_bytes": 1000, "dedup": dedup}
    work = Work(begin_work(folder / "corpus", CorpusSettings.model_validate(table), "sha256:" + "0" * 64))
    assert len(work.plan.parts) == num_segments
    chance = np.random.default_rng(0)
    for part in range(num_segments):
        columns = _segment(chance, part * num_documents, num_documents, bands)
        with work.new_output(Task("sift", part)) as output:
            output.write_arrays(columns, segment_file(0))
            output.facts = {"segments": [num_documents], "units": [num_documents * UNITS_A_DOCUMENT]}
    return Bench(work.folder)


def _segment(chance: np.random.Generator, start: int, count: int, bands: int) -> dict[str, np.ndarray]:
    own, earlier = np.arange(start, start + count), chance.integers(0, start + 1, count)
    kind = chance.random(count)
    digests, at = _hashed(np.where(kind < 0.05, earlier, own), 1), np.arange(count)
    found = {name: chance.integers(0, 2**63, count).astype(np.uint64) for name in ("split_hashes", "text_bytes")}
    order = np.argsort(digests)
    found["exact"] = table_of(DIGESTS, digests[order], digests[order], order)
    for band in range(bands):
        is_shared = (kind < 0.05) | ((kind < 0.15) & (chance.random(count) < 0.5))
        keys = _hashed(np.where(is_shared, earlier, own), 2 + band)
        order = np.argsort(keys)
        found[f"band{band}"] = table_of(KEYS, keys[order], at[order])
    units = np.arange(count * UNITS_A_DOCUMENT) + start * UNITS_A_DOCUMENT
    is_shared = chance.random(len(units)) < 0.2
    keys = _hashed(np.where(is_shared, chance.integers(0, units[0] + 1, len(units)), units), 99)
    order = np.lexsort((at.repeat(UNITS_A_DOCUMENT), keys))
    found["unit0"] = table_of(KEYS, keys[order], at.repeat(UNITS_A_DOCUMENT)[order])
    return found | {"unit0.group": np.zeros(count, dtype=np.uint64)}


def _hashed(values: np.ndarray, salt: int) -> np.ndarray:
    """Return 64-bit hashes of numbers (splitmix64)."""
    mixed = values.astype(np.uint64) + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


class Meter:
    """What each stage took: processor time, files opened, the most memory that the process had for itself meanwhile."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self._opened = 0
        arrays.open = self._open  # type: ignore[attr-defined]

    def _open(self, path: Path, mode: str) -> Any:
        self._opened += 1
        return builtins.open(path, mode)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        watch, opened, before = _Watch(), self._opened, time.process_time()
        yield
        stage = self.stages.setdefault(name, {"seconds": 0.0, "opened": 0, "peak_mib": 0.0})
        stage["seconds"] += time.process_time() - before
        stage["opened"] += self._opened - opened
        stage["peak_mib"] = max(stage["peak_mib"], watch.end())


class _Watch:
    """Looks at this process's memory every few milliseconds."""

    def __init__(self) -> None:
        self._peak, self._is_over = 0.0, threading.Event()
        self._before = _private_mib()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over.wait(0.005):
            self._peak = max(self._peak, _private_mib())

    def end(self) -> float:
        self._is_over.set()
        self._thread.join()
        return self._peak


def _private_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def search(bench: Bench, bands: int, meter: Meter) -> None:
    """Do all between sifting and writing, and the look-ups of those two that need no text."""
    work = bench.work

    def do(stage: str, count: int) -> None:
        with meter.stage(stage):
            for number in range(count):
                run_task(bench, Task(stage, number))

    def gather(stage: str, plan: MergePlan) -> None:
        do(stage, sum(len(plan.tasks(level)) for level in range(1, plan.num_levels + 1)))

    def find(stage: str, count: int) -> None:
        do(stage, count)
        list_found(work, stage, count)
        gather(gathering(stage), Found(work, stage).plan)

    def lead(step: Callable[..., Any], *arguments: Any) -> Any:
        with meter.stage(f"leader: {step.__name__}"):
            return step(work, *arguments)

    lead(number_segments)
    segments = bench.segments
    gather(GATHER, bench.runs.plan)
    find("exact", exact.num_exact_tasks(segments))
    lead(exact.mark_copies, segments)
    find("near", len(near.near_tasks(segments, bands)))
    lead(verify.mark_doubtful, segments)
    parts = lead(verify.parts_to_verify, segments)
    with meter.stage("look-ups of verify"):
        for part in parts:
            _verify_all(bench, part)
    lead(fates.decide_fates, segments, parts)
    lead(repeats.count_groups, segments)
    find("repeats", len(repeats.repeat_tasks(segments)))
    lead(repeats.mark_shortened, segments)
    lead(splits.decide_splits, segments)
    with meter.stage("look-ups of write"):
        decided = fates.fates_of(work)
        for segment in segments:
            repeats.cuts_between(bench.found("repeats"), segment.start, segment.end)
            fates.originals_of(bench, segment, decided)


def _verify_all(bench: Bench, part: int) -> None:
    """Write all pairs of a part as if they were similar."""
    columns = [
        near.pairs_of(bench.found("near"), segment.start, segment.end)[:2]
        for _, segment in bench.segments.of_part(part)
    ]
    later, earlier = (np.concatenate(each) for each in zip(*columns))
    with bench.work.new_output(Task("verify", part)) as output:
        output.write_arrays({"pairs": table_of(near.PAIRS, later, earlier)})


def measure(folder: Path, num_segments: int, arguments: argparse.Namespace) -> Figures:
    bench = made_up(folder, num_segments, arguments.documents_a_segment, arguments.bands)
    before, meter = folder_bytes(folder), Meter()
    search(bench, arguments.bands, meter)
    num_documents = bench.segments.num_documents
    return {
        "segments": num_segments,
        "documents": num_documents,
        "pairs": sum(bench.work.arrays_of("verify", number).num_rows("pairs") for number in range(num_segments)),
        "bytes_added_a_document": (folder_bytes(folder) - before) / num_documents,
        "stages": meter.stages,
    }


def single_costs(folder: Path) -> dict[str, float]:
    """Return what one range of a run costs to open, a row of it, a look-up of what was found, and a million pairs."""
    chance, count, num_runs = np.random.default_rng(0), 1_000_000, 12
    runs = []
    for index in range(num_runs):
        keys = np.sort(chance.integers(0, 2**64, count, dtype=np.uint64))
        arrays.write_arrays(folder / f"run-{index}", {"band0": table_of(KEYS, keys, chance.permutation(count))})
        runs.append(Run(index * count, (index + 1) * count, arrays.ArrayFile(folder / f"run-{index}")))
    for start, end in mark_ranges(num_runs * count):
        write_marks(Output(folder), start, np.zeros(end - start, dtype=np.uint8))
    decided = Marks(folder)

    def range_seconds(num_rows: int) -> float:
        def read(index: int) -> None:
            list(near._rows_of_run(runs[index % num_runs], "band0", ranges.KeyRange(index, count // num_rows), decided))

        return _mean_seconds(read, 600)

    few, many = range_seconds(100), range_seconds(1000)
    documents = np.sort(chance.integers(0, 2**22, count).astype(np.uint64))
    arrays.write_arrays(folder / "found", {found.TABLE: table_of(near.PAIRS, documents, documents)})
    file = arrays.ArrayFile(folder / "found")

    def look_up(index: int) -> None:
        file.between(found.TABLE, index * 999, index * 999 + 64)

    return {
        "microseconds_an_open": (few - (many - few) / 9) * 1e6,
        "microseconds_a_row": (many - few) / 900 * 1e6,
        "microseconds_a_look_up": _mean_seconds(look_up, 2000) * 1e6,
        **_costs_of_marks(folder / "marks"),
    }


def _costs_of_marks(folder: Path) -> dict[str, float]:
    """Return what the leader's decisions and a task's look-up cost with as many files of marks as 100 TB have.

    The files are small, as the documents are few. Those that are decided are the last, so that they are compared with
    documents of every file. A part has 21,000 pairs: that of 100,000 in which one document in ten has one.
    """
    chance, of_file, pairs_a_part, num_parts = np.random.default_rng(0), 1 << 12, 21_000, 50
    folder.mkdir()
    whole, marks.MARKS_A_FILE = marks.MARKS_A_FILE, of_file
    try:
        start = FILES_OF_MARKS * of_file
        for first, end in mark_ranges(start):
            write_marks(Output(folder), first, np.zeros(end - first, dtype=np.uint8))
        decided, parts = Marks(folder), []
        for part in range(num_parts):
            documents = np.sort(chance.integers(0, 20_000, pairs_a_part)) + (start + part * 20_000)
            earlier = documents * chance.random(pairs_a_part)
            parts.append(table_of(near.PAIRS, documents, earlier.astype(np.uint64)))
        fated = bytearray(num_parts * 20_000)

        def decide(_: int) -> None:
            for pairs in fates._together(parts):
                fates._drop_near_(fated, start, pairs, decided)

        def look_up(index: int) -> None:  # the next five files, as a range of a run needs
            numbers = (index * 5 % (FILES_OF_MARKS - 5)) * of_file + np.arange(0, 5 * of_file, 20)
            decided.of(numbers.astype(np.uint64))

        return {
            "seconds_a_million_pairs": _mean_seconds(decide, 1) / num_parts / pairs_a_part * 1e6,
            "microseconds_of_marks_a_range_of_a_run": _mean_seconds(look_up, 2000) * 1e6,
        }
    finally:
        marks.MARKS_A_FILE = whole


def _mean_seconds(do: Callable[[int], Any], times: int) -> float:
    before = time.process_time()
    for number in range(times):
        do(number)
    return (time.process_time() - before) / times


def section(figures: Figures) -> str:
    runs = figures["runs"]
    header = ["stage"] + [f"{run['segments']:,} segments: {what}" for run in runs for what in ("µs", "opens", "MiB")]
    rows = []
    for stage in [*runs[0]["stages"], "all"]:
        row: list[Any] = [stage]
        for run in runs:
            chosen = [run["stages"][stage]] if stage in run["stages"] else list(run["stages"].values())
            count = run["documents"]
            row += [f"{sum(each['seconds'] for each in chosen) / count * 1e6:.2f}"]
            row += [f"{sum(each['opened'] for each in chosen) / count:.3f}"]
            row += [f"{max(each['peak_mib'] for each in chosen):.0f}"]
        rows.append(row)
    single = markdown_table(["", "single operations"], [[name, value] for name, value in figures["single"].items()])
    said = f"A document: processor time, files opened. {made(figures['made'])}"
    return "\n\n".join([markdown_table(header, rows), said, single])


def main() -> int:
    arguments = parse_arguments()
    figures: Figures = {"made": facts(), "most_files": arguments.most_files, "runs": []}
    ranges.ROWS_A_RANGE = near.ROWS_A_RANGE = arguments.rows_a_range
    found.ROWS_A_FILE = min(found.ROWS_A_FILE, 4 * arguments.rows_a_range)
    merge.MOST_FILES = arguments.most_files
    for amount in map(int, arguments.segments.split(",")):
        with tempfile.TemporaryDirectory(prefix="headwater-search-", dir=arguments.work) as folder:
            figures["runs"].append(measure(Path(folder), amount, arguments))
        seconds = sum(stage["seconds"] for stage in figures["runs"][-1]["stages"].values())
        documents = figures["runs"][-1]["documents"]
        say(f"{amount:,} segments: {seconds:,.1f} s, {seconds / documents * 1e6:.1f} µs a document")
    with tempfile.TemporaryDirectory(prefix="headwater-search-", dir=arguments.work) as folder:
        figures["single"] = single_costs(Path(folder))
    publish(figures, section(figures), arguments.json, arguments.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
