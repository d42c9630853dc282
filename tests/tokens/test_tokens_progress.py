from __future__ import annotations

from headwater.tokens.progress import Progress


def test_says_how_far_it_is_how_fast_and_when_it_will_be_done_every_ten_seconds():
    now, said = [0.0], list[str]()
    progress = Progress(100_000_000, said.append, lambda: now[0])
    progress.was_done(20_000_000)  # by an earlier process: it says nothing of the rate
    for now[0] in (4.0, 8.0, 12.0, 16.0, 20.0, 24.0):
        progress.done(4_000_000)
    assert said == ["encoding: 32 of 100 MB, 1.0 MB/s, 1m08s to go", "encoding: 44 of 100 MB, 1.0 MB/s, 56s to go"]


def test_says_nothing_of_what_is_done_at_once_nor_at_its_end():
    now, said = [0.0], list[str]()
    progress = Progress(10_000_000, said.append, lambda: now[0])
    now[0] = 9.0
    progress.done(4_000_000)
    now[0] = 30.0
    progress.done(6_000_000)
    assert said == []
