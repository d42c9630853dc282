"""Reads a corpus folder: manifest, sources, documents, samples of what was dropped, and which documents hold a text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from headwater.core.errors import ConfigError, DataError
from headwater.core.files import (
    digest_bytes,
    digest_json,
    hand_over,
    make_folder,
    new_folder,
    read_manifest_or_none,
    remove_folder,
    write_json,
)
from headwater.core.manifests import is_unmade, require_format
from headwater.core.stores import Store, is_address
from headwater.core.task_output import work_folder
from headwater.corpus.balance import Amount, commonest_first, dropped_by_stage, merge_
from headwater.corpus.document import Document
from headwater.corpus.shards import FORMAT, FORMAT_VERSION, parse_document, read_shard

if TYPE_CHECKING:  # whoever reads a corpus builds none
    from headwater.corpus.tasks.work import Work

DROPPED = "dropped/"

_SETTING = "the store of the corpus"
FINDINGS = ("kept_by", "decontamination", "redaction", "licences_not_allowed")
CONTEXT_CHARACTERS = 80


def failed_build_folder(corpus_dir: Path) -> Path:
    return corpus_dir.with_name(f".{corpus_dir.name}-failed-build")


def has_failed(corpus_dir: Path) -> bool:
    """Return whether the last build kept too little for a corpus, whatever an earlier one made."""
    return bool(read_manifest_or_none(failed_build_folder(corpus_dir)))


def write_corpus(
    work: Work, folder: Path, manifest: dict[str, Any], beside: Iterable[str] = (), beginning: str = ""
) -> dict[str, Any]:
    """Link what the slices wrote, under names with this beginning, into a folder; write and return the manifest.

    Of work in a store the shards stay there: they are copied beside it, with the manifest and the files named `beside`.
    """
    written = {
        name: (work.path_of("write", part.number) / name, digest)
        for part in work.plan.parts
        for name, digest in work.digests_of("write", part.number).items()
        if name.startswith(beginning)
    }
    shards = {name: written[name][1] for name in sorted(written)}
    store = work.place.share({name: path for name, (path, _) in written.items()}, folder, f"corpus-{work.folder.name}")
    kept = {name: digest for name, digest in shards.items() if name.startswith(tuple(f"{split}/" for split in SPLITS))}
    manifest = {**manifest, "digest": digest_json(kept), "shards": shards}
    if store is not None:
        manifest["store"] = store.address
    write_json(folder / "manifest.json", manifest)
    for name in (*beside, "manifest.json"):
        if store is not None:
            store.put(folder / name, name)
    return manifest


def write_failed_build(work: Work, corpus_dir: Path, manifest: dict[str, Any]) -> None:
    """Link what was dropped out of the work folder, with the manifest that the corpus would have had."""
    with new_folder(failed_build_folder(corpus_dir), replace=True) as folder:
        write_corpus(work, folder, manifest, beginning=DROPPED)


def remove_failed_build(corpus_dir: Path) -> None:
    """Remove what a build left that kept too little."""
    remove_folder(failed_build_folder(corpus_dir))


def corpus_of(folder: Path) -> Path:
    """Return the folder of the corpus that a run's folder has; a corpus' own is itself."""
    inner = folder / "data" / "corpus"
    return inner if inner.is_dir() else folder


SPLITS = ("train", "validation")


def read_corpus_manifest(corpus_dir: Path, found: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the manifest; DataError when `corpus_dir` isn't a corpus that this version reads, or isn't built yet.

    `found` is what the file holds, where the caller has it.
    """
    if is_unmade(corpus_dir):
        if has_failed(corpus_dir):
            raise DataError(
                f"{corpus_dir} is not there: its last build kept too little text; `headwater corpus show RUN "
                "--dropped` shows what it dropped, and why"
            )
        raise DataError(
            f"{corpus_dir} is not built to its end: what a build has done so far lies beside it; "
            "`headwater corpus build RUN.toml` resumes it"
            if work_folder(corpus_dir).is_dir()
            else f"{corpus_dir} is not built yet; `headwater corpus build RUN.toml` builds it"
        )
    manifest = read_manifest_or_none(corpus_dir) if found is None else found
    require_format(manifest, corpus_dir, FORMAT, FORMAT_VERSION, DataError)
    if outside := [name for name in manifest["sources"] if Path(name).name != name or name in ("", "..")]:
        raise DataError(f"{corpus_dir} names the source {outside[0]!a}, which isn't a folder in it; build it again")
    return manifest


def list_sources(corpus_dir: Path) -> list[str]:
    """Return the names of the sources in the order in which they were read."""
    return list(read_corpus_manifest(corpus_dir)["sources"])


def place_of_shards(corpus_dir: Path) -> str:
    """Return where the shards of a corpus are: the address of a store, or its folder."""
    return str(read_corpus_manifest(corpus_dir).get("store") or corpus_dir.absolute())


def list_shards(corpus_dir: Path, beginning: str) -> dict[str, str]:
    """Return the names of the shards that begin so, in their order, each with its digest."""
    shards: dict[str, str] = read_corpus_manifest(corpus_dir)["shards"]
    return {name: shards[name] for name in sorted(shards) if name.startswith(beginning)}


def shard_lines(place: str, name: str, digest: str) -> Iterator[bytes]:
    """Yield the lines of a shard, which is read once.

    Raises DataError, before the first, when it isn't what was written: zstd alone lets a flipped bit pass.
    """
    if is_address(place):
        yield from read_shard(BytesIO(Store(place, _SETTING).read_whole(name, digest)))
        return
    path = Path(place) / name
    data = path.read_bytes() if path.is_file() else None
    if data is None or digest_bytes(data) != digest:
        what = "is missing" if data is None else "is damaged: its digest differs from the manifest's"
        raise DataError(f"{path} {what}; delete {place} and build the corpus again")
    yield from read_shard(BytesIO(data))


