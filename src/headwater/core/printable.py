"""What a model says, made safe to show."""

from __future__ import annotations

import unicodedata


def printable(text: str, keep: str = "") -> str:
    r"""Return `text` with every character that could steer a terminal or hide text as an escape (\x1b, \n, \u202e).

    A model may write any character, those of terminal commands and of right-to-left overrides included. `keep` lists
    characters to leave alone: "\n\t" for text of many lines.
    """
    return "".join(
        character if character in keep or not _steers(character) else character.encode("unicode_escape").decode()
        for character in text
    )


_JOINERS = "\u200c\u200d\u00ad"  # format characters that ordinary text needs: Persian, Hindi, emoji, soft hyphens


def _steers(character: str) -> bool:
    # control, format, surrogate, line separator, paragraph separator
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS
