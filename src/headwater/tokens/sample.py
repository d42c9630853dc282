"""The text that a tokenizer is trained on: each task samples some of the corpus' shards, and their samples are merged.

The parts are those that one walk through all text would sample, whoever does the tasks, and in how many processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from headwater.core.task_output import TaskOutput
from headwater.corpus.document import plain_text
from headwater.corpus.engine.tasks import Do
from headwater.corpus.load import list_sources, place_of_shards, read_corpus_manifest
from headwater.corpus.sources.settings import EngineSettings
from headwater.tokens.tokenizer.settings import TokenizerSettings
from headwater.tokens.tokenizer.train import NO_LIMIT, PartSample
from headwater.tokens.work import ShardGroup, ShardTasks, begin_work, doing, end_work, engine_of, groups_of, write

SAMPLE = "sample"
_LAYOUT = "1"  # raise it when what tasks write is laid out differently
_MARGIN = 1.5  # how much more than is wanted the tasks look for at first: what they write is little of a large corpus


@contextmanager
def sampled_corpus(
    corpus_dir: Path,
    settings: TokenizerSettings,
    out_dir: Path,
    key: str,
    say: Callable[[str], None],
    engine: EngineSettings | None = None,
) -> Iterator[dict[str, list[str]]]:
    """Yield the sample of each source's training text for the tokenizer of this key, which will be in `out_dir`.

    What a process that was killed had sampled is not sampled again, until the block ends without an error.
    """
    engine = engine or EngineSettings()
    folder, place = begin_work(out_dir, key, _LAYOUT, engine)
    groups, sizes = groups_of(corpus_dir, "train"), read_corpus_manifest(corpus_dir)["splits"]["train"]
    for doubling in count():
        limits = {
            source: min(round(_MARGIN * 2**doubling * settings.max_bytes / max(size["bytes"], 1) * NO_LIMIT), NO_LIMIT)
            for source, size in sizes.items()
        }
        given = {"corpus": place_of_shards(corpus_dir), "max_bytes": settings.max_bytes, "limits": limits}
        maker = "headwater.tokens.sample:tasks_of_sample"
        tasks = ShardTasks(folder / str(doubling), place, maker, given)
        with engine_of(engine, tasks, groups) as doers:
            tasks.do_all(doers, SAMPLE, [group.given() for group in groups], say)
        samples = {source: PartSample(settings.max_bytes, limits[source]) for source in list_sources(corpus_dir)}
        for group, output in zip(groups, tasks.outputs(SAMPLE), strict=True):
            _merge_(samples[group.source], output)
        # a sample whose limit nothing lowered may have room for more
        if all(limits[source] == NO_LIMIT or sample.limit < limits[source] for source, sample in samples.items()):
            break
    yield {source: sample.parts() for source, sample in samples.items()}
    end_work(out_dir, tasks)


def _merge_(sample: PartSample, output: TaskOutput) -> None:
    sample.limit = min(sample.limit, output.facts["limit"])
    with open(output.folder / "parts.jsonl", "rb") as lines:
        for line in lines:
            sample.add(json.loads(line))


def tasks_of_sample(given: dict[str, Any], on_read: Callable[[int], None], num_cores: int) -> Do:
    """Return what samples some shards of a corpus."""

    def sample(item: dict[str, Any], output: TaskOutput) -> None:
        group = ShardGroup.of(item)
        found = PartSample(given["max_bytes"], given["limits"][group.source])
        for document in group.documents(given["corpus"]):
            found.add(plain_text(document))
            on_read(len(document.text))
        output.facts = {"limit": found.limit}
        write(output, "parts.jsonl", (json.dumps(part).encode() + b"\n" for part in found.parts()))

    return doing(given, lambda tasks: {SAMPLE: sample})
