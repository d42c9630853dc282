"""The licence files in an archive, read before its texts: in a tar they may stand behind what they speak of."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import PurePosixPath

from headwater.corpus.document import Document, Drop
from headwater.corpus.read.archive import archive_members, path_skip_reason
from headwater.corpus.read.input import InputFile
from headwater.corpus.read.licence_files import MAX_LICENCE_FILE_BYTES, is_licence_file, stated
from headwater.corpus.read.limits import ReadLimits
from headwater.sources.spdx import UNKNOWN

PASSED_OVER = "passed_over"


def read_archive_licence_files(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield for each licence file a document under its name that has what it says for its text (read.licence_files).

    For each member of a tar that says nothing a drop that counts for nothing: the sandbox gives every answer the same
    time, so that what can be read can be looked through, too, however large the whole is.
    A link says what the licence file says that it leads to; "unknown" where it leads to none. Raises Unusable as
    `read_archive` does.
    """
    said: dict[str, str | None] = {}
    links: list[tuple[str, str]] = []
    for member in archive_members(file, limits, _licence_file_bytes):
        if member.data is None:
            yield file.drop(PASSED_OVER, 0)
            continue
        if member.link_to is not None:
            links.append((member.name, member.link_to))
            continue
        data = member.data
        found = stated(PurePosixPath(member.name).name, data) if isinstance(data, bytes) else UNKNOWN
        said[posixpath.normpath(member.name)] = found
        yield file.drop(PASSED_OVER, 0) if found is None else file.document(found, f"#{member.name}")
    for name, target in links:
        if (found := said.get(target, UNKNOWN)) is not None:
            yield file.document(found, f"#{name}")


def _licence_file_bytes(name: str) -> int | None:
    is_wanted = is_licence_file(PurePosixPath(name).name) and not path_skip_reason(name)
    return MAX_LICENCE_FILE_BYTES if is_wanted else None
