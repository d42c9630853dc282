"""Digests of the raw inputs, so that a corpus is built again when, and only when, something it reads has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import xxhash

from headwater.core.code import digest_code
from headwater.core.errors import ConfigError, DataError
from headwater.core.files import digest_file, read_manifest_or_none, stage_key
from headwater.corpus.contents import FileContents, content_of
from headwater.corpus.load import corpus_of, read_corpus_manifest
from headwater.corpus.measures.language import model_file, model_is_installed
from headwater.corpus.read.files import source_files
from headwater.corpus.read.walk import find_files
from headwater.corpus.sources.own_code import FORMATS_GROUP, MEASURES_GROUP
from headwater.corpus.sources.settings import CorpusSettings

CODE_VERSION = 28  # raise it when the same settings and inputs give other documents: old corpora are then built again
_SHOWN_FILES = 3
_BY_DIGEST = ("formats", "blocked_hosts", "blocked_urls")  # files that are inputs: what is in them decides


def corpus_key(settings: CorpusSettings, inputs: dict[str, str]) -> str:
    """Return the key under which a corpus made from these settings and inputs is up to date."""
    table = deciding(settings)
    table["order"] = list(settings.sources)  # which copy of a duplicate is kept depends on it; digests sort keys
    return stage_key("corpus", CODE_VERSION, table, inputs)


def deciding(settings: CorpusSettings) -> dict[str, Any]:
    """Return the settings that decide what is in a corpus: not who does the work, what may be missing, or estimates."""
    excluded: dict[str, Any] = {"engine": True, "sources": {"__all__": {"requires_all", "num_tokens"}}}
    excluded["measures"] = {"__all__": {"class_", "model"}}
    return settings.model_dump(mode="json", exclude=excluded | dict.fromkeys(_BY_DIGEST, True))


def corpus_inputs(settings: CorpusSettings, contents: FileContents | None = None) -> dict[str, str]:
    """Return the digest of every source's raw inputs, the names and the content of its files, and of models used on it.

    No file is read of which `contents` has no digest: size and time stand for what is in it, until a build has read it.
    What is kept out of the corpus is an input, too: `decontaminate:NAME` is the digest of an evaluation set.
    Raises DataError for a path that doesn't exist.
    """
    contents = contents or FileContents()
    digests = {name: _source_digest(name, settings, contents) for name in settings.sources} | quality_inputs(settings)
    for name in settings.dedup.earlier:
        manifest = read_corpus_manifest(corpus_of(Path(name)))
        digests[f"(earlier {name})"] = f"{manifest['key']} {manifest['digest']}"
    kept_out = settings.decontaminate
    if kept_out is None:
        return digests
    sets = ((name, find_files(paths, f"corpus.decontaminate.sets.{name}")) for name, paths in kept_out.sets.items())
    return digests | {f"decontaminate:{name}": _files_digest(found, content_of) for name, found in sets}


def changed_inputs(settings: CorpusSettings, corpus_dir: Path, inputs: dict[str, str]) -> dict[str, str]:
    """Return in words, by name, which sources differ from those that a corpus was built from.

    A corpus keeps one digest a source; the files named are those of it that were written after the corpus.
    """
    manifest = corpus_dir / "manifest.json"
    before = read_manifest_or_none(corpus_dir).get("inputs") or {}
    built_at, changed = manifest.stat().st_mtime, {}
    for name in [name for name in {**before, **inputs} if before.get(name) != inputs.get(name)]:
        files = source_files(name, settings) if name in settings.sources else ()
        newer = [file.origin for file in files if not file.skipped and _is_newer(file.path, built_at)]
        more = f", {len(newer) - _SHOWN_FILES} more" if len(newer) > _SHOWN_FILES else ""
        changed[name] = f"{name} ({', '.join(newer[:_SHOWN_FILES])}{more})" if newer else name
    return changed


def _is_newer(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime > moment
    except OSError:
        return False


def _source_digest(name: str, settings: CorpusSettings, contents: FileContents) -> str:
    # what is skipped by its name decides nothing: an editor may leave a hidden file at any time
    listed = ((file.path, file.origin) for file in source_files(name, settings) if not file.skipped)
    return _files_digest(listed, partial(contents.of, name))


def quality_inputs(settings: CorpusSettings) -> dict[str, str]:
    """Return the digests of what the steps read beside the sources: corpora made with others are not the same."""
    own = (("format", settings.formats, FORMATS_GROUP), ("measure", settings.measures, MEASURES_GROUP))
    inputs = dict[str, str]()
    for what, chosen, group in own:
        for name, each in chosen.items():
            if path := getattr(each, "model", None):
                inputs[f"({what} {name})"] = _model_digest(f"corpus.{what}s.{name}.model", Path(path))
                continue
            try:
                inputs[f"({what} {name})"] = digest_code(each.class_, Path(), group)
            except ConfigError as error:
                raise ConfigError(f"corpus.{what}s.{name}: {error}") from error
    for name in ("blocked_hosts", "blocked_urls"):
        files = [(Path(path), Path(path).name) for path in getattr(settings, name) or ()]
        if missing := [path for path, _ in files if not path.is_file()]:
            raise DataError(f"corpus.{name}: there is no file {missing[0]}; correct it")
        inputs |= {f"({name})": _files_digest(files, content_of)} if files else {}
    if settings.licences is not None:
        from headwater.corpus.licences.texts import patterns_version  # of few corpora

        inputs["(licence patterns)"] = patterns_version()
    if settings.languages is not None or model_is_installed():  # without it the rules know fewer languages
        inputs["(language model)"] = digest_file(model_file())
    return inputs


def _model_digest(setting: str, path: Path) -> str:
    """Return the digest of a model, on which depends what is dropped: of a file, or of a folder of them."""
    files = [(path, "")] if path.is_file() else _data_files(path)
    if not files:
        raise DataError(f"{setting}: there is no model {path}; correct it")
    return _files_digest(files, content_of)


def _data_files(folder: Path) -> list[tuple[Path, str]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return [(path, path.relative_to(folder).as_posix()) for path in files]


def _files_digest(files: Iterable[tuple[Path, str]], content: Callable[[Path, str], str]) -> str:
    digest = xxhash.xxh3_128()
    for path, origin in files:
        digest.update(f"{origin}\0{content(path, origin)}\0".encode())
    return f"xxh3:{digest.hexdigest()}"
