"""Which paragraphs and lines are cut from which documents: a task counts one range of one rule's hashes, twice.

First how many of the documents that stay have each; then, in the order of the documents, those after the first few.
What is held are the hashes of the range that occur often enough, never their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headwater.corpus.tasks.bench import Bench
from headwater.corpus.tasks.fates import KEPT, fates_of
from headwater.corpus.tasks.ranges import KeyRange, num_ranges
from headwater.corpus.tasks.segments import Segment, Segments
from headwater.corpus.tasks.work import Output, Task, Work

_CUTS_A_FILE = 1 << 20
_FACTS = "groups"
_NO_ROWS = np.empty((2, 0), dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class RepeatTask:
    """The hashes `keys` of the units of the rule at place `rule`."""

    rule: int
    keys: KeyRange


def repeat_tasks(segments: Segments) -> list[RepeatTask]:
    return [
        RepeatTask(rule, KeyRange(index, count))
        for rule, num_units in enumerate(segments.num_units)
        for count in [num_ranges(num_units)]
        for index in range(count)
    ]


def count_groups(work: Work, segments: Segments) -> None:
    """Write, for every rule, how many of the documents that stay are in each of its groups: a few bytes a group."""
    if work.has_facts(_FACTS):
        return
    fates = fates_of(work)
    arrays: dict[str, np.ndarray] = {}
    for rule in range(len(segments.num_units)):
        keys, counts, _ = _counts(_groups_of(segment, segments, rule, fates) for segment in segments)
        arrays |= {f"group{rule}.key": keys, f"group{rule}.count": counts}
    with work.new_facts(_FACTS) as output:
        output.write_arrays(arrays)


def _groups_of(segment: Segment, segments: Segments, rule: int, fates: np.ndarray) -> np.ndarray:
    groups = segments.arrays(segment).map(f"unit{rule}.group")
    chosen = groups[(groups != 0) & (fates[segment.start : segment.end] == KEPT)]
    return np.stack([chosen, chosen, chosen])


def find_repeats(bench: Bench, number: int) -> None:
    """Do a task: write the documents and hashes of the units that are cut, in the order of the documents."""
    task = repeat_tasks(bench.segments)[number]
    rule = bench.repeat_rules[task.rule]
    keys, counts, groups = _counts(_rows(bench, task))
    least = rule.least(_sizes(bench.work, task.rule, groups))
    frequent = keys[(counts >= least) & (counts > rule.keep)]
    with bench.work.new_output(Task("repeats", number)) as output:
        waiting, num_files = [_NO_ROWS], 0
        for cuts in _cuts(_rows(bench, task), frequent, rule.keep):
            waiting.append(cuts)
            if sum(each.shape[1] for each in waiting) > _CUTS_A_FILE:
                _write_cuts(output, num_files, waiting)
                waiting, num_files = [_NO_ROWS], num_files + 1
        _write_cuts(output, num_files, waiting)
        output.facts = {"files": num_files + 1}


def _sizes(work: Work, rule: int, groups: np.ndarray) -> np.ndarray:
    """Return how many documents each of `groups` has; group 0 has none."""
    file = work.arrays(_FACTS)
    known, counts = np.append(file.map(f"group{rule}.key"), 0), np.append(file.map(f"group{rule}.count"), 0)
    at = np.searchsorted(known[:-1], groups)
    return np.where(known[at] == groups, counts[at], 0)


def _rows(bench: Bench, task: RepeatTask) -> Iterator[np.ndarray]:
    """Yield, segment by segment, key, document and group of the units of documents that stay, sorted by key."""
    fates = fates_of(bench.work)
    for segment in bench.segments:
        file = bench.segments.arrays(segment)
        place = task.keys.slice_of(file, f"unit{task.rule}.key")
        at = file.map(f"unit{task.rule}.at")[place]
        numbers = at.astype(np.uint64) + np.uint64(segment.start)
        stays = fates[numbers] == KEPT
        keys, groups = file.map(f"unit{task.rule}.key")[place], file.map(f"unit{task.rule}.group")[at]
        yield np.stack([keys[stays], numbers[stays], groups[stays]])


def _counts(segments: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every key, how many documents have it, and the group that they are in."""
    known = np.empty((3, 0), dtype=np.uint64)
    waiting: list[np.ndarray] = []
    for keys, _, groups in segments:
        waiting.append(np.stack([keys, np.ones_like(keys), groups]))
        if sum(rows.shape[1] for rows in waiting) > known.shape[1] // 2 + 65_536:
            known, waiting = _summed([known, *waiting]), []
    known = _summed([known, *waiting])
    return known[0], known[1].astype(np.int64), known[2]


def _summed(parts: list[np.ndarray]) -> np.ndarray:
    """Return keys, counts and groups with one row a key."""
    keys, counts, groups = np.concatenate(parts, axis=1)
    unique, first, places = np.unique(keys, return_index=True, return_inverse=True)
    # sums of 64-bit floats are exact up to 2**53 documents
    return np.stack([unique, np.bincount(places, counts, len(unique)).astype(np.uint64), groups[first]])


def _cuts(segments: Iterator[np.ndarray], frequent: np.ndarray, keep: int) -> Iterator[np.ndarray]:
    """Yield document and hash of the occurrences after the first `keep` of each frequent hash, by document."""
    seen = np.zeros(len(frequent), dtype=np.int64)
    for hashes, numbers, _ in segments:
        at = np.searchsorted(frequent, hashes)
        is_frequent = np.append(frequent, 0)[at] == hashes
        is_frequent &= at < len(frequent)
        at, hashes, numbers = at[is_frequent], hashes[is_frequent], numbers[is_frequent]
        # documents of one hash stand in a row, in their order: rank counts on from those of earlier segments
        ranks = np.arange(len(at)) - np.searchsorted(at, at) + seen[at]
        seen += np.bincount(at, minlength=len(frequent))
        numbers, hashes = numbers[ranks >= keep], hashes[ranks >= keep]
        order = np.lexsort((hashes, numbers))
        yield np.stack([numbers[order], hashes[order]])


def _write_cuts(output: Output, file: int, cuts: list[np.ndarray]) -> None:
    numbers, hashes = np.concatenate(cuts, axis=1)
    output.write_arrays({"document": numbers, "hash": hashes}, _cut_file(file))


def _cut_file(number: int) -> str:
    return f"cuts-{number:05d}.bin"


def mark_shortened_(marks: np.ndarray, work: Work, segments: Segments) -> None:
    """Set to False the marks of all documents that lose something."""
    for number in range(len(repeat_tasks(segments))):
        for index in range(work.facts_of("repeats", number)["files"]):
            marks[work.arrays_of("repeats", number, _cut_file(index)).map("document")] = False


def cuts_between(work: Work, segments: Segments, start: int, end: int) -> dict[int, dict[int, set[int]]]:
    """Return, for each document in [start, end) that loses something: the place of a rule, and the hashes it cuts."""
    found: dict[int, dict[int, set[int]]] = {}
    for number, task in enumerate(repeat_tasks(segments)):
        for index in range(work.facts_of("repeats", number)["files"]):
            file = work.arrays_of("repeats", number, _cut_file(index))
            documents = file.map("document")
            first, last = np.searchsorted(documents, np.array([start, end], dtype=np.uint64))
            for document, value in zip(documents[first:last].tolist(), file.map("hash")[first:last].tolist()):
                found.setdefault(document, {}).setdefault(task.rule, set()).add(value)
    return found
