"""The extractors, each a function from the bytes of a page to its text."""

from __future__ import annotations

from collections.abc import Callable

Extract = Callable[[bytes], str]


def extractors() -> dict[str, Extract]:
    return {"headwater": _headwater, "resiliparse": _resiliparse, "trafilatura": _trafilatura}


def _headwater(page: bytes) -> str:
    from headwater.corpus.read.html import decode, page_text

    return page_text(decode(page))[0]


def _resiliparse(page: bytes) -> str:
    """Its main content, as the command line and DCLM take it."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    return extract_plain_text(bytes_to_str(page, detect_encoding(page)), main_content=True)


def _trafilatura(page: bytes) -> str:
    from trafilatura import extract

    return extract(page) or ""
