"""XML as events, by expat, with what makes a small file large refused: entities of the file's own, endless depth."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.entities import html5
from xml.parsers import expat

from headwater.corpus.read.limits import Unusable

MAX_DEPTH = 300
_ROOT = re.compile(
    rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>\s*)*<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)",
    re.DOTALL,
)


def root_of(head: bytes) -> str:
    """Return the name of the root, without its prefix; raises Unusable(not_xml) where there is none in sight."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "replace").encode()
    found = _ROOT.match(head.removeprefix(b"\xef\xbb\xbf"))
    if found is None:
        raise Unusable("not_xml")
    return found[1].decode().lower()


class XmlEvents:
    """Calls back for each start, end and text of a document, names without namespace prefixes.

    What declares entities is refused before any is used. Names that HTML knows (&nbsp;) give their character.
    """

    def __init__(
        self,
        start: Callable[[str, dict[str, str]], None],
        end: Callable[[str], None],
        text: Callable[[str], None],
    ) -> None:
        self._start, self._end, self._text = start, end, text
        self._depth = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.UseForeignDTD(True)  # then a name that isn't declared is passed over, not an error
        self._parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser.StartElementHandler = self._on_start
        self._parser.EndElementHandler = self._on_end
        self._parser.CharacterDataHandler = text
        self._parser.EntityDeclHandler = self._on_entity
        self._parser.SkippedEntityHandler = self._on_skipped
        self._parser.ExternalEntityRefHandler = self._on_external

    def feed(self, data: bytes) -> None:
        """Parse a whole document. Raises Unusable: damaged_xml, declares_entities, too_deep."""
        try:
            self._parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise Unusable("damaged_xml") from error

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unusable("too_deep")
        self._start(name.rpartition(":")[2], attributes)

    def _on_end(self, name: str) -> None:
        self._depth -= 1
        self._end(name.rpartition(":")[2])

    def _on_entity(self, *declaration: object) -> None:
        raise Unusable("declares_entities")

    def _on_skipped(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self._text(html5.get(f"{name};", ""))

    def _on_external(self, *reference: object) -> int:
        return 1  # nothing is read from elsewhere
