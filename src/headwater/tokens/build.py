"""Encode a corpus: one store for every split and source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import StorageError, StoreError, storage_errors
from headwater.core.files import (
    create,
    digest_json,
    discard,
    flush,
    new_folder,
    read_manifest_or_none,
    share_file,
    write_json,
)
from headwater.core.manifests import seal
from headwater.core.numbers import plural, size
from headwater.core.owners import require_owner
from headwater.core.task_output import TaskOutput
from headwater.corpus.load import SPLITS, place_of_shards, read_corpus_manifest
from headwater.corpus.sources.settings import REPLAYED, EngineSettings
from headwater.tokens.encode import ENCODE, TOKENIZER
from headwater.tokens.format import BLOCK_BYTES, COUNTS, MAX_SHARD_TOKENS, TOKENS_FORMAT, TOKENS_VERSION
from headwater.tokens.read import open_stores
from headwater.tokens.tokenizer.tokenizer import Tokenizer
from headwater.tokens.work import ShardGroup, ShardTasks, begin_work, end_work, engine_of, groups_of, write
from headwater.tokens.write import write_manifest

_LAYOUT = "4"  # raise it when what tasks write is laid out differently: work that an older version began is removed


@dataclass(frozen=True)
class Replayed:
    """The tokens of another run that are read again beside a run's own.

    By their names here: the weight of each store, and those whose text a program composed.
    """

    tokens_dir: Path
    weights: dict[str, float]
    synthetic: list[str]


def build_tokens(
    corpus_dir: Path,
    tokenizer_dir: Path,
    out_dir: Path,
    key: str,
    say: Callable[[str], None],
    replayed: Replayed | None = None,
    engine: EngineSettings | None = None,
) -> dict[str, Any]:
    """Write the stores of every split and source of the corpus and return the manifest over all of them.

    What a build of the same key that was interrupted had encoded is not encoded again. Stores that are `replayed` are
    verified and copied: a second name for a file would change the first one's times. Raises StoreError where they are
    of another tokenizer.
    """
    corpus, tokenizer = read_corpus_manifest(corpus_dir), Tokenizer.load(tokenizer_dir)
    sizes = [of_source["bytes"] for of_split in corpus["splits"].values() for of_source in of_split.values()]
    say(f"encoding {size(sum(sizes))}")
    engine, groups = engine or EngineSettings(), groups_of(corpus_dir, *SPLITS)
    given = {"corpus": place_of_shards(corpus_dir), "vocab_size": tokenizer.vocab_size}
    given |= {"markers": asdict(tokenizer.markers), "shard_tokens": MAX_SHARD_TOKENS}
    work = begin_work(out_dir, key, f"{_LAYOUT}-{MAX_SHARD_TOKENS}", engine)
    tasks = ShardTasks(*work, "headwater.tokens.encode:tasks_of_tokens", given)
    _share_tokenizer(tasks, tokenizer_dir)
    with engine_of(engine, tasks, groups) as doers:
        tasks.do_all(doers, ENCODE, [group.given() for group in groups], say)
    require_owner(out_dir)  # one that took over may have removed what was encoded
    stores = _shards_by_store(tasks, groups, corpus)
    for (split, source), shards in stores.items():
        of_both = sum(corpus["splits"][each][source]["documents"] for each in SPLITS)
        is_cut = split != "train" and of_both > corpus["sources"][source]["kept"]["documents"]
        say(_summary(split, source, [facts for _, facts in shards], is_cut))
    for output in tasks.outputs(ENCODE):
        _flush(output)  # by itself: one that can't be flushed must not be found again
    with new_folder(out_dir, replace=True) as folder:
        splits: dict[str, dict[str, Any]] = {split: {} for split in SPLITS}
        for (split, source), shards in stores.items():
            store_dir, names = folder / split / source, (tokenizer.vocab_size, tokenizer.digest)
            named = [facts | {"name": f"{number:05d}"} for number, (_, facts) in enumerate(shards)]
            splits[split][source] = _facts(write_manifest(store_dir, named, *names, tokenizer.markers))
            for (output, facts), new in zip(shards, named, strict=True):
                for kind in facts["files"]:
                    share_file(output.folder / f"{facts['name']}.{kind}", store_dir / f"{new['name']}.{kind}")
        again = {} if replayed is None else _copy_replayed(replayed, tokenizer, folder, splits)
        manifest = {
            "format": TOKENS_FORMAT,
            "format_version": TOKENS_VERSION,
            "key": key,
            "digest": digest_json(splits),
            "tokenizer": tokenizer.digest,
            "vocab_size": tokenizer.vocab_size,
            "splits": splits,
            **again,
        }
        write_json(folder / "manifest.json", seal(manifest))
    end_work(out_dir, tasks)
    return manifest


def _share_tokenizer(tasks: ShardTasks, folder: Path) -> None:
    """Put the files of a tokenizer where all who do tasks find them."""
    path = tasks.folder / TOKENIZER
    if not tasks.place.is_whole(path):
        tasks.place.remove(path)
        with tasks.place.new(path, TaskOutput) as output:
            for file in sorted(folder.iterdir()):
                write(output, file.name, [file.read_bytes()])


def _shards_by_store(
    tasks: ShardTasks, groups: list[ShardGroup], corpus: dict[str, Any]
) -> dict[tuple[str, str], list[tuple[TaskOutput, dict[str, Any]]]]:
    """Return the shards of every split and source, each with the output that it is in.

    They hold all of its texts: raises StoreError where they don't.
    """
    stores = {
        (split, source): list[tuple[TaskOutput, dict[str, Any]]]()
        for split in SPLITS
        for source in sorted(corpus["sources"])
    }
    for group, output in zip(groups, tasks.outputs(ENCODE), strict=True):
        stores[group.split, group.source] += [(output, facts) for facts in output.facts["shards"]]
    for (split, source), shards in stores.items():
        wanted = corpus["splits"][split][source]
        found = {unit: sum(facts[f"num_{unit}"] for _, facts in shards) for unit in ("documents", "bytes")}
        if found != {unit: wanted[unit] for unit in found}:
            raise StoreError(
                f"of {split} {source} {found} were encoded, where the corpus has {wanted}; the corpus or the work "
                "beside the tokens was changed meanwhile: give the same command again"
            )
    return stores


def _flush(output: TaskOutput) -> None:
    """Flush the files of a shard to the device; one that can't be isn't trusted again."""
    try:
        with storage_errors(output.folder):
            flush(output.folder / name for name in output.digests)
    except StorageError:
        # the system says it once: asked again, it would call bytes flushed that it has given up
        discard(output.folder)
        raise


def _copy_replayed(
    replayed: Replayed, tokenizer: Tokenizer, folder: Path, splits: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Copy the stores of another run and add them to `splits`; return what the manifest says of it."""
    for split in SPLITS:
        stores = open_stores(replayed.tokens_dir, split)
        for name in replayed.weights:
            store = stores.get(name.removeprefix(REPLAYED))
            if store is None:  # none of its documents is in this split
                continue
            if store.tokenizer_digest != tokenizer.digest:
                raise StoreError(f"{store.folder} is of another tokenizer, so that its text can't be replayed")
            for path in sorted(store.folder.iterdir()):
                with open(path, "rb") as file, create(folder / split / name / path.name) as copy:
                    shutil.copyfileobj(file, copy, BLOCK_BYTES)
            splits[split][name] = _facts(store.manifest)
    digest = read_manifest_or_none(replayed.tokens_dir)["digest"]
    return {"replayed": {"digest": digest, "weights": replayed.weights, "synthetic": replayed.synthetic}}


def _facts(store: dict[str, Any]) -> dict[str, Any]:
    # the ids that stand for text: begin and end carry no byte
    num_text_tokens = store["num_tokens"] - 2 * store["num_documents"]
    targets = sum(shard.get("num_targets", 0) for shard in store["shards"])
    return {
        "digest": store["digest"],
        "num_documents": store["num_documents"],
        "num_tokens": store["num_tokens"],
        "num_bytes": store["num_bytes"],
        # the bytes of a conversation are those of JSON
        "bytes_per_token": round(store["num_bytes"] / num_text_tokens, 4) if num_text_tokens and not targets else None,
        **({"num_targets": targets} if targets else {}),
    }


def _summary(split: str, source: str, shards: list[dict[str, Any]], is_cut: bool) -> str:
    """Return what was encoded; `is_cut`: of a document whose beginning is in another split."""
    num_documents, num_tokens, num_bytes = (sum(shard[name] for shard in shards) for name in COUNTS)
    rate = num_bytes / max(num_tokens - 2 * num_documents, 1)
    documents = "the end of one of them" if is_cut else plural(num_documents, "document")
    return f"{split} {source}: {documents}, {num_tokens:,} tokens, {rate:.2f} bytes a token"
