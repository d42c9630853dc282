"""What a corpus dropped and why: a readable sample of its dropped/ shards."""

from __future__ import annotations

import json
from heapq import nsmallest
from pathlib import Path
from typing import Any

import xxhash

from headwater.corpus.balance import Amount, commonest_first, merge_
from headwater.corpus.load import read_corpus_manifest, require_whole
from headwater.corpus.shards import read_lines
from headwater.errors import ConfigError


def dropped_sample(corpus_dir: Path, reason: str | None, source: str | None, count: int) -> dict[str, Any]:
    """Return, for each reason, how much was dropped for it and `count` examples that a hash of their ids chose.

    The same corpus gives the same sample; another corpus with some of the same documents gives those again. With
    `reason` or `source`, of that one alone. An example has source, id, origin, bytes and an excerpt, and what else
    the shards say of it. Raises ConfigError for a source that the corpus hasn't or a reason that dropped nothing.
    """
    manifest = read_corpus_manifest(corpus_dir)
    sources = list(manifest["sources"])
    if source is not None and source not in sources:
        raise ConfigError(f"{corpus_dir} has no source {source!r}; it has {', '.join(sources)}")
    sources = sources if source is None else [source]
    amounts: dict[str, Amount] = {}
    for name in sources:
        merge_(amounts, manifest["sources"][name]["dropped"])
    if reason is not None and reason not in amounts:
        found = ", ".join(name for name, _ in commonest_first(amounts)) or "none"
        raise ConfigError(f"nothing was dropped as {reason!r}; reasons here: {found} (docs/corpus.md explains them)")
    reasons = [name for name, _ in commonest_first(amounts)] if reason is None else [reason]
    examples = _examples(corpus_dir, sources, set(reasons), count)
    return {name: {**amounts[name], "examples": examples.get(name, [])} for name in reasons}


def _examples(corpus_dir: Path, sources: list[str], reasons: set[str], count: int) -> dict[str, list[dict[str, Any]]]:
    """Return `count` examples a reason. Of a corpus of any size only those are held."""
    shards = read_corpus_manifest(corpus_dir)["shards"]
    best: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    for name in sources:
        require_whole(corpus_dir, f"dropped/{name}/", shards)
        for line in read_lines(corpus_dir / "dropped" / name):
            value = json.loads(line)
            metadata, key = value["metadata"], f"{value['metadata']['source']}\0{value['id']}"
            if (reason := metadata.pop("reason")) in reasons:
                draw = xxhash.xxh3_64_intdigest(key.encode("utf-8", "backslashreplace"))
                example = {"id": value["id"], **metadata, "excerpt": value["text"]}
                best[reason] = nsmallest(
                    count, [*best.get(reason, []), (draw, key, example)], key=lambda each: each[:2]
                )
    return {reason: [example for _, _, example in examples] for reason, examples in best.items()}
