"""Which paragraphs and lines are cut from which documents: a task counts ranges of one rule's hashes, twice.

First how many of the documents that stay have each; then, in the order of the documents, those after the first few.
What is held are the hashes of the range that occur often enough, never their places.

The lines that a site's pages share are searched for two times: before near duplicates are compared, so that pages
aren't called copies for a notice that goes (tasks.pages); and after, since the lines of a page that had copies belong
to no other page once those are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from headwater.corpus.repeats import RepeatRule
from headwater.corpus.tasks.arrays import ArrayFile, together
from headwater.corpus.tasks.decisions import KEPT, decisions_of
from headwater.corpus.tasks.exact import copy_flags
from headwater.corpus.tasks.flags import Flags
from headwater.corpus.tasks.results import ResultWriter
from headwater.corpus.tasks.runs import SLICE_ROWS, KeyRange, cut_keys
from headwater.corpus.tasks.segments import Segment, Segments
from headwater.corpus.tasks.work import Task, Work
from headwater.corpus.tasks.worker_context import WorkerContext

CUTS = np.dtype([("document", "<u8"), ("key", "<u8"), ("rule", "<u2")])


@dataclass(frozen=True, slots=True)
class RepeatSearch:
    """A search of two: the documents whose flag is 0 count, and the rules by group alone or all of them."""

    stage: str
    flags: Callable[[Work], Flags]
    by_group_alone: bool

    @property
    def facts(self) -> str:
        return f"groups-{self.stage}"


COMMON_LINES = RepeatSearch("common_lines", copy_flags, by_group_alone=True)
REPEATS = RepeatSearch("repeats", decisions_of, by_group_alone=False)


def repeat_tasks(segments: Segments, rules: list[RepeatRule], search: RepeatSearch) -> list[tuple[int, list[KeyRange]]]:
    """Return the tasks: the place of a rule, and ranges of the hashes of its units."""
    return [
        (place, keys)
        for place, (rule, num_units) in enumerate(zip(rules, segments.num_units))
        if rule.is_by_group or not search.by_group_alone
        for keys in cut_keys(num_units)
    ]


def count_groups(work: Work, segments: Segments, search: RepeatSearch) -> None:
    """Write, for every rule, how many of the documents that stay are in each of its groups: a few bytes a group."""
    if work.is_done(Task(search.facts)):
        return
    flags = search.flags(work)
    arrays: dict[str, np.ndarray] = {}
    for rule in range(len(segments.num_units)):
        keys, counts, _ = _counts(_groups_of(segment, segments, rule, flags) for segment in segments)
        arrays |= {f"group{rule}.key": keys, f"group{rule}.count": counts}
    with work.new_output(Task(search.facts)) as output:
        output.write_arrays(arrays)


def _groups_of(segment: Segment, segments: Segments, rule: int, flags: Flags) -> np.ndarray:
    groups = segments.arrays(segment).map(f"unit{rule}.group")
    chosen = groups[(groups != 0) & (flags.between(segment.start, segment.end) == KEPT)]
    return np.stack([chosen, chosen, chosen])


def find_repeats(context: WorkerContext, number: int, search: RepeatSearch) -> None:
    """Do a task: write the documents and keys of the units that are cut."""
    place, ranges = repeat_tasks(context.segments, context.repeat_rules, search)[number]
    rule = context.repeat_rules[place]
    flags = search.flags(context.work)
    with context.work.new_output(Task(search.stage, number)) as output:
        writer = ResultWriter(output, CUTS)
        for each in ranges:
            keys, counts, groups = _counts(_rows(context, place, each, flags))
            least = rule.least(_sizes(context.work.arrays_of(search.facts), place, groups))
            frequent = keys[(counts >= least) & (counts > rule.keep)]
            for numbers, hashes in _cuts(_rows(context, place, each, flags), frequent, rule.keep):
                writer.add(numbers, hashes, np.full(len(numbers), place))
        writer.close()


def _sizes(file: ArrayFile, rule: int, groups: np.ndarray) -> np.ndarray:
    """Return how many documents each of `groups` has; group 0 has none."""
    known, counts = np.append(file.map(f"group{rule}.key"), 0), np.append(file.map(f"group{rule}.count"), 0)
    at = np.searchsorted(known[:-1], groups)
    return np.where(known[at] == groups, counts[at], 0)


def _rows(context: WorkerContext, rule: int, keys: KeyRange, flags: Flags) -> Iterator[np.ndarray]:
    """Yield, run by run and slice by slice, key, document and group of the units of documents that stay.

    Each piece is sorted by key, and one key's documents come in their order.
    """
    for run in context.runs:
        for rows in run.slices(f"unit{rule}", keys):
            numbers = run.numbers(rows)
            groups = rows["group"] if context.repeat_rules[rule].is_by_group else np.zeros_like(numbers)
            stays = flags.of(numbers) == KEPT
            yield np.stack([rows["key"][stays], numbers[stays], groups[stays]])


def _counts(pieces: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every key, how many documents have it, and the group that they are in."""
    known = np.empty((3, 0), dtype=np.uint64)

    def most_waiting() -> int:
        return known.shape[1] // 2 + SLICE_ROWS

    counted = (np.stack([keys, np.ones_like(keys), groups]) for keys, _, groups in pieces)
    for rows in together(counted, most_waiting):
        known = _summed(np.concatenate([known, rows], axis=1))
    return known[0], known[1].astype(np.int64), known[2]


def _summed(rows: np.ndarray) -> np.ndarray:
    """Return keys, counts and groups with one row a key."""
    keys, counts, groups = rows
    unique, first, places = np.unique(keys, return_index=True, return_inverse=True)
    # sums of 64-bit floats are exact up to 2**53 documents
    return np.stack([unique, np.bincount(places, counts, len(unique)).astype(np.uint64), groups[first]])


def _cuts(pieces: Iterator[np.ndarray], frequent: np.ndarray, keep: int) -> Iterator[np.ndarray]:
    """Yield document and hash of the occurrences after the first `keep` of each frequent hash."""
    seen = np.zeros(len(frequent), dtype=np.int64)
    for hashes, numbers, _ in pieces:
        at = np.searchsorted(frequent, hashes)
        is_frequent = np.append(frequent, 0)[at] == hashes
        is_frequent &= at < len(frequent)
        at, hashes, numbers = at[is_frequent], hashes[is_frequent], numbers[is_frequent]
        # documents of one hash stand in a row, in their order: rank counts on from those of earlier pieces
        ranks = np.arange(len(at)) - np.searchsorted(at, at) + seen[at]
        seen += np.bincount(at, minlength=len(frequent))
        yield np.stack([numbers[ranks >= keep], hashes[ranks >= keep]])


def cuts_by_document(pieces: Iterable[np.ndarray]) -> dict[int, dict[int, set[int]]]:
    """Return, for each document that loses something: the place of a rule, and the keys it cuts."""
    cuts: dict[int, dict[int, set[int]]] = {}
    for rows in pieces:
        for document, key, rule in rows.tolist():
            cuts.setdefault(document, {}).setdefault(rule, set()).add(key)
    return cuts
