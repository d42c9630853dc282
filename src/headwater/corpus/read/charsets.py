"""The charsets of the web: Python's codec for each label, and the one that a text is most likely in."""

from __future__ import annotations

from headwater.corpus.toml_tables import keys_by_word


def detected(data: bytes) -> str:
    """Return the charset that a text is most likely in: that of western Europe where nothing tells."""
    from resiliparse.parse.encoding import detect_encoding

    return codec_of(detect_encoding(data, html5_compatible=False)) or "cp1252"


def codec_of(label: str | None) -> str | None:
    """Return Python's codec for a label; None where there is none, or only one that no page is written in."""
    return keys_by_word("headwater.corpus.read", "encodings").get((label or "").strip().lower())
