"""Articles in XML: the elements of JATS, and of DocBook and TEI where they mean the same, as blocks of text."""

from __future__ import annotations

from headwater.corpus.licences.names import licence_at, licence_said
from headwater.corpus.read.html_blocks import Builder, render
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.xml_events import XmlEvents


def _named(names: str, block: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), block)


# an element's name and the HTML element whose blocks it gives; those not named here are part of the text around them
_BLOCKS = {
    **_named("p para simpara formalpara ab l seg-p disp-quote attrib verse-line", "p"),
    **_named("title article-title head subtitle", "h2"),
    **_named("list itemizedlist simplelist", "ul"),
    "orderedlist": "ol",
    **_named("list-item listitem member item", "li"),
    **_named("variablelist def-list glosslist", "dl"),
    **_named("term glossterm", "dt"),
    **_named("def glossdef", "dd"),
    **_named("programlisting screen code literallayout preformat synopsis eg", "pre"),
    **_named("table informaltable tgroup", "table"),
    **_named("tr row", "tr"),
    **_named("td th entry cell", "td"),
    **_named("sec section sect1 sect2 sect3 chapter body abstract div div1 div2 lg sp", "div"),
    **_named("disp-formula blockquote caption label-block note warning tip important caution", "div"),
}
# what is about the article, points elsewhere, or is written twice
_SILENT_NAMES = (
    "front-stub journal-meta contrib-group aff author-notes pub-date permissions history counts kwd-group "
    "funding-group article-categories article-id self-uri related-article ref-list references back-matter "
    "bibliography fn-group tex-math teiHeader indexterm graphic inline-graphic media supplementary-material object-id "
    "label custom-meta-group volume issue fpage lpage elocation-id trans-abstract script style author authorgroup "
    "copyright legalnotice date pubdate releaseinfo keywordset revhistory edition publisher"
)
# where a link names the article's own licence; elsewhere it may be that of a picture or of what the text speaks of
_RIGHTS = frozenset(["permissions", "license", "copyright", "legalnotice", "releaseinfo", "availability", "licence"])
_SILENT = frozenset(_SILENT_NAMES.split())
# what is kept as metadata: the text of the first element of that name
_WANTED = {"article-title": "title", "title": "title", "surname": "surname", "given-names": "given", "year": "year"}
_WANTED |= {"month": "month", "day": "day", "license_ref": "licence", "license": "licence"}
_CITED = ("ref-list", "bibliography", "ref", "mixed-citation", "element-citation")


def article(data: bytes) -> tuple[str, dict[str, str]]:
    """Return the title, abstract and body of an article as text, and its metadata; "" for XML that has no paragraph.

    Raises Unusable: damaged_xml, declares_entities, too_deep.
    """
    reader = _Reader()
    XmlEvents(reader.start, reader.end, reader.text).feed(data)
    blocks = reader.builder.finish_().blocks
    if not reader.has_paragraph:
        return "", {}
    return render(blocks), reader.metadata()


class _Reader:
    """Hands the text of an article to a builder of blocks, and keeps what the front matter says."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.has_paragraph = False
        self._silent = self._cited = 0
        self._blocks: list[str] = []  # of each open element, "" for one that is part of the text around it
        self._said: dict[str, list[str]] = {}
        self._keeping: tuple[str, int] | None = None  # what is being kept, and how deep its element stands
        self._language = ""
        self._licences: list[str] = []  # addresses
        self._rights = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._blocks:
            self._language = attributes.get("xml:lang", attributes.get("lang", ""))
        self._rights += name in _RIGHTS
        if name == "license" or (self._rights and name in ("ulink", "ext-link", "link")):
            address = next((value for key, value in attributes.items() if key.endswith(("href", "url"))), "")
            # a license's own address counts, known or not; a link in its words may lead anywhere
            self._licences += [address] if name == "license" or licence_at(address) else []
        self._silent += name in _SILENT
        self._cited += name in _CITED
        is_inline = name == "code" and self._blocks[-1:] == ["p"]  # in JATS a block, in DocBook a word
        block = "" if self._silent or is_inline else _BLOCKS.get(name, "")
        self._blocks.append(block)
        if block:
            self.has_paragraph |= block == "p"
            self.builder.open_(block, "")
        key = _WANTED.get(name)
        if key and not self._cited and self._keeping is None and key not in self._said:
            self._keeping = key, len(self._blocks)
            self._said[key] = []

    def end(self, name: str) -> None:
        if self._keeping and self._keeping[1] == len(self._blocks):
            self._keeping = None
        if block := self._blocks.pop():
            self.builder.close_(block)
        self._silent -= name in _SILENT
        self._cited -= name in _CITED
        self._rights -= name in _RIGHTS

    def text(self, text: str) -> None:
        if not self._silent:
            self.builder.text(text.replace("&", "&amp;") if "&" in text else text)
        if self._keeping:
            self._said[self._keeping[0]].append(text)

    def metadata(self) -> dict[str, str]:
        said = {name: " ".join("".join(texts).split()) for name, texts in self._said.items()}
        parts = [said.get(name, "") for name in ("year", "month", "day")]
        known = parts[: next((at for at, part in enumerate(parts) if not part.isdigit()), 3)]
        meta = {
            "title": said.get("title", ""),
            "author": " ".join(filter(None, [said.get("given", ""), said.get("surname", "")]))[:300],
            "date": "-".join(part.zfill(2) for part in known),
            "licence": licence_said(self._licences) or licence_said([said.get("licence", "")]),
            "language": language_of(self._language) or "",
        }
        return {name: value for name, value in meta.items() if value}
