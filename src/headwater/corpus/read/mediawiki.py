"""MediaWiki dumps: the articles, as text; redirects and pages that are no articles are told apart and dropped.

Markup becomes text in one pass each, in time in proportion to the text: links and what stands for words become words,
tables, references and categories go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import count
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from headwater.corpus.document import Document, Drop, num_bytes
from headwater.corpus.read.html_metadata import language_of
from headwater.corpus.read.input import BLOCK_BYTES, InputFile, Stream
from headwater.corpus.read.limits import ReadLimits, Unusable
from headwater.corpus.toml_tables import keys_by_word, toml_table

_START, _END = b"<page>", b"</page>"  # no other XML has them: in a text they would be &lt;page&gt;
_OF_WIKI = re.compile(r"""<(sitename|base)>([^<]*)</|xml:(lang)=["']([^"']*)""")


def read_dump(file: InputFile, limits: ReadLimits) -> Iterator[Document | Drop]:
    """Yield a document, or a drop, for every page: the last revision of it in the dump.

    Dropped are redirects, pages outside of the main name space, and what isn't wikitext; a page that is no XML costs
    itself. Read a block at a time, so a dump may have any size. Raises Unusable: damaged_xml.
    """
    wiki: dict[str, str] = {}
    numbers = count()

    def read(stream: Stream) -> Iterator[Document | Drop]:
        for page, size in _pages(stream, limits.max_file_bytes):
            part = f"#{next(numbers)}"
            head, start, body = page.partition(_START)
            for names in _OF_WIKI.findall(head.decode("utf-8", "replace")):
                wiki.update({names[0] or names[2]: unescape(names[1] or names[3])})
            if not file.begin_record(part, size):
                continue
            if size > limits.max_file_bytes:
                yield file.drop("file_too_large", size, part)
            else:
                yield _piece(file, start + body + _END, size, wiki, part)

    return file.read_on(read)


def _pages(stream: Stream, max_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Yield what stands before the end of each page, and its size; of what is too large no more than its end."""
    rest, lost = b"", 0
    while block := stream.read1(BLOCK_BYTES):  # `read` loses what precedes a damage
        *ended, rest = (rest + block).split(_END)
        for page in ended:
            yield page, lost + len(page)
            lost = 0
        if len(rest) > max_bytes:
            lost, rest = lost + len(rest) - len(_END), rest[-len(_END) :]  # half of the end may have come
    if lost or _START in rest or b"</mediawiki" not in rest:
        raise Unusable("damaged_xml")


def _piece(file: InputFile, page: bytes, size: int, wiki: dict[str, str], part: str) -> Document | Drop:
    try:
        root = ElementTree.fromstring(page)  # noqa: S314 - a page alone declares no entities
    except (ElementTree.ParseError, ValueError):
        return file.drop("damaged_xml", size, part)
    *_, revision = [root, *root.findall("revision")]
    text, title = revision.findtext("text") or "", root.findtext("title") or ""
    size = num_bytes(text)
    if root.find("redirect") is not None or is_redirect(text):
        return file.drop("redirect", size, part)
    if root.findtext("ns", "0") != "0":
        return file.drop("not_an_article", size, part)
    if revision.findtext("model", "wikitext") != "wikitext":
        return file.drop("not_wikitext", size, part)
    body = plain_text(text)
    return file.document(
        f"{title}\n\n{body}" if body else "",
        part,
        title=title,
        date=(revision.findtext("timestamp") or "")[:10],
        site=wiki.get("sitename", ""),
        language=language_of(wiki.get("lang", "")),
        url=_address(wiki.get("base", ""), title),
    )


def _address(base: str, title: str) -> str:
    """Return the address of a page, from that of the wiki's main page."""
    folder, _, last = base.rpartition("/")
    return f"{folder}/{quote(title.replace(' ', '_'))}" if last and folder.startswith("http") else ""


_REDIRECT = re.compile(r"\s*#\s*[^\W\d_]{5,20}\s*(?::\s*)?\[\[")
# of "|}}" the bar is a template's last, empty field; of "|}}}" it ends a table within a template
_BRACES = re.compile(r"\{\{|\}\}|\{\||\|\}(?!\}(?!\}))|\[\[|\]\]")
# what stands between these tags is no prose
_PAIRED = re.compile(
    r"<(/?)(ref|gallery|timeline|imagemap|score|templatestyles|references|hiero|graph|syntaxhighlight)\b([^<>]*)>",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"<math\b[^<>]{0,200}>([^<]{0,5000})</math>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,1000}>")
_HELD = re.compile("\0(\\d+)\0")
_HEADING = re.compile(r"^=[^\n]*=[ \t]*$", re.MULTILINE)
_EXTERNAL = re.compile(r"\[(?:https?:)?//[^\s\]\[]{1,2000}(?:[ \t]{1,9}([^\]\n\[]{0,2000}))?\]")
_QUOTES = re.compile("'{2,5}")
_ITEM = re.compile(r"^([*#:;]+)[ \t]*", re.MULTILINE)
_MAGIC = re.compile(r"__[A-Z]{3,20}__")
_RULE = re.compile(r"^-{4,}", re.MULTILINE)
_EMPTY = re.compile(r"\([\s;,:]{0,100}\)")
_SPACES = re.compile(r"(?<=\S)[ \t\u00a0]{2,}")
_BLANK = re.compile(r"\n{3,}")
_SPACED = re.compile(r"(?<=\S) ([,.;:)])")


def is_redirect(text: str) -> bool:
    """Return whether a page does nothing but point at another."""
    return _REDIRECT.match(text) is not None


def plain_text(text: str) -> str:
    """Return the prose of a page: headings on lines of their own, list items with a dash, no lists of references."""
    text = _without_paired(_without_comments(text.replace("\0", "")))
    formulas: list[str] = []

    def hold(formula: re.Match[str]) -> str:
        """Keep a formula as TeX, whose signs mean other things there ('', {{, |}), and return what stands for it."""
        formulas.append(f"${unescape(formula[1]).strip()}$")
        return f"\0{len(formulas) - 1}\0"

    text = _without_braces(_FORMULA.sub(hold, text))
    text = _TAG.sub("", text)
    text = _EXTERNAL.sub(lambda match: match[1] or "", text)
    text = _MAGIC.sub("", _QUOTES.sub("", text))
    text = unescape(text)
    text = _RULE.sub("", _ITEM.sub(_item, text))
    text = _sections(text)
    text = _SPACED.sub(r"\1", _SPACES.sub(" ", _EMPTY.sub("", text)))
    text = _HELD.sub(lambda place: formulas[int(place[1])], text)
    lines = (line.rstrip() for line in text.split("\n"))
    return _BLANK.sub("\n\n", "\n".join(lines)).strip()


def _item(match: re.Match[str]) -> str:
    marks = match[1]
    return "" if marks[-1] in ":;" else "  " * (len(marks) - 1) + "- "


def _without_comments(text: str) -> str:
    kept: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start)) >= 0:
        kept.append(text[at:start])
        at = end + 3
    return "".join([*kept, text[at:]])


