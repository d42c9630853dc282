"""The visible words of an AsciiDoc source, as git's documentation is written in it."""

from __future__ import annotations

import re
from pathlib import Path

_INCLUDE = re.compile(r"^include::(\S+)\[\]\s*$")
_CONDITION = re.compile(r"^(ifdef|ifndef|endif)::(\S*)\[(.*)\]\s*$")
_DELIMITER = re.compile(r"^(-{2,}|={4,}|\.{4,}|\*{4,}|_{4,}|\+{4,}|/{4,}|\+|~{4,}|\^{4,})\s*$")
_ATTRIBUTE_LINE = re.compile(r"^(:[\w!-]+:.*|\[[^\]\n]*\]|\[\[[^\]]*\]\]|//[^/].*)\s*$")
_LINK = re.compile(r"\b(?:linkgit|link|xref|https?)(?::\S*?)\[([^\]]*)\]")
_LINKGIT = re.compile(r"linkgit:([\w-]+)\[(\d)\]")
_CROSS = re.compile(r"<<[\w-]+,([^>]*)>>")
_BACKEND = {"git-asciidoc-no-roff", "asciidoc", "backend-xhtml11"}
_VALUES = {
    "asterisk": "*",
    "plus": "+",
    "caret": "^",
    "startsb": "[",
    "endsb": "]",
    "tilde": "~",
    "apostrophe": "'",
    "backtick": "`",
    "litdd": "--",
    "backslash": "\\",
}


def visible_words(path: Path) -> str | None:
    """Return the text that a page made from `path` shows; None where a file that it includes isn't shipped."""
    lines = _lines(path, 0)
    if lines is None:
        return None
    text = "\n".join(lines)
    text = re.sub(r"\{(\w+)\}", lambda match: _VALUES.get(match[1], match[0]), text)
    text = _LINKGIT.sub(r"\1(\2)", text)
    text = _CROSS.sub(r"\1", text)
    return _LINK.sub(lambda match: match[1] or match[0], text)


def _lines(path: Path, level: int) -> list[str] | None:
    kept: list[str] = []
    shown = [True]
    in_comment = False
    for line in path.read_text(encoding="utf-8").split("\n"):
        if condition := _CONDITION.match(line):
            word, name, inline = condition.groups()
            is_set = any(each in _BACKEND for each in re.split("[,+]", name))
            if word == "endif":
                shown = shown[:-1] or [True]
            elif inline:
                kept += [inline] if is_set == (word == "ifdef") else []
            else:
                shown.append(shown[-1] and is_set == (word == "ifdef"))
            continue
        if re.match(r"^/{4,}\s*$", line):
            in_comment = not in_comment
        if not shown[-1] or in_comment or _DELIMITER.match(line) or _ATTRIBUTE_LINE.match(line):
            continue
        if include := _INCLUDE.match(line):
            target = path.parent / include[1]
            found = _lines(target, level + 1) if target.is_file() and level < 5 else None
            if found is None:
                return None
            kept += found
            continue
        kept.append(line)
    return kept