def files_in(corpus_dir: Path, folder: str) -> list[Path]:
    """Return the paths of all files in a folder of a corpus; those in a store are fetched beside its work."""
    manifest = read_corpus_manifest(corpus_dir)
    if (address := manifest.get("store")) is None:
        return sorted((corpus_dir / folder).glob("*"))
    store = Store(address, _SETTING)
    top = work_folder(corpus_dir) / "fetched" / manifest["digest"].rpartition(":")[2]  # removed by the next build
    shards = list_shards(corpus_dir, f"{folder}/")
    for name in [name for name in shards if not (top / name).is_file()]:
        make_folder((top / name).parent)
        hand_over(top / name, store.read_whole(name, shards[name]))
    return [top / name for name in shards]


def read_documents(corpus_dir: Path, split: str, source: str) -> Iterator[Document]:
    """Yield the documents of a source in a split; DataError for no source, or when it comes to a damaged shard."""
    return map(parse_document, _lines(corpus_dir, split, source))


def _lines(corpus_dir: Path, split: str, source: str) -> Iterator[bytes]:
    if source not in (sources := list_sources(corpus_dir)):
        raise DataError(f"{corpus_dir} has no source {source!r}; it has {', '.join(sources)}")
    place = place_of_shards(corpus_dir)
    for name, digest in list_shards(corpus_dir, f"{split}/{source}/").items():
        yield from shard_lines(place, name, digest)


def find_documents(corpus_dir: Path, split: str, source: str, ids: Collection[str]) -> dict[str, Document]:
    """Return the documents of a source with these ids, by id; those behind the last of them are not parsed."""
    found: dict[str, Document] = {}
    for document in read_documents(corpus_dir, split, source):
        if len(found) == len(ids):
            break
        if document.id in ids:
            found[document.id] = document
    return found


def balance_of(corpus: Path, found: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return {sources, splits, kept_by, …} of a corpus; DataError without one.

    A source has read, kept, dropped (by reason) and stages (the same by stage), in bytes as read; text, as it lies in
    both splits, of which `splits` and `kept_by` are parts; and cleaned_bytes: kept = text + cleaned_bytes.
    """
    manifest = read_corpus_manifest(corpus, found)
    sources, splits = {}, manifest["splits"]
    for name, sheet in manifest["sources"].items():
        text = {unit: sum(counts[name][unit] for counts in splits.values()) for unit in ("documents", "bytes")}
        cleaned_bytes = sheet["kept"]["bytes"] - text["bytes"]
        sources[name] = {**sheet, "cleaned_bytes": cleaned_bytes, "text": text, "stages": dropped_by_stage(sheet)}
    return {"sources": sources, "splits": splits, **{name: manifest[name] for name in FINDINGS if name in manifest}}


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
    best: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
    for name in sources:
        for line in _lines(corpus_dir, "dropped", name):
            value = json.loads(line)
            metadata, key = value["metadata"], f"{value['metadata']['source']}\0{value['id']}"
            if (reason := metadata.pop("reason")) in reasons:
                draw = xxhash.xxh3_64_intdigest(key.encode("utf-8", "backslashreplace"))
                example = {"id": value["id"], **metadata, "excerpt": value["text"]}
                best[reason] = nsmallest(
                    count, [*best.get(reason, []), (draw, key, example)], key=lambda each: each[:2]
                )
    return {reason: [example for _, _, example in examples] for reason, examples in best.items()}


@dataclass(frozen=True)
class Hit:
    """A document that holds a text: `count` occurrences that don't overlap, and an excerpt around the first."""

    split: str
    source: str
    id: str
    origin: str
    count: int
    excerpt: str


def trace(corpus_dir: Path, text: str, ignore_case: bool = False) -> Iterator[Hit]:
    """Yield a hit for every document of both splits in which `text` occurs, exactly but for white space.

    Any run of white space, line ends too, counts as one space; `ignore_case` compares letters as `re.IGNORECASE` does.
    There is no index, which would take several times the corpus: only the documents with the text's longest word are
    parsed. Raises DataError for a text of white space alone.
    """
    wanted = fold(text)
    if not wanted:
        raise DataError('there is no text to find; `headwater corpus trace RUN "some words"` takes some')
    flags = re.IGNORECASE if ignore_case else 0
    exact = re.compile(re.escape(wanted), flags)
    longest = max(wanted.split(" "), key=len)
    likely = re.compile(re.escape(json.dumps(longest, ensure_ascii=False)[1:-1]), flags)  # as a shard has it
    for split in SPLITS:
        for source in list_sources(corpus_dir):
            for line in _lines(corpus_dir, split, source):
                if not likely.search(line.decode()):
                    continue
                document = parse_document(line)
                folded = fold(document.text)
                found = list(exact.finditer(folded))
                if found:
                    excerpt = _excerpt(folded, *found[0].span())
                    yield Hit(split, source, document.id, document.origin, len(found), excerpt)


def fold(text: str) -> str:
    return " ".join(text.split())


def _excerpt(folded: str, first: int, last: int) -> str:
    start, end = max(first - CONTEXT_CHARACTERS, 0), last + CONTEXT_CHARACTERS
    return ("…" if start else "") + folded[start:end] + ("…" if end < len(folded) else "")