def _without_paired(text: str) -> str:
    """Return the text without references, formulas and pictures; a tag that isn't closed goes alone."""
    kept: list[str] = []
    at, opened = 0, ""
    for tag in _PAIRED.finditer(text):
        slash, name, attributes = tag.groups()
        if opened:
            if slash and name.lower() == opened:
                at, opened = tag.end(), ""
            continue
        kept.append(text[at : tag.start()])
        at = tag.end()
        if not slash and not attributes.endswith("/"):
            opened = name.lower()
    return "".join([*kept, text[at:]])


def _without_braces(text: str) -> str:
    """Return the text without tables, its links and templates replaced by their words; braces may be nested."""
    stack: list[tuple[str, list[str]]] = [("", [])]
    at = 0
    for brace in _BRACES.finditer(text):
        stack[-1][1].append(text[at : brace.start()])
        at = brace.end()
        mark = brace.group()
        if mark in ("{{", "{|", "[["):
            stack.append((mark, []))
        elif len(stack) > 1 and _CLOSED_BY[stack[-1][0]] == mark:
            opener, parts = stack.pop()
            if opener != "{|":
                stack[-1][1].append((_link if opener == "[[" else _template)("".join(parts)))
        elif mark == "}}":
            _close_outer_(stack, mark)
    stack[-1][1].append(text[at:])
    return "".join(part for _, parts in stack for part in parts)  # what was never closed keeps its text


