from __future__ import annotations

import re
from types import SimpleNamespace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.corpus.engine.progress import MIN_DONE, Progress
from headwater.corpus.engine.tasks import Task
from headwater.corpus.tasks.work import GPU_COLUMNS, STAGES


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def progress_of(sizes, missing=None, stage="texts"):
    job = SimpleNamespace(num_bytes_of=lambda task: sizes[task.number])
    tasks = [Task(stage, number) for number in (range(len(sizes)) if missing is None else missing)]
    said, clock = [], Clock()
    return Progress(job, stage, len(sizes), tasks, said.append, clock), said, clock


def test_what_is_left_is_forecast_by_the_bytes_of_the_parts():
    progress, said, clock = progress_of([1_000_000, 1_000_000, 6_000_000])
    clock.now = 5
    progress.done(Task("texts", 0))
    assert said == [], "no more than a line in ten seconds"
    clock.now = 20
    progress.done(Task("texts", 1))
    assert said == ["reading: 2 of 3 tasks, 1m00s to go"]


def test_a_long_task_is_seen_to_go_on():
    progress, said, clock = progress_of([4_000_000_000])
    for seconds in range(25):
        clock.now = float(seconds)
        progress.read(3_000_000)
    assert said == [
        "reading: 0 of 1 tasks, 33 MB read, 3.3 MB/s",
        "reading: 0 of 1 tasks, 63 MB read, 3.1 MB/s",
    ]


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 500) | st.integers(1, 5), min_size=1, max_size=12),
    num_workers=st.integers(1, 4),
    share_read=st.sampled_from([0.0, 0.3, 1.0, 6.0]),
)
@example(sizes=[1, 1, 1, 1, 1, 15], num_workers=1, share_read=1.0)
@example(sizes=[1, 100], num_workers=1, share_read=0.3)
@example(sizes=[2, 100], num_workers=2, share_read=1.0)
def test_the_time_left_is_of_the_size_of_what_is_left(sizes, num_workers, share_read):
    """A megabyte a second and worker; of a byte of the files comes a share of text, in a zip file several."""
    progress, said, clock = progress_of([size * 1_000_000 for size in sizes])
    free_at, ends = [0.0] * num_workers, []
    for size in sizes:
        worker = free_at.index(min(free_at))
        free_at[worker] += size
        ends.append(free_at[worker])
    finish, was_read, forecasts = max(ends), 0.0, []
    for now in sorted({*range(1, int(finish) + 1), *ends}):
        clock.now = now
        running = sum(size - max(min(end - now, size), 0) for size, end in zip(sizes, ends))
        progress.read(int((running - was_read) * share_read * 1e6))
        was_read = running
        for number in [number for number, end in enumerate(ends) if end == now]:
            progress.done(Task("texts", number))
        if said and "to go" in said[-1]:
            forecasts.append((now, seconds_of(said[-1].split(", ")[-1].removesuffix(" to go"))))
        said.clear()
    for now, left in forecasts:
        assert left <= now * (1 / MIN_DONE), "no more than what was done allows to say"
        if share_read == 1.0:
            assert left <= finish - now + 2 + 0.1 * finish, (now, left, finish)


def seconds_of(text):
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", text))


def test_what_was_done_before_is_reported_and_not_counted_again():
    progress, said, clock = progress_of([1_000_000] * 8, missing=[6, 7])
    assert said == ["reading: 6 of 8 tasks were done before"]
    clock.now = 30
    progress.done(Task("texts", 6))
    assert said[1:] == ["reading: 7 of 8 tasks, 30s to go"]


def test_every_stage_is_reported_in_words():
    stages = {*STAGES, GPU_COLUMNS}
    for stage in stages:
        progress, said, clock = progress_of([1, 1], stage=stage)
        clock.now = 20
        progress.done(Task(stage, 0))
        name = said[0].partition(":")[0]
        assert name not in stages and "_" not in name, f"{stage} has no words"
