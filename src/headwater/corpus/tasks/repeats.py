"""Which lines are cut from which pages, and which documents share passages: a task counts some ranges of keys, twice.

First how many of the pages that stay have each; then which pages have those of which there are enough. What is held
are the keys of the range, never their places.

The lines that a site's pages share are searched for two times: before near duplicates are compared, so that pages
aren't called copies for a notice that goes (tasks.pages); and after, since the lines of a page that had copies belong
to no other page once those are gone.

A long document's passages are cut by what they say (corpus.read.sections), wherever they stand in it. Documents that
stay and have one in common, such as what is left of two editions, are trained on: what is held out stands nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from headwater.corpus.tasks.arrays import ArrayFile, together
from headwater.corpus.tasks.decisions import KEPT, decisions_of
from headwater.corpus.tasks.exact import copy_flags
from headwater.corpus.tasks.results import ResultWriter
from headwater.corpus.tasks.runs import SLICE_ROWS, KeyRange, SortedRun, cut_keys
from headwater.corpus.tasks.segments import LINES, PASSAGES, SITES, Flags, Segment, Segments
from headwater.corpus.tasks.work import Task, Work
from headwater.corpus.tasks.worker_context import WorkerContext

CUTS = np.dtype([("document", "<u8"), ("key", "<u8")])
MOST_SHARING = 8  # documents that have a passage in common: more have a notice or a form, which ties nothing


@dataclass(frozen=True, slots=True)
class RepeatSearch:
    """A search of three: the documents whose flag is 0 count."""

    stage: str
    flags: Callable[[Work], Flags]
    table: str = LINES

    @property
    def facts(self) -> str:
        return f"sites-{self.stage}"


COMMON_LINES = RepeatSearch("common_lines", copy_flags)
REPEATS = RepeatSearch("repeats", decisions_of)
SHARED = RepeatSearch(PASSAGES, decisions_of, PASSAGES)


def num_tasks_of(num_rows: int) -> int:
    return len(cut_keys(num_rows)) if num_rows else 0


def count_pages(work: Work, segments: Segments, search: RepeatSearch) -> None:
    """Write how many of the documents that stay are in each site: a few bytes a site."""
    if work.is_done(Task(search.facts)):
        return
    flags = search.flags(work)
    files = ((segment, segments.arrays(segment)) for segment in segments)
    keys, counts, _ = _counts(_sites_of(segment, file, flags) for segment, file in files if SITES in file)
    with work.new_output(Task(search.facts)) as output:
        output.write_arrays({"key": keys, "count": counts})


def _sites_of(segment: Segment, file: ArrayFile, flags: Flags) -> np.ndarray:
    sites = file.map(SITES)
    chosen = sites[(sites != 0) & (flags.between(segment.start, segment.end) == KEPT)]
    return np.stack([chosen, chosen, chosen])


def find_repeats(context: WorkerContext, number: int, search: RepeatSearch) -> None:
    """Do a task: write the documents and keys of the lines that are cut, or of the passages that documents share."""
    flags = search.flags(context.work)
    with context.work.new_output(Task(search.stage, number)) as output:
        writer = ResultWriter(output, CUTS)
        for each in cut_keys(context.segments.num_keys(search.table))[number]:
            rows = partial(_rows, context.runs, each, flags, search.table)
            keys, counts, sites = _counts(rows())
            for numbers, hashes in _having(rows(), keys[_is_found(context, search, counts, sites)]):
                writer.add(numbers, hashes)
        writer.close()


def _is_found(context: WorkerContext, search: RepeatSearch, counts: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """Return of which keys a search makes something, by how many documents have each, and the site of those."""
    if search.table == PASSAGES:
        return (counts > 1) & (counts <= MOST_SHARING)
    assert context.boilerplate is not None
    file = context.work.arrays_of(search.facts)
    num_pages = file.map("count")[np.searchsorted(file.map("key"), sites)]
    return counts >= context.boilerplate.least(num_pages)


def _rows(runs: Iterable[SortedRun], keys: KeyRange, flags: Flags, table: str = LINES) -> Iterator[np.ndarray]:
    """Yield, run by run and slice by slice, key, document and last field of the rows of documents that stay."""
    for run in runs:
        for rows in run.slices(table, keys):
            numbers = run.numbers(rows)
            stays = flags.of(numbers) == KEPT
            yield np.stack([rows["key"][stays], numbers[stays], rows[(rows.dtype.names or ())[-1]][stays]])


def _counts(pieces: Iterator[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every key, how many documents have it, and the site that they are in."""
    known = np.empty((3, 0), dtype=np.uint64)

    def most_waiting() -> int:
        return known.shape[1] // 2 + SLICE_ROWS

    counted = (np.stack([keys, np.ones_like(keys), sites]) for keys, _, sites in pieces)
    for rows in together(counted, most_waiting):
        known = _summed(np.concatenate([known, rows], axis=1))
    return known[0], known[1].astype(np.int64), known[2]


def _summed(rows: np.ndarray) -> np.ndarray:
    """Return keys, counts and sites with one row a key."""
    keys, counts, sites = rows
    unique, first, places = np.unique(keys, return_index=True, return_inverse=True)
    # sums of 64-bit floats are exact up to 2**53 documents
    return np.stack([unique, np.bincount(places, counts, len(unique)).astype(np.uint64), sites[first]])


def _having(pieces: Iterator[np.ndarray], frequent: np.ndarray) -> Iterator[np.ndarray]:
    """Yield document and key of the rows that have one of these keys, which are sorted."""
    for keys, numbers, _ in pieces:
        at = np.searchsorted(frequent, keys)
        is_frequent = (at < len(frequent)) & (np.append(frequent, 0)[at] == keys)
        yield np.stack([numbers[is_frequent], keys[is_frequent]])


def cuts_by_document(pieces: Iterable[np.ndarray]) -> dict[int, set[int]]:
    """Return the keys of what is cut, for each document that loses something."""
    cuts: dict[int, set[int]] = {}
    for rows in pieces:
        for document, key in rows.tolist():
            cuts.setdefault(document, set()).add(key)
    return cuts