_CLOSED_BY = {"{{": "}}", "{|": "|}", "[[": "]]", "": ""}


def _close_outer_(stack: list[tuple[str, list[str]]], mark: str) -> None:
    """Close the nearest template around what is open in it; what was left open in it goes with it."""
    depth = next(
        (at for at in range(len(stack) - 1, max(0, len(stack) - 20), -1) if _CLOSED_BY[stack[at][0]] == mark), 0
    )
    if depth:
        del stack[depth:]


_IN_BETWEEN = re.compile(r"[-–−+x×]|to|and|or|by|[\d.,/+ ⁄]*")  # what stands before the unit
_NAMED = re.compile(r"\s*[\w -]{1,40}=")


_SHOWN = {"first": slice(1), "last": slice(-1, None), "all": slice(None), "none": slice(0)}


def _words() -> dict[str, Any]:
    return toml_table("headwater.corpus.read", "wikitext")


def _template(inner: str) -> str:
    """Return the words that a template shows; of one that isn't known, nothing: most are boxes, notes and signs."""
    head, bar, rest = inner.partition("|")
    name, colon, given = head.strip().partition(":")  # formatnum:1234
    name = name.strip().lower().replace(" ", "_")
    fields = [given] if colon else []
    fields += [field.strip() for field in rest.split("|") if bar and not _NAMED.match(field)]
    if name in _words()["characters"]:
        return str(_words()["characters"][name])
    if name in _words()["signs"]:
        return _words()["signs"][name] + "".join(fields[:1])
    if name == "frac":
        return "/".join(fields)
    if name in ("convert", "cvt"):
        unit = next((at for at, field in enumerate(fields) if not _IN_BETWEEN.fullmatch(field)), 0)
        return " ".join(fields[: unit + 1])
    listed = keys_by_word("headwater.corpus.read", "wikitext", "shown")
    shown = "first" if name.startswith("lang-") else listed.get(name, "none")
    return _words()["before"].get(name, "") + " ".join(fields[_SHOWN[shown]])


def _link(inner: str) -> str:
    """Return the words that a link shows."""
    target, bar, words = inner.partition("|")
    prefix = target.lstrip(": ").partition(":")[0].strip().lower() if ":" in target else ""
    if prefix in _words()["prefixes"].split() and not target.lstrip().startswith(":"):
        return ""
    shown = words.rpartition("|")[2] if bar else target.lstrip(":")
    return shown if shown.strip() or not bar else target.partition("(")[0].strip()


def _sections(text: str) -> str:
    """Return headings as lines, without sections that list references or nothing."""
    found = [heading for heading in _HEADING.finditer(text) if heading.group().strip("= \t")]
    parts = [text[: found[0].start()] if found else text]
    silent_level = 0
    levels = [_level(heading.group()) for heading in found]
    for at, heading in enumerate(found):
        following = found[at + 1] if at + 1 < len(found) else None
        level, title = levels[at], heading.group().strip("= \t")
        body = text[heading.end() : following.start() if following else len(text)]
        if silent_level and level > silent_level:
            continue
        silent_level = level if title.strip().lower() in _words()["endings"] else 0
        has_inner = following is not None and levels[at + 1] > level
        if not silent_level and (body.strip() or has_inner):
            parts.append(f"\n\n{title}\n\n{body.strip()}\n")
    return "".join(parts)


def _level(heading: str) -> int:
    return min(len(heading) - len(heading.lstrip("=")), 6)
